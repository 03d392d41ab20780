from __future__ import annotations

from launcher.core.devices import Accelerators, Device, Limits, node_devices

LIMITS = Limits(cpus=7.5, memory_bytes=1 << 30, limits_from="cgroup v2")
GPU = Accelerators(type="GPU", count=1, devices=(Device(index=0, name="H100"),), present=2, driver="550", notes=("a",))
BROKEN = Accelerators(type="GPU", count=None, notes=("broken",))
HIDDEN = Accelerators(type="GPU", count=0, present=4, visible="CUDA_VISIBLE_DEVICES=", notes=("hidden",))
NPU = Accelerators(type="Ascend", count=1, devices=(Device(index=0, name="910B3"),), notes=("b",))


def test_a_node_without_devices_is_a_cpu() -> None:
    told = node_devices((), LIMITS)
    assert (told.type, told.count, told.present, told.visible) == ("CPU", 0, None, None)
    assert (told.cpus, told.memory_bytes, told.limits_from) == (7.5, 1 << 30, "cgroup v2")


def test_a_node_whose_devices_are_all_hidden_is_a_cpu_and_says_why() -> None:
    told = node_devices((HIDDEN,), LIMITS)
    assert (told.type, told.count, told.devices) == ("CPU", 0, ())
    assert (told.present, told.visible, told.notes) == (4, "CUDA_VISIBLE_DEVICES=", ("hidden",))


def test_a_node_with_devices_is_of_their_kind() -> None:
    told = node_devices((GPU,), LIMITS)
    assert (told.type, told.count, told.devices, told.present, told.driver) == ("GPU", 1, GPU.devices, 2, "550")


def test_a_vendor_that_does_not_answer_hides_no_other_s_devices() -> None:
    told = node_devices((BROKEN, HIDDEN, NPU), LIMITS)
    assert (told.type, told.count, told.notes) == ("Ascend", 1, ("b", "broken", "hidden"))


def test_devices_that_could_not_be_counted_are_not_none() -> None:
    told = node_devices((HIDDEN, BROKEN), LIMITS)
    assert (told.type, told.count) == ("GPU", None)

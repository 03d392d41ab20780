"""A container of ours in the words of the engine's API."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.container import Container


def host_config(client: Any, wanted: Container) -> Any:
    """What the host gives: mounts, devices, limits. The engine takes the container away when it has ended."""
    from docker.types import DeviceRequest, LogConfig, Mount

    gpus = wanted.gpus
    requests = (
        [DeviceRequest(count=0 if gpus.ids else gpus.count, device_ids=list(gpus.ids) or None, capabilities=[["gpu"]])]
        if gpus
        else None
    )
    return client.create_host_config(
        auto_remove=True,
        # all is passed on while it is said; a second copy would only fill the host's disk
        log_config=LogConfig(type="none"),
        mounts=[
            Mount(target=each.target, source=each.source, type="bind", read_only=each.read_only)
            for each in wanted.mounts
            if each.source is not None
        ],
        network_mode=wanted.network,
        devices=[f"{path}:{path}:rwm" for path in wanted.devices] or None,
        device_requests=requests,
        group_add=[str(each) for each in wanted.groups] or None,
        nano_cpus=None if wanted.cpus is None else int(wanted.cpus * 10**9),
        mem_limit=wanted.memory_bytes,
        memswap_limit=wanted.memory_bytes,  # the same: no swap, which only makes a training slow before it ends
        shm_size=wanted.shm_bytes,
        cap_drop=["ALL"] if wanted.confined else None,
        security_opt=["no-new-privileges"] if wanted.confined else None,
    )


def archive(files: Mapping[str, bytes]) -> bytes:
    """Files as the engine unpacks them at /. Whoever runs in the container may read them, and no one else does."""
    import tarfile

    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path in sorted({path.rpartition("/")[0] for path in files}):
            folder = tarfile.TarInfo(path.lstrip("/"))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for path, content in files.items():
            file = tarfile.TarInfo(path.lstrip("/"))
            file.size, file.mode = len(content), 0o444
            tar.addfile(file, io.BytesIO(content))
    return target.getvalue()

"""`launcher kube` as a person calls it: what it prints, writes and refuses, and that it tells no secret."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from launcher.core.kube.wishes import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent.parent
LAUNCHER = (sys.executable, "-m", "launcher")
STORE = ("--store", "https://obs.example.com")
PLANTED = tuple(
    f"sesame-open-{word}" for word in ("parameter", "sensitive", "variable", "url", "command", "note", "set")
)


def job(**algorithm: Any) -> dict[str, Any]:
    return {
        "kind": "job",
        "metadata": {"name": "digits", "id": "i-1"},
        "algorithm": {
            "code_dir": "obs://bucket/code/",
            "boot_file": "obs://bucket/code/train.py",
            "parameters": [{"name": "lr", "value": "0.1"}],
            "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "obs://bucket/out/"}}}],
            **algorithm,
        },
    }


def environment(**more: str) -> dict[str, str]:
    own = {name: text for name, text in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_", "AWS_"))}
    return {**own, **more}


def launcher(*arguments: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """One call; a text goes to its standard input."""
    argv = (*LAUNCHER, *arguments)
    return subprocess.run(
        argv, input=text, env=environment(**environ), capture_output=True, text=True, check=False, timeout=60
    )


def kube(document: Mapping[str, Any], *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return launcher("kube", "-", "--image", "registry/train:1", *arguments, text=json.dumps(document), **environ)


def printed(document: Mapping[str, Any], *arguments: str, **environ: str) -> list[dict[str, Any]]:
    done = kube(document, *arguments, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = objects[-1]["spec"]["template"]["spec"]["containers"]
    made: dict[str, Any] = found
    return made


def telling(*texts: str) -> list[str]:
    """The planted secrets that some texts hold, as they are, or in base64 at each of its three offsets."""
    whole = "\n".join(texts)
    found = []
    for secret in PLANTED:
        coded = (base64.b64encode(b"x" * at + secret.encode())[4:-4].decode() for at in range(3))
        if secret in whole or any(each in whole for each in coded):
            found.append(secret)
    return found


def test_yaml_and_json_say_the_same() -> None:
    done = kube(job(), *STORE, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"apiVersion": "v1", "kind": "List", "items": printed(job(), *STORE)}


def test_yaml_keeps_text_that_looks_like_something_else() -> None:
    names = {"zone": "1e3", "rack": "0o17", "yes": "no", "n": "0123", "ok": "true", "Y": "y"}
    selectors = [f"--node-selector={key}={value}" for key, value in names.items()]
    done = kube(job(), *STORE, *selectors)
    assert printed(job(), *STORE, *selectors)[-1]["spec"]["template"]["spec"]["nodeSelector"] == names
    for line in ('zone: "1e3"', 'rack: "0o17"', "'yes': 'no'", '"n": "0123"', "ok: 'true'", '"Y": "y"'):
        assert line in done.stdout


def test_the_body_stands_in_the_manifest_as_a_person_reads_it() -> None:
    assert '  job.json: |\n    {\n     "kind": "job",\n' in kube(job(), *STORE).stdout


def test_the_store_is_that_of_the_environment_unless_one_is_named() -> None:
    assert "--store=https://obs.example.com" in container(printed(job(), S3_ENDPOINT="obs.example.com"))["args"]
    done = kube(job())
    assert done.returncode == 2
    assert done.stderr.startswith("error: obs://bucket/code/ is in an object store, and none is known.")
    plain = container(printed(job(), S3_ENDPOINT="obs.example.com", S3_USE_HTTPS="0"))
    assert "--store=http://obs.example.com" in plain["args"]


def test_a_folder_beside_the_caller_is_no_store_of_a_pod() -> None:
    for store in ("store", "./store", "file://store", "s3://bucket"):
        done = kube(job(), "--store", store)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --store: expected an endpoint")


def test_a_folder_as_store_must_be_in_a_volume_of_the_job() -> None:
    document = job()
    done = kube(document, "--store", "/store/obs")
    assert (done.returncode, done.stdout) == (65, "")
    assert "/store/obs is in no volume of the job" in done.stderr
    document["spec"] = {"volumes": [{"obs": {"obs_path": "obs://bucket/", "local_path": "/store"}}]}
    objects = printed(document, "--store", "/store/obs", "--claim", "/store=buckets")
    assert "--store=/store/obs" in container(objects)["args"]


def test_a_preview_in_the_pod_is_that_of_the_same_run_here(tmp_path: Path) -> None:
    """Algorithm, --set, --env, --dataset and a secret by reference: the plan is the same to the last argument."""
    algorithm = {
        "metadata": {"id": "a-1", "name": "adam"},
        "job_config": {
            "code_dir": "obs://bucket/code/",
            "boot_file": "obs://bucket/code/train.py",
            "parameters_customization": False,
            "parameters": [
                {"name": "lr", "value": "0.1", "constraint": {"type": "Float"}},
                {"name": "api_key", "constraint": {"required": True}},
                {"name": "fixed", "value": "7", "constraint": {"type": "Integer", "editable": False}},
            ],
            "inputs": [{"name": "data_url"}],
        },
        "resource_requirements": [{"key": "flavor_type", "values": ["CPU"], "operator": "in"}],
    }
    (tmp_path / "algorithm.json").write_text(json.dumps(algorithm))
    document = {
        "kind": "job",
        "metadata": {"name": "digits", "id": "i-1"},
        "algorithm": {
            "id": "a-1",
            "inputs": [{"name": "data_url", "remote": {"dataset": {"id": "d", "version_id": "v"}}}],
        },
    }
    (tmp_path / "job.json").write_text(json.dumps(document))
    options = ("--set", "lr=0.5", "--env", "MODE=fast", "--dataset", "d/v=obs://bucket/data/", "--no-platform-args")
    body = (str(tmp_path / "job.json"), "--algorithm", str(tmp_path / "algorithm.json"), *STORE, *options)
    here = launcher("preview", *body, "--set", "api_key=@env:MINE", "--json", MINE=PLANTED[0])
    assert here.returncode == 0, here.stderr
    done = launcher("kube", *body, "--image", "i", "--secret", "api_key=keys/api", "--json")
    assert done.returncode == 0, done.stderr
    config, made = json.loads(done.stdout)["items"]
    for name, text in config["data"].items():
        (tmp_path / name).write_text(text)
    (pod,) = made["spec"]["template"]["spec"]["containers"]
    arguments = [each.replace("/etc/launcher/", f"{tmp_path}/") for each in pod["args"]]
    (variable,) = [each["name"] for each in pod["env"] if "valueFrom" in each]
    environ: dict[str, Any] = {variable: PLANTED[0]}
    there = launcher("preview", *arguments, "--json", **environ)
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)


def planted() -> dict[str, Any]:
    document = job(
        parameters=[
            {"name": "api_key", "value": PLANTED[0]},
            {"name": "pin", "value": PLANTED[1], "constraint": {"sensitive": True}},
            {"name": "dsn", "value": f"db://me:{PLANTED[3]}@host/"},
        ],
        environments={"HF_TOKEN": PLANTED[2]},
        command=f"python train.py --password {PLANTED[4]}",
    )
    document["metadata"]["description"] = f"api_key={PLANTED[5]}"
    document["metadata"]["annotations"] = {"note": f"not {PLANTED[6]}"}
    return document


def test_every_planted_secret_is_refused_by_its_place_and_none_is_told(tmp_path: Path) -> None:
    base = tmp_path / "base"
    for more in ((), ("--json",), ("--kustomize", str(base)), ("--kind", "pod")):
        done = kube(planted(), *STORE, "--set", "lr=@env:OWN", *more, OWN=PLANTED[6])
        assert (done.returncode, done.stdout) == (65, "")
        told = [line.partition(": is a secret")[0].partition(": holds a")[0] for line in done.stderr.splitlines()]
        assert told == [
            "error: metadata.description",
            "error: metadata.annotations.note",
            "error: algorithm.command",
            "error: algorithm.parameters[0].value (api_key)",
            "error: algorithm.parameters[1].value (pin)",
            "error: algorithm.parameters[2].value (dsn)",
            "error: algorithm.parameters[3].value (lr)",
            "error: algorithm.environments.HF_TOKEN",
        ]
        assert telling(done.stderr) == []
    assert not base.exists()


def test_secrets_by_reference_leave_no_value_anywhere(tmp_path: Path) -> None:
    document = planted()
    del document["algorithm"]["command"]
    document["metadata"] = {"name": "digits"}
    names = ("api_key", "pin", "dsn", "HF_TOKEN", "lr")
    references = [f"--secret={name}=keys/{name.lower()}" for name in names]
    base = tmp_path / "base"
    for kind in ("pod", "job", "volcano", "trainjob"):
        arguments = (*STORE, "--set", "lr=@env:OWN", "--kind", kind, "--store-secret", "obs", *references)
        texts = []
        for more in ((), ("--json",), ("--kustomize", str(base))):
            done = kube(document, *arguments, *more, OWN=PLANTED[6])
            assert done.returncode == 0, done.stderr
            texts += [done.stdout, done.stderr]
        files = [path.read_text() for path in base.iterdir()]
        assert telling(*texts, *files) == []
        assert all(f"key: {name.lower()}" in texts[0] for name in names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"parameters": [{"name": "x", "value": PLANTED[0], "constraint": {"type": "Integer", "sensitive": True}}]},
        {
            "parameters": [
                {"name": "x", "value": PLANTED[0], "constraint": {"valid_type": "Choice", "valid_range": ["a"]}}
            ]
        },
        {"environments": {"HF_TOKEN": f"$ {PLANTED[2]}", "X": "$"}},
        {"environments": {"HF_TOKEN": [PLANTED[2]]}},
        {
            "parameters": [
                {"name": "x", "value": "b", "constraint": {"valid_type": "Choice", "valid_range": [f"a\n{PLANTED[0]}"]}}
            ]
        },
        {"inputs": [{"name": "a", "remote": {"obs": {"obs_url": f"ftp://me:{PLANTED[3]}@host/"}}}]},
    ],
)
def test_a_job_that_is_wrong_is_refused_without_its_secrets(wrong: dict[str, Any]) -> None:
    done = kube(job(**wrong), *STORE)
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr.startswith("error: algorithm.")
    assert telling(done.stderr) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--store", f"https://me:{PLANTED[0]}@obs.example.com"),
        ("--store", f"https://obs.example.com/?token={PLANTED[0]}"),
        ("--image", f"me:{PLANTED[0]}@registry/x"),
        ("--secret", f"{PLANTED[0]}"),
        ("--secret", f"api_key={PLANTED[0]}"),
        ("--store-secret", f"{PLANTED[0]} "),
        ("--nonce", f"{PLANTED[0]}"),
        ("--node-selector", f"{PLANTED[0]}"),
        ("--toleration", f"a=b:{PLANTED[0]}"),
        ("--claim", f"{PLANTED[0]}"),
        ("--namespace", f"{PLANTED[0]}."),
        ("--image-pull-secret", f"{PLANTED[0]}/"),
        ("--kind", PLANTED[0]),
        ("--grace", PLANTED[0]),
        ("--dataset", f"a={PLANTED[0]}"),
        ("--device", "cpu"),
        ("--store", "https://obs.example.com/\x01"),
    ],
)
def test_a_wrong_option_is_refused_without_what_was_given(arguments: tuple[str, ...]) -> None:
    done = kube(job(), *STORE, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {arguments[0]}: expected ")
    assert telling(done.stderr) == []


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("--claim", "/pfs=one", "/pfs/=two"),
        ("--claim", "/pfs=one", "/pfs=one"),
        ("--node-selector", "zone=a", "zone=b"),
    ],
)
def test_what_is_named_twice_is_refused(option: str, first: str, second: str) -> None:
    document = {**job(), "spec": {"volumes": [{"pfs": {"pfs_path": "obs://p/", "local_path": "/pfs"}}]}}
    done = kube(document, *STORE, option, first, option, second)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {option}: expected each ")
    assert "found one twice; keep one of the two" in done.stderr


@pytest.mark.parametrize("option", ["--set", "--env", "--dataset"])
def test_a_value_without_its_name_is_not_told(option: str) -> None:
    done = kube(job(), *STORE, option, PLANTED[0])
    assert done.returncode == 2
    form = "ID/VERSION=URL" if option == "--dataset" else "NAME=VALUE"
    assert done.stderr.startswith(f"error: {option}: expected {form}. ")
    assert telling(done.stderr) == []


def test_what_stands_in_the_wrong_place_is_not_told() -> None:
    for arguments, words in (
        (("--set", "api_key", PLANTED[0]), "expected one JOB"),
        (("--set", f"lr=@env:{PLANTED[0]}"), "--set lr: the launcher's environment has no variable of that name"),
        (("--store",), "--store"),
        (("--no-such", PLANTED[0]), "--no-such"),
    ):
        done = kube(job(), *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert telling(done.stderr) == []
    assert "--image" in launcher("kube", "-").stderr


def test_a_secret_where_none_is_sought_is_not_told_by_an_error() -> None:
    query = f"obs://bucket/code?token={PLANTED[3]}"
    place = {"volumes": [{"nfs": {"nfs_server_path": "s:/x", "local_path": f"data/token={PLANTED[3]}"}}]}
    for document in (
        job(code_dir=query),
        {**job(code_dir=f"{query}/", boot_file=f"{query}/train.py")},
        {**job(), "status": f"TOKEN={PLANTED[3]}"},
        {**job(), "spec": place},
        {**job(), "metadata": {"name": f"TOKEN={PLANTED[3]}"}},
    ):
        done = kube(document)
        assert (done.returncode, done.stdout) == (65, "")
        assert telling(done.stderr) == []
    done = kube({**job(), f"TOKEN={PLANTED[3]}": 1}, *STORE)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: a member whose name reads like a secret")
    assert telling(done.stdout, done.stderr) == []


@pytest.mark.parametrize(
    "url",
    [
        f"https://{PLANTED[0]}@git.example.com/repository",
        f"https://bucket.example.com/a?X-Amz-Date=1&X-Amz-Signature={PLANTED[0]}&b=1",
        f"https://bucket.example.com/a?Signature={PLANTED[0]}",
        f"https://bucket.example.com/a?x-amz-security-token={PLANTED[0]}",
    ],
)
def test_a_url_that_opens_something_by_itself_is_refused(url: str) -> None:
    for document, place in (
        (job(environments={"SOURCE": url}), "algorithm.environments.SOURCE: is a secret"),
        (job(command=f"python train.py {url}"), "algorithm.command: holds a secret"),
        (job(parameters=[{"name": "lr", "value": url}]), "algorithm.parameters[0].value (lr): is a secret"),
    ):
        done = kube(document, *STORE)
        assert (done.returncode, done.stdout) == (65, "")
        assert place in done.stderr
        assert telling(done.stderr) == []


def test_a_search_on_several_nodes_is_told_what_it_needs() -> None:
    search = {
        "reward_attrs": [{"name": "acc", "mode": "max", "regex": "acc=([0-9.]+)"}],
        "search_params": [{"name": "lr", "lower_bound": "0.01", "upper_bound": "0.5"}],
        "algo_configs": [{"name": "anneal_search"}],
    }
    document = job(policies={"auto_search": search})
    (alone,) = kube(document, *STORE).stderr.splitlines()
    assert alone.startswith("warning: the job is a search, ")
    assert "LOCK=search" in alone
    several = {**document, "spec": {"resource": {"node_count": 2}}}
    assert "warning: each of the 2 pods searches by itself" in kube(several, *STORE).stderr


def test_what_a_field_may_be_is_no_secret_and_what_it_is_may_be_one() -> None:
    search = {
        "reward_attrs": [{"name": "acc", "mode": "max", "regex": "acc=([0-9.]+)"}],
        "search_params": [{"name": "lr", "param_type": PLANTED[0], "discrete_values": ["0.1", "0.5"]}],
        "algo_configs": [{"name": "anneal_search"}],
    }
    done = kube(job(policies={"auto_search": search}), *STORE)
    assert done.returncode == 65
    assert "param_type: expected one of continuous, discrete, found what is not shown here" in done.stderr
    assert telling(done.stderr) == []
    kinds = {"name": "lr", "value": "1", "constraint": {"type": PLANTED[0]}}
    done = kube(job(parameters=[kinds]), *STORE)
    assert "expected one of String, Integer, Float, Boolean, found what is not shown here" in done.stderr
    assert telling(done.stderr) == []


def test_a_value_given_as_a_secret_is_one_however_short_it_is() -> None:
    done = kube(job(), *STORE, "--set", "lr=@env:PIN", PIN="0.7251")
    assert (done.returncode, done.stdout) == (65, "")
    assert "0.7251" not in done.stderr
    done = kube(job(), *STORE, "--set", "lr=@env:PIN", "--secret", "lr=keys/pin", PIN="0.7251")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.7251" not in done.stdout


def test_one_way_of_writing_at_a_time() -> None:
    assert kube(job(), *STORE, "--json", "--kustomize", "x").returncode == 2
    assert kube(job(), *STORE, "--kustomize", "").returncode == 2
    assert launcher("kube", "--image", "i").returncode == 2


def test_warnings_go_to_standard_error() -> None:
    document = {**job(), "unknown": 1}
    done = kube(document, *STORE)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: unknown: ")
    assert next(yaml.safe_load_all(done.stdout))["kind"] == "ConfigMap"


def test_a_base_of_kustomize_holds_one_file_for_each_object(tmp_path: Path) -> None:
    base = tmp_path / "a" / "base"
    several = job()
    several["spec"] = {"resource": {"node_count": 2}}
    done = kube(several, *STORE, "--kustomize", str(base))
    assert done.returncode == 0, done.stderr
    names = ["configmap.yaml", "service.yaml", "job.yaml", "kustomization.yaml"]
    assert done.stdout.splitlines() == [f"{base}/{name}" for name in names]
    found = {path.name: yaml.safe_load(path.read_text()) for path in base.iterdir()}
    assert found.pop("kustomization.yaml")["resources"] == names[:-1]
    assert [found[name] for name in names[:-1]] == printed(several, *STORE)


def test_a_base_is_written_anew_and_what_is_not_ours_is_left(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert kube(job(), *STORE, "--kustomize", str(base)).returncode == 0
    (base / "patch.yaml").write_text("mine: true\n")
    assert kube(job(), *STORE, "--kustomize", str(base), "--kind", "volcano").returncode == 0
    assert sorted(path.name for path in base.iterdir()) == [
        "configmap.yaml", "job.yaml", "kustomization.yaml", "patch.yaml",
    ]  # fmt: skip
    assert yaml.safe_load((base / "job.yaml").read_text())["apiVersion"] == "batch.volcano.sh/v1alpha1"
    assert kube(job(), *STORE, "--kustomize", str(base), "--kind", "pod").returncode == 0
    assert sorted(path.name for path in base.iterdir()) == [
        "configmap.yaml", "kustomization.yaml", "patch.yaml", "pod.yaml",
    ]  # fmt: skip


def test_a_copy_of_a_file_of_ours_by_a_name_of_its_own_is_somebody_s(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert kube(job(), *STORE, "--kustomize", str(base)).returncode == 0
    shutil.copy(base / "job.yaml", base / "my-patch.yaml")
    kept = (base / "my-patch.yaml").read_text()
    assert kube(job(), *STORE, "--kustomize", str(base), "--kind", "pod").returncode == 0
    assert (base / "my-patch.yaml").read_text() == kept
    assert not (base / "job.yaml").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_every_kind_is_ours_when_it_is_written_anew(tmp_path: Path, kind: str) -> None:
    several = {**job(), "spec": {"resource": {"node_count": 1 if kind == "pod" else 2}}}
    assert kube(several, *STORE, "--kustomize", str(tmp_path), "--kind", kind).returncode == 0
    last = "job" if kind == "pod" else "pod"
    assert kube(job(), *STORE, "--kustomize", str(tmp_path), "--kind", last).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["configmap.yaml", "kustomization.yaml", f"{last}.yaml"]
    )


@pytest.mark.parametrize("name", ["kustomization.yml", "Kustomization"])
def test_a_folder_with_a_kustomization_of_somebody_else_s_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("resources: []\n")
    done = kube(job(), *STORE, "--kustomize", str(tmp_path))
    assert (done.returncode, done.stdout) == (73, "")
    assert f"{tmp_path}/{name} is there and was not written by launcher kube" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("mine: true\n")
    (tmp_path / "elsewhere").write_text("mine: true\n")
    (tmp_path / "job.yaml").symlink_to(tmp_path / "elsewhere")
    done = kube(job(), *STORE, "--kustomize", str(tmp_path))
    assert (done.returncode, done.stdout) == (73, "")
    assert "was not written by launcher kube" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "job.yaml", "kustomization.yaml"]
    assert (tmp_path / "elsewhere").read_text() == "mine: true\n"


def test_a_base_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = kube(job(), *STORE, "--kustomize", str(tmp_path / "file"))
    assert done.returncode == 73
    assert len(done.stderr.splitlines()) == 1


def test_what_is_required_and_comes_by_reference_needs_no_value_here(tmp_path: Path) -> None:
    document = job(parameters=[{"name": "api_key", "value": "", "constraint": {"required": True}}])
    (tmp_path / "job.json").write_text(json.dumps(document))
    arguments = (str(tmp_path / "job.json"), "--image", "i", *STORE, "--json")
    assert launcher("kube", *arguments).returncode == 65
    piped = launcher("kube", "-", *arguments[1:], "--secret", "api_key=keys/api", text=json.dumps(document))
    done = launcher("kube", *arguments, "--secret", "api_key=keys/api")
    assert (piped.returncode, piped.stdout) == (0, done.stdout)
    assert done.returncode == 0, done.stderr
    body = json.loads(json.loads(done.stdout)["items"][0]["data"]["job.json"])
    assert body["algorithm"]["parameters"] == [{"name": "api_key", "constraint": {"required": True}}]


def test_every_command_of_the_page_goes_well(tmp_path: Path) -> None:
    """The blocks in their order; `kubectl` and a cluster are not here, so each ends before them."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = re.sub(r"( \| |^)kubectl .*$", "", "\n".join(blocks), flags=re.MULTILINE)
    assert script.count("launcher kube") == len(re.findall(r"launcher kube \S+ --image", page)) == 5
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    argv = ("bash", "-eu", "-c", script)
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment(PATH=path), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "base" / "kustomization.yaml").is_file()

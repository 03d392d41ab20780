"""The images: what each promises, and that the launcher in it minds nothing of what else an image holds."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pytest
from ends import compiled
from engines import Local
from incontainer import IMAGE, LIMIT_S, docker, in_docker, need, one, tried
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from rig import COPY_TREE
from ways import certificate, tls_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Rig

pytestmark = [pytest.mark.docker, in_docker]

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "data" / "cyclonedx"
PRESETS = ("launcher:cpu", "launcher:gpu", "launcher:ascend")
BULLSEYE, BARE, BROKEN, SCRATCH, FURNISHED = (
    f"launcher-test:{name}" for name in ("bullseye", "bare", "click", "scratch", "furnished")
)
LAYER_LIMIT = 40_000_000
MINE = "uid=1000,gid=100,mode=700,exec"
READ_ONLY = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    f"/cache:{MINE}",
    "--tmpfs",
    f"/home/ma-user/modelarts:{MINE}",
)
SHOWS = "import json, os, sys\nprint(json.dumps([sys.version, dict(os.environ)]), flush=True)\n"
SAYS = "import sys\nprint(sys.version)\n"
HOSTILE_LIBRARIES = ("libc.so.6", "libssl.so.3", "libcrypto.so.3", "libz.so.1", "libm.so.6", "libexpat.so.1")
HOSTILE_MODULES = ("click", "msgspec", "launcher", "sitecustomize", "usercustomize", "site", "os", "json", "yaml")


def said(image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """What one command of the launcher prints in a container of an image."""
    network = () if "--network" in options else ("--network", "none")
    return docker("run", "--rm", *network, *options, "--entrypoint", "launcher", image, *arguments)


def python(image: str, code: str, *options: str) -> str:
    """What the launcher's own interpreter prints, started as the launcher is."""
    return docker("run", "--rm", *options, "--entrypoint", interpreter(), image, "-IS", "-c", code)


def interpreter() -> str:
    """Where the launcher's own interpreter is: what the command's first line names."""
    return bundled("/usr/local/bin/launcher").split()[0].removeprefix("#!")


def bundled(path: str) -> str:
    """A file of the bundle."""
    name = docker("create", "launcher:bundle").strip()
    try:
        content = subprocess.run(("docker", "cp", f"{name}:{path}", "-"), capture_output=True, check=True).stdout
    finally:
        docker("rm", name)
    read = subprocess.run(("tar", "-xO"), input=content, capture_output=True, check=True).stdout
    return read.decode()


# --- what an image promises


@pytest.mark.parametrize("image", [*PRESETS, BULLSEYE, BARE])
def test_an_image_starts_the_launcher_and_is_never_killed_for_being_slow(image: str) -> None:
    config = json.loads(docker("image", "inspect", need(image)))[0]["Config"]
    assert config["Entrypoint"] == ["launcher", "run"]
    assert not config["Cmd"]
    assert (config.get("Healthcheck") or {"Test": ["NONE"]})["Test"] == ["NONE"]
    assert config["StopSignal"] == "SIGTERM"
    told = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert told["title"] == "modelarts-launcher"
    assert told["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"])
    assert re.fullmatch(r"[0-9a-f]{40}|", told["revision"])
    assert told["description"]
    assert told["base.name"]


@pytest.fixture
def minded() -> Iterator[str]:
    """A base with a health check of its own, that is stopped by another signal than SIGTERM, as web servers' are."""
    name = f"launcher-test-{os.getpid()}-minded"
    docker("create", "--name", name, "--stop-signal", "SIGQUIT", "--health-cmd", "false", IMAGE)
    try:
        docker("commit", name, name)
        yield name
    finally:
        docker("rm", name)
        docker("rmi", name)


@pytest.mark.parametrize("kind", ["overlay", "cpu", "gpu", "ascend"])
def test_a_container_is_stopped_by_sigterm_whatever_the_base_says(minded: str, kind: str) -> None:
    image = f"{minded}-{kind}"
    subprocess.run((ROOT / "images" / "build", "on", minded, kind, image), check=True, timeout=LIMIT_S)
    try:
        config = json.loads(docker("image", "inspect", image))[0]["Config"]
    finally:
        docker("rmi", image)
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["NONE"]


@pytest.mark.parametrize("image", [*PRESETS, FURNISHED])
def test_a_preset_runs_as_the_user_of_the_service_in_folders_of_its_own(image: str) -> None:
    shows = "id -u; id -g; id -un; id -gn; cd; pwd; stat -c %u:%g . modelarts /cache; python3 -V"
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", need(image), "-c", shows).split("\n")
    assert told[:5] == ["1000", "100", "ma-user", "ma-group", "/home/ma-user"]
    assert told[5:8] == ["1000:100"] * 3
    assert told[8].startswith("Python 3.")


def test_the_user_of_the_ascend_image_is_in_the_group_that_may_open_the_devices() -> None:
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "id", "launcher:ascend", "-Gn")
    assert set(told.split()) == {"ma-group", "HwHiAiUser"}


@pytest.mark.parametrize("image", PRESETS)
def test_no_search_path_of_an_image_holds_the_current_folder(image: str) -> None:
    settings = dict(line.split("=", 1) for line in json.loads(docker("image", "inspect", image))[0]["Config"]["Env"])
    for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH"):
        assert "" not in settings.get(name, "/").split(":")


def test_an_overlay_keeps_the_user_of_its_base_and_may_be_run_by_any() -> None:
    config = json.loads(docker("image", "inspect", need(BULLSEYE)))[0]["Config"]
    assert config["User"] == ""
    told = docker("run", "--rm", "--user", "4711:4711", "--entrypoint", "sh", BULLSEYE, "-c", "touch /cache/x && id -u")
    assert told == "4711\n"


def test_what_the_launcher_adds_to_an_image_is_small(tmp_path: Path) -> None:
    saved = tmp_path / "image.tar"
    docker("save", "--output", str(saved), need(SCRATCH))  # nothing but the launcher
    with tarfile.open(saved) as archive:
        layers = [each for each in archive if each.name.endswith("layer.tar") and each.isfile()]
        sizes = [compressed(cast("IO[bytes]", archive.extractfile(each))) for each in layers]
    print(f"compressed layers of the launcher: {sum(sizes) / 1e6:.1f} MB")
    assert 10_000_000 < sum(sizes) <= LAYER_LIMIT


def compressed(layer: IO[bytes]) -> int:
    """The size of a layer as a registry keeps it."""
    counted = Counted()
    with gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6) as out:
        shutil.copyfileobj(layer, out, 1 << 20)
    return counted.size


class Counted:
    """A file that only counts."""

    size = 0

    def write(self, content: bytes) -> int:
        self.size += len(content)
        return len(content)

    def flush(self) -> None:
        return


# --- what the bundle is made of


@pytest.fixture(scope="module")
def sbom() -> Any:
    return json.loads(bundled("/opt/launcher/sbom.cdx.json"))


def test_the_bill_of_materials_is_what_cyclonedx_asks_for(sbom: Any) -> None:
    def schema(name: str) -> Any:
        return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))

    base = "http://cyclonedx.org/schema"
    known = (
        (f"{base}/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema(name))) for name in ("jsf-0.82", "spdx")
    )
    found = [
        error.message
        for error in Draft7Validator(schema("bom-1.6"), registry=Registry().with_resources(known)).iter_errors(sbom)
    ]
    assert found == []


def test_the_bill_of_materials_names_every_package_and_every_library(sbom: Any) -> None:
    named = {each["name"]: each.get("version") for each in sbom["components"]}
    for line in (ROOT / "images" / "requirements.lock").read_text(encoding="utf-8").splitlines():
        match = re.match(r"(\S+)==(\S+) \\", line)  # those with a marker may not be for this interpreter
        if match:
            assert {name.lower(): version for name, version in named.items()}[match[1]] == match[2]
    libraries = python(
        "launcher:bundle", "import os\nprint(*(n for n in os.listdir('/opt/launcher/lib') if '.so' in n))"
    ).split()
    assert "libc.so.6" in libraries
    assert set(libraries) <= named.keys()
    assert all(named[name] for name in libraries)
    assert sbom["metadata"]["component"]["name"] == "modelarts-launcher"


# --- jobs


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NumPy for the image's own Python, which has no network."""
    version = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", IMAGE, "-c", SAYS).split()[0]
    folder = tmp_path_factory.mktemp("wheel")
    wanted = ("--only-binary", ":all:", "--no-deps", "--python-version", version, "--dest", str(folder), "numpy")
    subprocess.run((sys.executable, "-m", "pip", "download", "--quiet", *wanted), check=True, timeout=LIMIT_S)
    return next(folder.iterdir())


@pytest.mark.parametrize("options", [(), ("--user", "0:0"), READ_ONLY], ids=["1000", "root", "read-only"])
def test_the_digits_are_learned(local_rig: Rig, wheel: Path, options: tuple[str, ...]) -> None:
    store = lay_digits(local_rig, wheel)
    with one(local_rig) as container:
        done = container.run(*options)
    assert done.returncode == 0, done.stderr
    assert_learned(done.stdout, store)


def test_the_digits_are_learned_by_launcher_local(local_rig: Rig, wheel: Path) -> None:
    store, local = lay_digits(local_rig, wheel), Local(local_rig)
    try:
        result = local.run()
        assert result.code == 0, result.err
        assert_learned(result.out, store)
        assert local.left == []
    finally:
        local.remove()


def lay_digits(rig: Rig, wheel: Path) -> Path:
    """The example as the rig's job and store, with NumPy beside it; the store's folder."""
    store = rig.folder / "store"
    shutil.copytree(ROOT / "examples" / "digits" / "store", store, dirs_exist_ok=True)
    code = store / "digits-bucket" / "code"
    shutil.copy(wheel, code)
    (code / "pip-requirements.txt").write_text(f"{wheel.name}\n", encoding="utf-8")
    rig.job = json.loads((ROOT / "examples" / "digits" / "job.json").read_text(encoding="utf-8"))
    return store


def assert_learned(told: str, store: Path) -> None:
    accuracy = re.search(r"^test accuracy=([0-9.]+)$", told, re.MULTILINE)
    assert accuracy is not None, told
    assert float(accuracy[1]) > 0.9
    assert (store / "digits-bucket" / "output" / "model.npz").is_file()


def test_a_boot_file_is_run_by_the_python_of_debian_11(local_rig: Rig) -> None:
    local_rig.code(SAYS)
    with one(local_rig, need(BULLSEYE)) as container:
        done = container.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3.9.")


def test_an_image_without_a_python_runs_a_command(local_rig: Rig) -> None:
    local_rig.code("")
    del local_rig.algorithm["boot_file"]
    local_rig.algorithm["engine"] = {"image_url": "my/image:1"}
    local_rig.algorithm["command"] = "command -v python3 || echo no python; cp -R $data_url/. $train_url/"
    with one(local_rig, need(BARE)) as container:
        done = container.run()
    assert (done.returncode, done.stdout) == (0, "no python\n"), done.stderr
    assert local_rig.stored() == {"a.csv": b"1,2\n"}


def test_a_broken_click_of_the_user_s_stays_the_user_s(local_rig: Rig) -> None:
    local_rig.code("try:\n    import click\nexcept RuntimeError as error:\n    print(error)\n")
    with one(local_rig, need(BROKEN)) as container:
        done = container.run()
    assert (done.returncode, done.stdout) == (0, "a broken click\n"), done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "98765:98765", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        ("--pids-limit", "20"),
        ("--memory", "64m"),
        ("--ulimit", "nofile=32:32"),
        ("--tmpfs", "/tmp:size=4k", "--tmpfs", "/cache:size=4k,mode=1777"),
        ("--env", "HOME=", "--env", "TMPDIR=/missing", "--env", "LANG=xx_YY.broken"),
    ],
    ids=["nobody", "processes", "memory", "files", "scratch", "variables"],
)
def test_a_container_with_little_of_everything_runs_the_job(local_rig: Rig, options: tuple[str, ...]) -> None:
    local_rig.code(COPY_TREE)
    with one(local_rig) as container:
        done = container.run(*options)
    assert done.returncode == 0, done.stderr
    assert local_rig.stored() == {"a.csv": b"1,2\n"}


# --- what else is in an image


def test_it_starts_where_there_is_nothing_at_all() -> None:
    image = need(SCRATCH)
    assert said(image, "--version").startswith("launcher ")
    assert "processors" in said(image, "devices")
    assert re.search(r"\bCommands\b", said(image, "--help"))


@pytest.mark.parametrize("image", [IMAGE, BULLSEYE, SCRATCH])
def test_every_library_that_it_loads_is_its_own(image: str) -> None:
    loads = "import ssl, sqlite3, lzma, bz2, ctypes, psutil, yaml, botocore.session, obstore, uuid, decimal, zlib\n"
    shows = "print(*{line.split()[-1] for line in open('/proc/self/maps') if '.so' in line})"
    files = python(need(image), loads + shows, "--network", "none").split()
    assert len(files) > 20
    assert [path for path in files if not path.startswith("/opt/launcher/")] == []


def test_the_store_and_every_source_of_keys_are_known_to_what_is_left_of_botocore() -> None:
    makes = "import botocore.session\nmake = botocore.session.Session().create_client\n"
    opens = (
        "for each in ('s3', 'sts', 'sso', 'sso-oidc', 'signin'): print(make(each, region_name='r').meta.endpoint_url)"
    )
    keys = ("--env", "AWS_ACCESS_KEY_ID=a", "--env", "AWS_SECRET_ACCESS_KEY=b")
    assert python(IMAGE, makes + opens, "--network", "none", *keys).count("https://") == 5


def test_what_an_image_preloads_is_loaded_into_the_launcher_and_the_boot_file(local_rig: Rig) -> None:
    """A library of Debian 11's, with the bundle's newer C library."""
    library = "libcrypt.so.1"
    local_rig.code(
        f"print({library!r} in open('/proc/1/maps').read(), {library!r} in open('/proc/self/maps').read())\n"
    )
    with one(local_rig, need(BULLSEYE)) as container:
        done = container.run("--env", f"LD_PRELOAD={library}")
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[str, ...]:
    """Docker's options for a folder of broken libraries and modules that every variable points to."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in HOSTILE_LIBRARIES:
        (folder / name).write_text("no library")
    for name in HOSTILE_MODULES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the user was imported')\n")
    (folder / "openssl.cnf").write_text("openssl_conf = broken\n[broken]\nengines = nothing\n")
    pointed = {"LD_LIBRARY_PATH": "/hostile", "PYTHONPATH": "/hostile", "PYTHONHOME": "/hostile"}
    more = {"PYTHONSTARTUP": "/hostile/os.py", "PYTHONINSPECT": "1", "OPENSSL_CONF": "/hostile/openssl.cnf"}
    settings = [option for name, value in {**pointed, **more}.items() for option in ("--env", f"{name}={value}")]
    return ("--volume", f"{folder}:/hostile:ro", "--workdir", "/hostile", *settings)


def test_no_variable_and_no_folder_of_the_user_s_reaches_it(hostile: tuple[str, ...]) -> None:
    assert said(IMAGE, "--version", options=hostile).startswith("launcher ")
    assert "processors" in said(IMAGE, "devices", options=hostile)
    told = python(IMAGE, "import ssl, obstore, botocore.session, yaml; print(ssl.OPENSSL_VERSION)", *hostile)
    assert told.startswith("OpenSSL")


def test_modules_of_the_user_s_are_for_the_boot_file_alone(local_rig: Rig, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in ("click", "msgspec", "launcher"):
        (modules / f"{name}.py").write_text(f"whose = 'the {name} of the user'\n")
    local_rig.code("import click, msgspec, launcher\nprint(click.whose, msgspec.whose, launcher.whose, sep=', ')\n")
    with one(local_rig) as container:
        done = container.run(
            "--env", "PYTHONPATH=/modules", "--volume", f"{modules}:/modules:ro", "--workdir", "/modules"
        )
    said_so = "the click of the user, the msgspec of the user, the launcher of the user\n"
    assert (done.returncode, done.stdout) == (0, said_so), done.stderr


@pytest.mark.parametrize("image", [IMAGE, BULLSEYE])
def test_nothing_of_the_launcher_s_own_reaches_the_boot_file(local_rig: Rig, image: str) -> None:
    local_rig.code(SHOWS)
    with one(local_rig, need(image)) as container:
        done = container.run()
    assert done.returncode == 0, done.stderr
    _, found = json.loads(done.stdout)
    # these three the launcher sets for every boot file (docs/reference.md)
    ours = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"}
    assert {name for name in found if name.startswith(("LD_", "SSL_", "PYTHON", "OPENSSL_"))} <= ours
    assert [name for name, value in found.items() if "/opt/launcher" in value] == []


def test_names_resolve_with_no_library_and_no_settings_of_the_image(network: str) -> None:
    code = "import socket; print(socket.getaddrinfo('store.example', 443)[0][4][0])"
    for image in (SCRATCH, BULLSEYE, IMAGE):
        own = ("--network", network, "--network-alias", "store.example")
        assert re.fullmatch(r"[0-9.]+\n", python(need(image), code, *own))


@pytest.fixture
def network() -> Iterator[str]:
    """A bridge of this test alone, on which Docker answers for names."""
    name = f"launcher-test-{os.getpid()}-names"
    made = tried("network", "create", name)
    if made.returncode:
        pytest.skip(f"this engine makes no network: {made.stderr.strip()}")
    try:
        yield name
    finally:
        docker("network", "rm", name)


@pytest.mark.parametrize("image", [IMAGE, BULLSEYE, BARE])
def test_https_works_where_the_image_knows_no_authorities(image: str, tmp_path: Path) -> None:
    """Strangers are refused because they are strangers, not for want of authorities; one that is named is believed."""
    whole, public = certificate(tmp_path)
    os.chmod(public, 0o644)
    with tls_server(whole) as endpoint:
        keys = ("--env", f"S3_ENDPOINT={endpoint}", "--env", "AWS_ACCESS_KEY_ID=a", "--env", "AWS_SECRET_ACCESS_KEY=b")
        own = ("run", "--rm", "--network", "host", "--volume", f"{public}:/ca.pem:ro", *keys)
        argv = ("--entrypoint", "launcher", need(image), "preview", "obs://bucket/job.json")
        stranger = tried(*own, *argv)
        named = tried(*own, "--env", "LAUNCHER_CA_BUNDLE=/ca.pem", *argv)
    assert "is not trusted" in stranger.stderr
    assert "no CA certificates" not in stranger.stderr
    # the object came, and is no job
    assert named.returncode == 65, named.stderr
    assert "certificate" not in named.stderr


@pytest.mark.parametrize("image", ["launcher:gpu", BULLSEYE])
def test_the_driver_of_the_host_is_found_where_it_was_mounted(image: str, tmp_path: Path) -> None:
    library = tmp_path / "lib" / "libnvidia-ml.so.1"
    library.parent.mkdir()
    shutil.move(compiled(tmp_path, "nvml_stub", "-shared", "-fPIC"), library)
    gpus = ("run", "--rm", "--network", "none", "--env", "NVML_STUB_GPUS=2")
    by_path = docker(
        *(*gpus, "--volume", f"{library.parent}:/driver:ro", "--env", "LD_LIBRARY_PATH=/driver"),
        *("--entrypoint", "launcher", need(image), "devices"),
    )
    by_cache = docker(
        *(*gpus, "--user", "0:0", "--volume", f"{library}:/usr/local/lib/libnvidia-ml.so.1:ro"),
        *("--entrypoint", "sh", image, "-c", "ldconfig && launcher devices"),
    )
    for told in (by_path, by_cache):
        assert told.count("Stub") == 2 or "2 GPU" in told, told

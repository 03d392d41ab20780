"""Lay out the launcher as a tree that needs nothing of the image that it is put into, not even a C library.

    python bundle.py /opt/launcher --source CHECKOUT --lock images/requirements.lock

It holds the interpreter that runs this script, what of its standard library a launcher can use, the launcher with its
locked dependencies, and every shared library that these are linked with, down to the loader. It runs in the build stage
of bundle.Dockerfile, where `patchelf` and `ldd` are on PATH, and works only at the place for which it was made: the
kernel wants the loader's absolute path.
"""

# ruff: noqa: INP001, S607 - a script; what it starts is on the PATH of the build stage

from __future__ import annotations

import argparse
import compileall
import glob
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDLIB_LEFT_OUT = (
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "venv", "lib2to3", "pydoc_data"),
    *("distutils", "EXTERNALLY-MANAGED"),
    *("curses", "dbm", "msilib", "site-packages", "dist-packages", "config-*", "sitecustomize.py", "__pycache__"),
    *(
        "_test*.so",
        "_xx*.so",
        "xx*.so",
        "_ctypes_test*.so",
        "_tkinter*.so",
        "_curses*.so",
        "nis*.so",
        "ossaudiodev*.so",
    ),
    # these two are linked with libraries under the GPL
    *("readline*.so", "_gdbm*.so", "_dbm*.so"),
)
"""What no launcher asks for: tests, windows, terminals, installers, and what a distribution adds."""
BOTOCORE_SERVICES = ("s3", "sso", "sso-oidc", "sts", "signin")
"""The store, and where credentials come from; botocore brings some four hundred services."""
ALONE = ("libgcc_s.so.1",)
"""The C library opens it by name when a thread is cancelled, so that no program is linked with it for that."""


def main() -> None:
    """Make the tree; a line on stdout says what it holds."""
    parser = argparse.ArgumentParser(description="Make a self-contained tree of the launcher.")
    parser.add_argument("target", help="the absolute path that it will have in every image")
    parser.add_argument("--source", required=True, help="the launcher's checkout")
    parser.add_argument("--lock", required=True, help="its dependencies, with hashes")
    parser.add_argument("--origins", required=True, help="where to write which library came from where (JSON)")
    options = parser.parse_args()
    target = options.target
    os.makedirs(target)
    interpreter = copy_interpreter(target)
    library = f"{target}/lib/{os.path.basename(interpreter)}"
    locked = ("--only-binary", ":all:", "--require-hashes", "--requirement", options.lock)
    for wanted in (locked, ("--no-build-isolation", "--no-index", options.source)):
        place(install(f"{target}/packages", wanted), library, f"{target}/bin")
    prune(library)
    origins = copy_libraries(target)
    link(target, interpreter)
    write_command(f"{target}/bin/launcher", interpreter)
    compile_all(target)
    with open(options.origins, "w", encoding="utf-8") as file:
        json.dump({**origins, interpreter: os.path.realpath(sys.executable)}, file)
    print(f"{target}: {sys.version.split()[0]}, {len(origins)} libraries, {size(target) / 1e6:.1f} MB")  # noqa: T201


def copy_interpreter(target: str) -> str:
    """Copy this interpreter and its standard library to where it looks for it; the path of the copy."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    os.makedirs(f"{target}/bin")
    copy = shutil.copy2(os.path.realpath(sys.executable), f"{target}/bin/{version}")
    ignored = shutil.ignore_patterns(*STDLIB_LEFT_OUT)
    shutil.copytree(sysconfig.get_path("stdlib"), f"{target}/lib/{version}", ignore=ignored)
    return copy


def install(packages: str, wanted: Sequence[str]) -> str:
    """Install what is wanted, and nothing that it may need, into a new folder; returns the folder."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-compile", "--no-deps")
    subprocess.run((*pip, "--target", packages, *wanted), check=True)
    return packages


def place(packages: str, library: str, programs: str) -> None:
    """Put packages among the standard library, where Python finds them without `site`, and programs beside it.

    Of the programs those stay that are no scripts: the launcher looks for them there, and nobody else should.
    """
    for name in os.listdir(f"{packages}/bin"):
        with open(f"{packages}/bin/{name}", "rb") as file:
            is_script = file.read(2) == b"#!"
        if not is_script:
            shutil.move(f"{packages}/bin/{name}", f"{programs}/{name}")
    shutil.rmtree(f"{packages}/bin")
    for name in os.listdir(packages):
        os.rename(f"{packages}/{name}", f"{library}/{name}")  # refuses a folder that is there already
    os.rmdir(packages)


def prune(library: str) -> None:
    """Take away what packages bring and no launcher asks for."""
    for service in glob.glob(f"{library}/botocore/data/*/"):
        if os.path.basename(service.rstrip("/")) not in BOTOCORE_SERVICES:
            shutil.rmtree(service)
    for folder in glob.glob(f"{library}/**/tests", recursive=True):
        shutil.rmtree(folder)


def copy_libraries(target: str) -> dict[str, str]:
    """Copy every library that something in the tree is linked with, and the loader: from its place to where it was."""
    found = {name: located(name) for name in ALONE}
    for path in binaries(target):
        found.update(needed(path))
    copies = {}
    for name, source in found.items():
        if not source.startswith(f"{target}/"):  # what a wheel brings is there already
            copies[shutil.copy2(source, f"{target}/lib/{name}")] = os.path.realpath(source)
    return copies


def needed(path: str) -> Iterator[tuple[str, str]]:
    """The libraries that the loader would load for a program, by name, with theirs."""
    told = subprocess.run(("ldd", path), capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        if "not found" in line:
            sys.exit(f"error: {path}: {line.strip()}")
        match = re.match(r"\s*(?:(\S+) => )?(/\S+) \(0x", line)
        if match:
            yield match[1] or os.path.basename(match[2]), match[2]


def located(name: str) -> str:
    """Where the loader finds a library by its name."""
    told = subprocess.run(("/sbin/ldconfig", "-p"), capture_output=True, text=True, check=True).stdout
    paths = re.findall(rf"^\s*{re.escape(name)} .* => (\S+)$", told, re.MULTILINE)
    if not paths:
        sys.exit(f"error: {name} is not installed here")
    return str(paths[0])


def link(target: str, interpreter: str) -> None:
    """Have the interpreter loaded by its own loader, and all look for libraries in the tree first.

    DT_RPATH, which the user's LD_LIBRARY_PATH does not come before, as it does before DT_RUNPATH. The interpreter's
    holds for all that it loads, but for libraries with a DT_RUNPATH of their own: theirs is made a DT_RPATH.
    """
    loader = os.path.basename(asked("--print-interpreter", interpreter))
    patch = ("patchelf", "--force-rpath", "--set-rpath")
    subprocess.run(("patchelf", "--set-interpreter", f"{target}/lib/{loader}", interpreter), check=True)
    subprocess.run((*patch, f"{target}/lib", interpreter), check=True)
    for path in binaries(target):
        own = asked("--print-rpath", path)
        if own and path != interpreter:
            subprocess.run((*patch, f"{own}:{target}/lib", path), check=True)


def asked(question: str, path: str) -> str:
    """What patchelf says of a file; nothing for one that is not linked dynamically."""
    return subprocess.run(("patchelf", question, path), capture_output=True, text=True, check=False).stdout.strip()


def binaries(target: str) -> Iterator[str]:
    """Every program and library in the tree."""
    for folder, _, names in os.walk(target):
        for name in names:
            path = f"{folder}/{name}"
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def write_command(path: str, interpreter: str) -> None:
    """The command `launcher`: isolated, so that no variable of Python's and no folder of the user's is heard.

    It starts without `site`, which would look for more packages, and takes 1 ms of every start.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!{interpreter} -IS\nfrom launcher.__main__ import main\n\nmain()\n")
    os.chmod(path, 0o755)  # noqa: S103 - a command


def compile_all(target: str) -> None:
    """Compile once and for good: a tree that is read only is never compiled, and nothing here is ever edited."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(target, quiet=1, invalidation_mode=mode, workers=0, force=True):
        sys.exit(f"error: not everything in {target} could be compiled")


def size(target: str) -> int:
    """The bytes of all files in a tree."""
    return sum(os.lstat(f"{folder}/{name}").st_size for folder, _, names in os.walk(target) for name in names)


if __name__ == "__main__":
    main()

"""Write what the bundle is made of as a CycloneDX document, and lay the licences of the system's parts beside it.

    python sbom.py /opt/launcher --origins origins.json

Packages tell of themselves by their metadata, libraries and the interpreter by the distribution they were copied from.
"""

# ruff: noqa: INP001, S607 - a script; what it starts is on the PATH of the build stage

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from platform import freedesktop_os_release
from typing import TYPE_CHECKING

from cyclonedx.contrib.license.factories import LicenseFactory  # type: ignore[import-not-found]
from cyclonedx.model import HashAlgorithm, HashType, Property  # type: ignore[import-not-found]
from cyclonedx.model.bom import Bom  # type: ignore[import-not-found]
from cyclonedx.model.component import Component, ComponentType  # type: ignore[import-not-found]
from cyclonedx.output.json import JsonV1Dot6  # type: ignore[import-not-found]
from packageurl import PackageURL  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Mapping

LAUNCHER = "modelarts-launcher"


def main() -> None:
    """Write sbom.cdx.json and licences/ into the tree."""
    parser = argparse.ArgumentParser(description="Write the bundle's bill of materials.")
    parser.add_argument("target", help="the tree that bundle.py made")
    parser.add_argument("--origins", required=True, help="what came from where, as bundle.py wrote it (JSON)")
    options = parser.parse_args()
    with open(options.origins, encoding="utf-8") as file:
        origins = json.load(file)
    library = f"{options.target}/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    found = {each.name: each for each in distributions(path=[library])}
    bom = Bom()
    bom.metadata.component = package(found.pop(LAUNCHER), ComponentType.APPLICATION)
    for each in (*map(package, found.values()), *(part(*item) for item in sorted(origins.items()))):
        bom.components.add(each)
        bom.register_dependency(bom.metadata.component, [each])
    with open(f"{options.target}/sbom.cdx.json", "w", encoding="utf-8") as file:
        file.write(JsonV1Dot6(bom).output_as_string(indent=1))
    keep_licences(f"{options.target}/licences", origins)


def package(found: Distribution, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    """A Python package by its own metadata."""
    told = {name: found.metadata[name] for name in ("License-Expression", "License") if name in found.metadata}
    licence = told.get("License-Expression") or told.get("License", "").split("\n")[0]
    purl = PackageURL("pypi", name=found.name.lower().replace("_", "-"), version=found.version)
    return Component(
        name=found.name,
        version=found.version,
        type=kind,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
    )


def part(path: str, source: str) -> Component:
    """A library or the interpreter: by the Debian package that brought it, else by what it is."""
    name, is_interpreter = os.path.basename(path), "/bin/" in path
    version, purl = None, None
    owner = owner_of(source)
    if owner:
        version = owner[1]
        purl = PackageURL("deb", freedesktop_os_release()["ID"], owner[0], version, {"arch": owner[2]})
    elif is_interpreter or name.startswith("libpython"):  # built by those who made the base
        version = sys.version.split()[0]
        purl = PackageURL("generic", name="python", version=version)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Component(
        name=name,
        version=version,
        type=ComponentType.PLATFORM if is_interpreter else ComponentType.LIBRARY,
        purl=purl,
        bom_ref=path,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        properties=[Property(name="launcher:path", value=path), Property(name="launcher:from", value=source)],
    )


def owner_of(source: str) -> tuple[str, str, str] | None:
    """The Debian package that a file belongs to: its name, version and architecture."""
    if not shutil.which("dpkg-query"):
        return None
    # dpkg knows a file by the name that it had before /lib became a part of /usr
    for path in (source, source.removeprefix("/usr")):
        told = subprocess.run(("dpkg-query", "--search", path), capture_output=True, text=True, check=False).stdout
        if told:
            name = told.split(": ")[0].split(",")[0]
            form = ("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}", name)
            one = subprocess.run(form, capture_output=True, text=True, check=True).stdout.split()
            return one[0], one[1], one[2]
    return None


def keep_licences(folder: str, origins: Mapping[str, str]) -> None:
    """The terms of what was copied from the distribution, where it has them; packages bring their own."""
    os.makedirs(folder)
    for name in {owner[0] for owner in map(owner_of, origins.values()) if owner}:
        terms = f"/usr/share/doc/{name}/copyright"
        if os.path.isfile(terms):
            shutil.copyfile(terms, f"{folder}/{name}")


if __name__ == "__main__":
    main()

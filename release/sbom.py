"""The list of what a release is made of (SBOM), as CycloneDX JSON."""

import platform
import re
import ssl
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from release.contents import Part, debian_packages, python_packages
from release.source import REPOSITORY, Build

SAME_TREE = (".tar.xz", ".raw", ".rpm")
"""What has the tree of the self-contained build. The first of them is read."""
OF_SERVER = "locksmith-server-"
"""Begins the names of what has more than that, or other things, and is read itself."""
CONTAINS = "locksmith:file"
"""The property that names a file of the release which has the component in it."""


def parts_of(files: Iterable[Path]) -> dict[Part, set[str]]:
    """Give each package that is in one of the files, and the names of those that have it."""
    found: dict[Part, set[str]] = {}
    names = sorted(files)
    frozen = [one.name for one in names if one.name.endswith(SAME_TREE) and not one.name.startswith(OF_SERVER)]
    for path in names:
        inside = python_packages(path) | debian_packages(path)
        holders = [path.name]
        if path.name.endswith(SAME_TREE[0]):
            inside |= _interpreter()
            holders = frozen
        for part in inside:
            found.setdefault(part, set()).update(holders)
    return found


def write(target: Path, build: Build, parts: Mapping[Part, set[str]]) -> None:
    """Write the list. The same parts always give the same bytes."""
    locksmith = _component(Part("pypi", "locksmith", build.version, "Apache-2.0"), (), ComponentType.APPLICATION)
    metadata = BomMetaData(timestamp=datetime.fromtimestamp(build.epoch, UTC), component=locksmith)
    others = {part: names for part, names in parts.items() if part.name != "locksmith"}
    said = repr((build.version, sorted((part, sorted(names)) for part, names in others.items())))
    components = [_component(part, names) for part, names in sorted(others.items())]
    bom = Bom(components=components, metadata=metadata, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, said))
    bom.register_dependency(locksmith, components)
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")


def _component(part: Part, files: Iterable[str], kind: ComponentType = ComponentType.LIBRARY) -> Component:
    namespace = "debian" if part.kind == "deb" else None
    url = PackageURL(part.kind, namespace, part.name, part.version)
    return Component(
        name=part.name,
        version=part.version,
        type=kind,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[LicenseFactory().make_from_string(part.licence)] if part.licence else [],
        properties=[Property(name=CONTAINS, value=name) for name in sorted(files)],
    )


def _interpreter() -> set[Part]:
    """Give what the self-contained build has besides packages of Python: what PyInstaller packs and adds."""
    found = {
        Part("generic", "cpython", platform.python_version(), "Python-2.0"),
        Part("generic", "openssl", ssl.OPENSSL_VERSION.split()[1], "Apache-2.0"),
    }
    pinned = REPOSITORY / "release/frozen/requirements.txt"
    if pinned.exists() and (version := re.search(r"^pyinstaller==(\S+)", pinned.read_text(), re.MULTILINE)):
        found.add(Part("pypi", "pyinstaller", version[1], "GPL-2.0-or-later WITH Bootloader-exception"))
    return found

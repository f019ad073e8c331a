"""What is in a built package: the Python packages, and the packages of Debian, as the package itself says.

The list of a release is read from what was built, so a package that a builder adds cannot be missing in it.
"""

import gzip
import io
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

_LEAD, _GZIP = 96, b"\x1f\x8b"


@dataclass(frozen=True, order=True)
class Part:
    """A package inside of another."""

    kind: str
    """`pypi` or `deb`, as package URLs have it."""
    name: str
    version: str
    licence: str
    """An expression of SPDX, or a text; empty if the package does not say."""


def python_packages(archive: Path) -> frozenset[Part]:
    """Give the Python packages in an archive."""
    return frozenset(_part(text) for path, text in _files(archive) if _is_metadata(path))


def debian_packages(archive: Path) -> frozenset[Part]:
    """Give the packages of Debian in an archive: only a container image has any."""
    found = set()
    for path, text in _files(archive):
        if path == PurePosixPath("var/lib/dpkg/status") or path.parent == PurePosixPath("var/lib/dpkg/status.d"):
            for paragraph in text.strip().split("\n\n"):
                fields = HeaderParser().parsestr(paragraph)
                if fields["Package"] and fields["Version"]:
                    found.add(Part("deb", fields["Package"], fields["Version"], ""))
    return frozenset(found)


def _is_metadata(path: PurePosixPath) -> bool:
    return path.name == "METADATA" and path.parent.suffix == ".dist-info"


def _is_wanted(path: PurePosixPath) -> bool:
    return _is_metadata(path) or path.is_relative_to("var/lib/dpkg") or path.is_relative_to("blobs")


def _part(text: str) -> Part:
    fields = HeaderParser().parsestr(text)
    licence = fields["License-Expression"] or _of_classifiers(fields.get_all("Classifier", [])) or fields["License"]
    # A package may have the whole text of its licence here; its first line is the name.
    first = (licence or "").strip().partition("\n")[0]
    return Part("pypi", fields["Name"].lower().replace("_", "-"), fields["Version"], first)


def _of_classifiers(classifiers: list[str]) -> str:
    names = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: OSI Approved ::")]
    return " AND ".join(_SPDX.get(name, name) for name in names)


_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT": "MIT",
}
"""What SPDX calls the classifiers' licences."""


def _files(archive: Path) -> Iterator[tuple[PurePosixPath, str]]:
    """Give the path and the text of each file that may say something."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if _is_wanted(PurePosixPath(name)):
                    yield PurePosixPath(name), opened.read(name).decode()
    elif archive.suffix == ".deb":
        raw = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(raw)) as opened_tar:
            yield from _of_tar(opened_tar)
    elif archive.suffix == ".rpm":
        yield from _of_rpm(archive.read_bytes())
    elif archive.name.endswith((".tar.xz", ".oci.tar")):
        with tarfile.open(archive) as opened_tar:
            yield from _of_tar(opened_tar)


def _of_tar(opened: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in opened:
        path = PurePosixPath(entry.name.removeprefix("./"))
        source = opened.extractfile(entry) if entry.isfile() and _is_wanted(path) else None
        if source is None:
            continue
        raw = source.read()
        if not path.is_relative_to("blobs"):
            yield path, raw.decode()
            continue
        # A layer of an OCI image, or its configuration.
        try:
            with tarfile.open(fileobj=io.BytesIO(raw)) as layer:
                yield from _of_tar(layer)
        except tarfile.ReadError:
            continue


def _of_rpm(raw: bytes) -> Iterator[tuple[PurePosixPath, str]]:
    """Read an RPM whose files are compressed with gzip: a lead, two headers, and an archive of cpio (rpm-format(5))."""
    at = _LEAD
    for pads in (8, 1):
        _, _, entries, size = struct.unpack_from(">4s4sII", raw, at)
        at += 16 + 16 * entries + size
        at += -at % pads
    if raw[at : at + 2] != _GZIP:
        return
    archive, at = gzip.decompress(raw[at:]), 0
    while True:
        fields = [int(archive[at + 6 + 8 * one : at + 14 + 8 * one], 16) for one in range(13)]
        size, named = fields[6], fields[11]
        path = PurePosixPath("/", archive[at + 110 : at + 110 + named - 1].decode()).relative_to("/")
        begins = at + 110 + named + -(110 + named) % 4
        if path.name == "TRAILER!!!":
            return
        if _is_wanted(path):
            yield path, archive[begins : begins + size].decode()
        at = begins + size + -size % 4

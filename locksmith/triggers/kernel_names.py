"""The names of kernels: which of two is newer, and which kernels are of the same flavour. Pure.

A release name has a version, counters and tags of the distribution, and a flavour. An update, also one of the whole
distribution, changes the first two and keeps the flavour:

    6.1.0-40-amd64                 6.12.48+deb13-amd64        6.12.9+bpo-amd64       Debian, and its backports
    6.1.0-40-cloud-amd64           6.12.48+deb13-cloud-amd64
    6.1.21-v8+                     6.6.20+rpt-rpi-v8          Raspberry Pi OS
    5.14.0-362.8.1.el9_3.x86_64    5.14.0-427.13.1.el9_4.x86_64
    6.6.8-arch1-1                  6.6.9-arch1-1
"""

import re
from typing import NamedTuple

_PRE_RELEASE = -1


class KernelName(NamedTuple):
    """The parts of a kernel's release name. Only versions of the same flavour can be compared."""

    version: tuple[int, ...]
    flavour: str


def parse(release: str) -> KernelName | None:
    """Read a release name; None: it does not begin with a version."""
    head = _HEAD.match(release)
    if head is None:
        return None
    version, flavour, rest = [*_numbers(head[0])], "", release[head.end() :]
    while rest:
        counted = next((found for pattern in _COUNTED if (found := pattern.match(rest))), None)
        if counted is None:
            flavour, rest = flavour + rest[0], rest[1:]
            continue
        kept = counted.groupdict().get("kept") or ""
        version += [_PRE_RELEASE] if "pre" in counted.groupdict() else []
        version += _numbers(counted[0].removesuffix(counted.groupdict().get("hash") or ""))
        flavour, rest = flavour + kept, rest[counted.end() :]
    return KernelName((*version, 0), _same(flavour))  # the end of a version is later than its `rc`


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]+", text)]


def _same(flavour: str) -> str:
    """Give a flavour the name that it has today."""
    plain = flavour.strip("-+.~").removeprefix("rpi-")
    if not plain and flavour.endswith("+"):
        plain = "v6"  # the first Raspberry Pi
    return _RENAMED.get(plain, plain)


_RENAMED = {"v8-16k": "2712"}
_BOARDS = r"(?:[3-6]86|2712)(?:-|$)"
"""Flavours that begin with digits."""
_HEAD = re.compile(rf"[0-9]+(?:[.-](?!{_BOARDS})[0-9]+(?![0-9A-Za-z_]))*")
_COUNTED = (
    # 6.13-rc7, 6.13~rc7: before 6.13
    re.compile(r"[-~](?P<pre>rc)[0-9]+(?=[-+.~]|$)"),
    # +deb13, +bpo, +rpt, .deb11.13, .bpo.5: gone with the next release of the distribution
    re.compile(r"[+~.-](?:deb|bpo|rpt)[0-9]*(?:u[0-9]+)?(?:[.+][0-9]+)*(?=[-+~.]|$)"),
    # .rc8, .20240104gitac865f00af29.62: builds of Fedora before a release
    re.compile(r"\.rc[0-9]+(?=\.)"),
    re.compile(r"\.[0-9]+(?P<hash>git[0-9a-f]+(?:\.[0-9]+)*)(?=\.)"),
    # .el9_3, .fc39, .amzn2023, .rt7.316, .el8uek
    re.compile(r"(?P<kept>\.[a-z]+)[0-9]+(?:[_.][0-9]+)*(?=[a-z]*\.)"),
    # -arch1-1, -zen1-1
    re.compile(r"(?P<kept>-[a-z]+)[0-9]+-[0-9]+(?=-|$)"),
    # -xanmod1; not the numbers of an architecture (-amd64)
    re.compile(r"(?P<kept>-(?!amd|arm|ppc|riscv|loong|sparc|mips)[a-z]{3,})[0-9]+(?=-|$)"),
)
"""The parts of a name that count up. Their letters are `kept` for the flavour."""

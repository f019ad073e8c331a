"""The build of a kernel, as its image says: two images of one name may be two builds.

The kernel says its build in /proc/sys/kernel/version: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)`. An image
for x86 has the same text in its header. Any other image has it in the kernel itself, which may be compressed.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

HEADER = 0x20200
"""Bytes of an image for x86 in which its text must be: its place is a number of 16 bits."""
MOST_READ = 256 * 1024 * 1024
"""Bytes of a kernel that are searched. Kernels have up to a tenth of that."""
_CHUNK = 1024 * 1024
_LONGEST = 512
_BANNER = re.compile(rb"Linux version [^\n\0]{1,400}? (#[0-9]+ [^\n\0]{1,200})\n")
"""A kernel has the sentence twice: one without the number, from the link before the last."""
_X86 = re.compile(rb"[^\0]{1,400}? (#[0-9]+ [^\0]{1,200})\0")
_GZIP = b"\x1f\x8b\x08"


def build_of(image: Path, *, thorough: bool) -> str | None:
    """Give the build of a kernel's image; None: the image does not say.

    Only a `thorough` search finds it in an image for other machines than x86. `OSError`: the image cannot be read.
    """
    with image.open("rb") as file:
        head = file.read(HEADER)
    if head[0x202:0x206] == b"HdrS":
        return _found(_X86.match(head, int.from_bytes(head[0x20E:0x210], "little") + 0x200))
    if not thorough:
        return None
    last = b""
    for part in _unpacked(image):
        last = last[-_LONGEST:] + part
        if (build := _found(_BANNER.search(last))) is not None:
            return build
    return None


def _found(match: re.Match[bytes] | None) -> str | None:
    return match[1].decode(errors="replace") if match else None


def _unpacked(image: Path) -> Iterator[bytes]:
    """Give an image in parts, without its compression if that is gzip."""
    read = 0
    with image.open("rb") as file:
        part = file.read(_CHUNK)
        inflate = zlib.decompressobj(wbits=31) if part.startswith(_GZIP) else None
        while part and read < MOST_READ:
            try:
                plain = inflate.decompress(part, _CHUNK) if inflate else part
            except zlib.error:
                return
            read += len(plain)
            yield plain
            if inflate and inflate.eof:
                return
            part = (inflate.unconsumed_tail if inflate else b"") or file.read(_CHUNK)

"""The id of this machine's hardware, as a digest: it tells this machine from a copy of its disk.

The machine's id and all its files are on the disk. The firmware's id is not: a virtual machine from a copied disk has
another id (SMBIOS 7.2.1, `/sys/class/dmi/id/product_uuid`). Boards with a device tree have a serial number. A container
sees the id of its host, and so has no id of its own.
"""

import hashlib

from locksmith.host.paths import Paths


def read_hardware(paths: Paths, machine_id: str) -> str:
    """Give 16 hexadecimal digits that differ on every machine; empty: nothing tells this machine from another.

    The digest includes the machine id: its readers learn nothing about the hardware.
    """
    if paths.container.exists():
        return ""
    for path in (paths.product_uuid, paths.board_serial):
        try:
            text = path.read_text(encoding="ascii", errors="replace").strip(" \n\0").lower()
        except OSError:
            continue
        if text:
            return hashlib.sha256(f"{machine_id} {text}".encode()).hexdigest()[:16]
    return ""

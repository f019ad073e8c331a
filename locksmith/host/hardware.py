"""What tells this machine from a copy of its disk: the id of its hardware, as a digest.

A machine's id, its boot's id and all its files are on the disk, or follow from what is. The firmware's id is not: a
virtual machine that is made of a copied disk has another one (SMBIOS 7.2.1, `/sys/class/dmi/id/product_uuid`; on boards
with a device tree their serial number). A container sees its host's, and so has none of its own.
"""

import hashlib

from locksmith.host.paths import Paths


def read_hardware(paths: Paths, machine_id: str) -> str:
    """Give 16 hexadecimal digits that another machine has others of; empty where nothing tells.

    It is a digest, with the machine id: what others read of it tells nothing about the hardware.
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

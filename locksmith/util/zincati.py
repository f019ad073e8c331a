"""The id under which Zincati, and so a FleetLock server, knows a machine. Pure.

A machine-id is confidential (machine-id(5)), so an application shows what it derives from it. This is systemd's
`sd_id128_get_machine_app_specific()` with Zincati's application id.
"""

import hashlib
import hmac

APPLICATION = bytes.fromhex("de35106b6ec24688b63afddaa156679b")
"""Zincati's own id."""
_SIZE = 16


def zincati_id(machine_id: str) -> str:
    """Give the id that Zincati derives from a machine-id of 32 hex digits, as 32 hex digits.

    `ValueError`: this is no machine-id.
    """
    key = bytes.fromhex(machine_id)
    if len(key) != _SIZE:
        raise ValueError(f"a machine-id has 32 hex digits, and {machine_id!r} has not")
    found = bytearray(hmac.new(key, APPLICATION, hashlib.sha256).digest()[:_SIZE])
    found[6] = found[6] & 0x0F | 0x40  # the version of the UUID
    found[8] = found[8] & 0x3F | 0x80  # its variant
    return found.hex()

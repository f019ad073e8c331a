"""The id by which Zincati calls a FleetLock server: it derives from the machine-id, and does not tell it. Pure."""

import hmac
from functools import lru_cache

_APPLICATION = bytes.fromhex("de35106b6ec24688b63afddaa156679b")
"""Zincati's own id, as sd_id128_get_machine_app_specific(3) takes it."""

_LENGTH = 32
_MOST = 32_768
"""Ids that are kept: a page of a large group derives them again and again."""


@lru_cache(_MOST)
def client_of(machine_id: str) -> str:
    """Give Zincati's id of a machine; empty: this is no machine-id."""
    is_id = len(machine_id) == _LENGTH and set(machine_id) <= set("0123456789abcdef")
    return zincati_id(machine_id) if is_id else ""


def zincati_id(machine_id: str) -> str:
    """Give Zincati's id of a machine, of 32 hexadecimal digits. `ValueError`: this is no machine-id."""
    derived = bytearray(hmac.digest(bytes.fromhex(machine_id), _APPLICATION, "sha256")[:16])
    # The marks of a UUID of version 4.
    derived[6] = derived[6] & 0x0F | 0x40
    derived[8] = derived[8] & 0x3F | 0x80
    return derived.hex()

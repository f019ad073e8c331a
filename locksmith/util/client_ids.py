"""The ids of FleetLock's clients that `locksmith-server` takes. Pure."""

import unicodedata
from typing import Final

LONGEST_ID: Final = 255
"""Characters."""
LARGEST_ID: Final = 256
"""Bytes: each holder's id is in the semaphore."""

_NOT_IN_AN_ID = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that forge a line or reverse a text where an id is shown, or are none."""


def id_problem(client: str) -> str:
    """Say why an id is not taken; empty: it is."""
    if not client.strip():
        return "the client's id is empty"
    if len(client) > LONGEST_ID:
        return f"the client's id has {len(client)} characters, and at most {LONGEST_ID} are taken"
    if any(unicodedata.category(character) in _NOT_IN_AN_ID for character in client):
        return "the client's id has control characters, or others that cannot be shown, in it"
    if client != client.strip():
        return "the client's id begins or ends with a space"
    if client.startswith("-"):
        return "the client's id begins with `-`: a hook that names its client to a command would give an option"
    is_taken = client.isprintable() and len(client.encode()) <= LARGEST_ID
    return "" if is_taken else f"an id must be of 1 to {LARGEST_ID} bytes that can be printed"

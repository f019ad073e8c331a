"""The header that says who asks a server, from a password or a token."""

from base64 import b64encode

from locksmith.errors import HostError


def basic(username: str, password: str) -> dict[str, str]:
    """Give the header for a user and a password."""
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    """Give the header for a token. `HostError`: no header can have it."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise HostError("a token that no HTTP header can have: it must be ASCII text without spaces")
    return {"Authorization": f"Bearer {token}"}

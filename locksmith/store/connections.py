"""HTTP connections for blocking calls: time limits, and no second try that nobody asked for."""

import ssl

import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

PATIENCE = 0.9
"""The share of its time after which a blocking call gives up by itself, so that it can still say why."""


def open_pool(tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    """Make a pool; no connection is made yet.

    It never repeats a request: urllib3's own default repeats a PUT whose answer was lost, and so a swap that had won.
    """
    return urllib3.PoolManager(retries=False, ssl_context=tls)


def patience(seconds: float) -> urllib3.Timeout:
    """Bound a blocking request that has `seconds` in all."""
    return urllib3.Timeout(total=seconds * PATIENCE)


def never_connected(error: object) -> bool:
    """Whether a failed request cannot have reached the server."""
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in getattr(error, "args", ()))


def as_latin1(text: str | None) -> str | None:
    """Spell UTF-8 in the encoding that urllib3 turns credentials into, so that the server gets UTF-8."""
    return None if text is None else text.encode().decode("latin-1")


def brief(error: object) -> str:
    """Say what was wrong in one line; what urllib3 raises repeats the address, its cause does not."""
    error = getattr(error, "__cause__", None) or error
    return " ".join(str(error).split())[:200]

"""HTTP connections for blocking calls: with time limits, and without hidden repetitions."""

import ssl

import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

PATIENCE = 0.9
"""The share of its time after which a blocking call fails by itself, so that it can still say why."""


def open_pool(tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    """Give a pool, which has no connection yet.

    The pool never repeats a request. By default urllib3 repeats a PUT after a lost answer, also a swap that had won.
    """
    return urllib3.PoolManager(retries=False, ssl_context=tls)


def time_limit(seconds: float) -> urllib3.Timeout:
    """Bound a blocking request that has `seconds` in all."""
    return urllib3.Timeout(total=seconds * PATIENCE)


def never_connected(error: object) -> bool:
    """Whether a failed request cannot have reached the server."""
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in getattr(error, "args", ()))


def as_latin1(text: str | None) -> str | None:
    """Give a text that urllib3's encoding of credentials turns into UTF-8."""
    return None if text is None else text.encode().decode("latin-1")


def brief(error: object) -> str:
    """Say in one line what was wrong. The cause of an error of urllib3 does not repeat the address."""
    error = getattr(error, "__cause__", None) or error
    return " ".join(str(error).split())[:200]

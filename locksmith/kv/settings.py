"""How to reach the store: what the configuration says, and nothing that is connected yet."""

from dataclasses import dataclass, field
from pathlib import Path

V2, V3 = 2, 3
"""The APIs of etcd, by their own names."""

DEFAULT_ENDPOINTS = ("http://127.0.0.1:2379", "http://127.0.0.1:4001")
"""The original's default."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Endpoints (tried in turn), the API to speak (2 or 3, never guessed), TLS files, credentials.

    `timeout` bounds each call, all endpoints together, in seconds.
    """

    endpoints: tuple[str, ...] = DEFAULT_ENDPOINTS
    api: int = V3
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 5.0

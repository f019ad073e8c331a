"""The URLs of the configuration. None may have a secret in it, and no error shows a secret.

`ValueError` has the end of a sentence that begins with the key's name.
"""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from locksmith.util.words import listed

OWN_PATHS: Final = frozenset(
    {"api", "events", "groups", "healthz", "machines", "metrics", "sign-in", "sign-out", "static", "v1", "whoami"}
)
"""What the paths of locksmith-server begin with."""
_PART = re.compile("[A-Za-z0-9._~-]+")


def base_url(text: str) -> str:
    """Give the base URL of a server, which may have a path, without a `/` at its end."""
    if not text:
        return ""
    whose = "alerts.username with alerts.password-file, or alerts.token-file"
    return _settled(text, _server(text, "a URL like http://10.0.0.1:9090", whose))


def fleet_lock_url(text: str) -> str:
    """Give the base URL of a FleetLock server, whose path is kept, without a `/` at its end."""
    if not text:
        return ""
    whose = "fleet-lock.username with fleet-lock.password-file, or fleet-lock.token-file"
    url = _server(text, "a URL like https://fleetlock.example", whose)
    if not text.isascii():
        raise ValueError(f"must be ASCII, with %-escapes for other characters, not {text!r}")
    if text.rstrip("/").endswith(("/v1", "/v1/pre-reboot", "/v1/steady-state")):
        raise ValueError(f"must be the base URL, to which v1/pre-reboot is added, not {text!r}")
    return _settled(text, url)


def fleet_server_url(text: str) -> str:
    """Give the base URL of a locksmith-server, whose path is kept, without a `/` at its end."""
    whose = "fleet-server.token-file, or a client certificate"
    url = _server(text, "a URL like https://locksmith.example:3333", whose)
    if not text.isascii():
        raise ValueError(f"must be ASCII, with %-escapes for other characters, not {text!r}")
    return _settled(text, url)


def public_url(text: str) -> str:
    """Give the URL of a locksmith-server as its users write it, perhaps with a path, without a `/` at its end."""
    if not text:
        return ""
    url = _server(text, "a URL like https://ops.example/locksmith", "of each caller")
    path = url.path.rstrip("/")
    parts = path.split("/")[1:]
    if not all(_PART.fullmatch(part) for part in parts) or {".", ".."} & set(parts):
        raise ValueError(f"must have a path of letters, digits and . _ ~ - between slashes, not {path!r}")
    if parts and parts[0] in OWN_PATHS:
        raise ValueError(
            f"must have a path that does not begin with /{parts[0]}: the server could not tell it from its own "
            f"{listed(sorted(OWN_PATHS))}"
        )
    return _settled(text, url)


def _settled(text: str, url: SplitResult) -> str:
    """Give the text of a URL with its scheme in small letters, as all compare it, and without a `/` at its end."""
    return f"{url.scheme}:{text.partition(':')[2]}".rstrip("/")


def _server(text: str, example: str, whose: str) -> SplitResult:
    """Read the URL of a server. What the errors show of the text has no secret in it."""
    try:
        url = urlsplit(text)
        known = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        url, known = SplitResult("", text, "", "", ""), False
    if "@" in url.netloc or (not known and "@" in text):
        raise ValueError(f"must not have a user or a password in the URL: they are {whose}")
    if "?" in text or "#" in text:
        raise ValueError(f"must be {example}, without a query: {re.split('[?#]', text)[0]!r} has one")
    if not known or re.search(r"[\s\\]", text):
        raise ValueError(f"must be {example}, not {text!r}")
    return url


def endpoint(text: str) -> str:
    """Give a URL of only scheme, host and perhaps port, without a `/` at its end."""
    like = "URLs like http://10.0.0.1:2379 or https://etcd.example:2379"
    url = _server(text, like, "etcd.username and etcd.password-file")
    if url.path not in {"", "/"}:
        raise ValueError(f"must be {like}, not {text!r}")
    return f"{url.scheme}://{url.netloc}"

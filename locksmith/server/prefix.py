"""The path below which a proxy shows the server: `server.url` says it, and no header of a request does."""

import re
from collections.abc import Callable

from starlette.types import Scope

Without = Callable[[Scope], None]


def below(prefix: str) -> Without:
    """Give what removes a prefix such as `/locksmith` from the path of a request, if it has it.

    A proxy may have removed it: no path of the server begins with a prefix (`config.urls.OWN_PATHS`).
    """
    # At the beginning, after the host of a target in absolute form. A client may have escaped a letter of it.
    letters = "".join(f"(?:{re.escape(one)}|%{ord(one):02x})" for one in prefix)
    begins = re.compile(f"(?:https?://[^/]*)?{letters}".encode(), re.IGNORECASE)

    def without(scope: Scope) -> None:
        path, raw = scope["path"], scope.get("raw_path") or b""
        if path != prefix and not path.startswith(f"{prefix}/"):
            return
        scope["path"] = path.removeprefix(prefix) or "/"
        if found := begins.match(raw):
            scope["raw_path"] = raw[found.end() :] or b"/"

    return without if prefix else lambda _scope: None

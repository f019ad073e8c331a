"""The path below which a proxy shows the server: `server.url` says it, and no header of a request does."""

from collections.abc import Callable

from starlette.types import Scope

Without = Callable[[Scope], None]


def below(prefix: str) -> Without:
    """Give what removes a prefix such as `/locksmith` from the path of a request, if it has it.

    A proxy may have removed it: no path of the server begins with a prefix (`config.urls.OWN_PATHS`).
    """

    def without(scope: Scope) -> None:
        path, raw = scope["path"], scope.get("raw_path") or b""
        if path != prefix and not path.startswith(f"{prefix}/"):
            return
        scope["path"] = path.removeprefix(prefix) or "/"
        _, found, rest = raw.partition(prefix.encode())
        if found:
            scope["raw_path"] = rest or b"/"

    return without if prefix else lambda _scope: None

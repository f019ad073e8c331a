"""Requests as uvicorn gives them to the app, from callers with any credential."""

from collections.abc import Collection

from starlette.requests import Request

from locksmith.server.connection import Guest


def asked(*, scheme: str = "http", origin: str = "10.0.0.7", machines: Collection[str] = (), **headers: str) -> Request:
    """Give a request from an address, on a connection whose certificate names these machines; with headers."""
    guest = Guest(origin, address=origin, machines=frozenset(machines))
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": fields, "query_string": b"", "scheme": scheme}
    return Request({**scope, "server": ("x", 80), "state": {"guest": guest}})

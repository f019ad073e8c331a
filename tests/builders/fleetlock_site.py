"""The app of locksmith-server over real sockets on loopback, with rules in memory."""

import asyncio
import contextlib
import json
from ipaddress import ip_network

from locksmith.config.server_model import ServedGroup
from locksmith.server.app import make_app
from locksmith.server.door import Door
from locksmith.server.service import http_config
from locksmith.util.listener import listen

ANYBODY = ServedGroup(clients=(ip_network("127.0.0.0/8"),))
PROTOCOL = {"fleet-lock-protocol": "true"}


def params(client="n1", group="web"):
    """The body of a call."""
    return json.dumps({"client_params": {"id": client, "group": group}}).encode()


def request(path="/v1/pre-reboot", body=None, headers=PROTOCOL, method="POST", *, length=True):
    """The bytes of a request."""
    body = params() if body is None else body
    fields = {"Host": "x", **headers, **({"Content-Length": str(len(body))} if length else {})}
    return (
        f"{method} {path} HTTP/1.1\r\n".encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
        + b"\r\n"
        + body
    )


class Site:
    """A server on a loopback port."""

    def __init__(self, desk, groups, context=None, others=(), counted=None, **rooms):
        self.desk = desk
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.door = Door(self.listener, http_config(make_app(desk, groups, others, counted)), context, **rooms)
        self.trusting = None

    async def connect(self):
        """Give a connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trusting)

    async def ask(self, raw=None, **fields):
        """Send a request, and give the status and the body of the answer."""
        reader, writer = await self.connect()
        try:
            writer.write(request(**fields) if raw is None else raw)
            return await answer(reader)
        finally:
            writer.close()


async def answer(reader):
    """Read an answer: its status and body."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        body = await reader.readexactly(length)
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


@contextlib.asynccontextmanager
async def site_of(desk, groups=None, context=None, **rooms):
    """Open a site; `rooms` are the sizes of its door's lobby and inside."""
    site = Site(desk, groups or {"web": ANYBODY}, context, **rooms)
    site.door.open()
    try:
        yield site
    finally:
        await site.door.close(1)

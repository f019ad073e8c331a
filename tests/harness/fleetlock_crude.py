"""FleetLock servers whose HTTP is written by hand, so that it can be wrong: doubles for the conformance suite.

`Crude` is correct, as far as it goes (no chunks, no TLS). The others have one fault each.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PARTS = 65536
LARGEST = 1_000_000
PROTOCOL = "fleet-lock-protocol"
BAD = (400, {"kind": "bad_request", "value": "this is no call"})
BUSY = (409, {"kind": "no_slot", "value": "no slot is free"})

Answer = tuple[int, dict[str, str]]


class EndedError(Exception):
    """The connection ends here."""


class Crude:
    """The correct server: a thread for each connection, and calls one after another."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.holders: set[str] = set()
        self.lock = threading.Lock()

    def accepted(self, client: socket.socket) -> None:
        """Take a new connection."""
        threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Answer the requests of one connection."""
        rest = b""
        with client, suppress(OSError, EndedError):
            while True:
                rest = self.serve_one(client, rest)

    def serve_one(self, client: socket.socket, rest: bytes) -> bytes:
        """Answer one request; what has come of the next is returned."""
        head, rest = self.head(client, rest)
        line, *lines = head.decode("latin-1").split("\r\n")
        if not re.fullmatch(r"\S+ \S+ HTTP/1\.[01]", line):
            self.garbage(client)
        method, path, version = line.split()
        headers = {self.name(name): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        if method != "POST" or headers.get(PROTOCOL) != "true":
            return self.refuse_early(client, headers, rest)
        body, rest = self.body(client, headers, rest)
        self.send(client, self.answer(path, body, version))
        if version == "HTTP/1.0":
            raise EndedError
        return self.left(rest)

    def head(self, client: socket.socket, rest: bytes) -> tuple[bytes, bytes]:
        """Read the head of a request."""
        while b"\r\n\r\n" not in rest:
            if len(rest) > LARGEST:
                raise EndedError
            rest += self.receive(client)
        head, _, rest = rest.partition(b"\r\n\r\n")
        return head, rest

    def receive(self, client: socket.socket) -> bytes:
        """Read what comes next."""
        data = client.recv(PARTS)
        if not data:
            raise EndedError
        return data

    def name(self, name: str) -> str:
        """Read the name of a header."""
        return name.lower()

    def length(self, text: str) -> int:
        """Read the length of a body."""
        return int(text) if re.fullmatch(r"\d{1,9}", text) else -1

    def body(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
        """Read a body; what follows is a part of the next request."""
        length = self.length(headers.get("content-length", ""))
        if not 0 <= length <= LARGEST:
            self.send(client, BAD)
            raise EndedError
        if headers.get("expect") == "100-continue":
            self.go_on(client)
        while len(rest) < length:
            rest += self.receive(client)
        return rest[:length], rest[length:]

    def go_on(self, client: socket.socket) -> None:
        """Have the client send its body."""
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def garbage(self, client: socket.socket) -> None:
        """Answer what is no HTTP."""
        self.send(client, BAD)
        raise EndedError

    def refuse_early(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> bytes:
        """Answer what is no call."""
        _, rest = self.body(client, headers, rest)
        self.send(client, BAD)
        return rest

    def left(self, rest: bytes) -> bytes:
        """Give what has come of the next request."""
        return rest

    def answer(self, path: str, body: bytes, version: str) -> Answer:
        """Do what a call says."""
        assert version
        try:
            params = json.loads(body)["client_params"]
            return self.act(path, params["id"]) if params["id"] and params["group"] else BAD
        except (ValueError, TypeError, KeyError, RecursionError):
            return BAD

    def act(self, path: str, client: str) -> Answer:
        """Take or release a slot."""
        with self.lock:
            if path.endswith("/v1/steady-state"):
                self.holders.discard(client)
            elif client not in self.holders:
                if len(self.holders) >= self.slots:
                    return BUSY
                self.holders.add(client)
        return 200, {}

    def send(self, client: socket.socket, answer: Answer) -> None:
        """Send an answer."""
        status, fields = answer
        body = json.dumps(fields).encode()
        client.sendall(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


class CaseOfNames(Crude):
    def name(self, name: str) -> str:
        return name if name.lower() == PROTOCOL else name.lower()


class OneConnection(Crude):
    """Serves a connection when the last one has ended."""

    def accepted(self, client: socket.socket) -> None:
        self.serve(client)


class OnePart(Crude):
    """Takes what comes at once for all of a body."""

    def body(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
        assert headers
        return rest or self.receive(client), b""


class NoContinue(Crude):
    def go_on(self, client: socket.socket) -> None:
        assert client


class OneCall(Crude):
    """Answers one call of a connection, and then nothing more."""

    def left(self, rest: bytes) -> bytes:
        assert rest is not None
        time.sleep(2)
        raise EndedError


class DropsTheNext(Crude):
    """Forgets what of the next request came with this one."""

    def left(self, rest: bytes) -> bytes:
        assert rest is not None
        return b""


class LeavesBodies(Crude):
    """Does not read the body of what it refuses, and reads it as the next request."""

    def refuse_early(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> bytes:
        assert headers
        self.send(client, BAD)
        return rest


class DiesOfGarbage(Crude):
    dead = False

    def garbage(self, client: socket.socket) -> None:
        assert client
        self.dead = True
        raise EndedError

    def accepted(self, client: socket.socket) -> None:
        if self.dead:
            client.close()
        else:
            super().accepted(client)


class OnlyNewHttp(Crude):
    def answer(self, path: str, body: bytes, version: str) -> Answer:
        return super().answer(path, body, version) if version == "HTTP/1.1" else (505, BAD[1])


class AnyLength(Crude):
    """Takes a length that it cannot read for that of what has come."""

    def body(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
        if self.length(headers.get("content-length", "")) < 0:
            return rest or self.receive(client), b""
        return super().body(client, headers, rest)


class FailsOnLarge(Crude):
    def body(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
        length = self.length(headers.get("content-length", ""))
        if length > LARGEST:
            while len(rest) < length:
                rest += self.receive(client)
            self.send(client, (500, {"kind": "internal", "value": "out of memory"}))
            raise EndedError
        return super().body(client, headers, rest)


class Late(Crude):
    def act(self, path: str, client: str) -> Answer:
        time.sleep(0.4)
        return super().act(path, client)


class ActsOnHalves(Crude):
    """Takes a slot for a call that did not come to its end."""

    def body(self, client: socket.socket, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
        try:
            while len(rest) < self.length(headers.get("content-length", "")):
                rest += self.receive(client)
        except (OSError, EndedError):
            if found := re.search(rb'"id": "([^"]+)"', rest):
                self.act("/v1/pre-reboot", found[1].decode())
            raise
        return super().body(client, headers, rest)


@contextmanager
def serving(crude: Crude) -> Iterator[str]:
    """Serve on a port of this machine, and give the base URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        ends = threading.Event()

        def accept() -> None:
            while not ends.is_set():
                with suppress(OSError):
                    client, _ = listener.accept()
                    crude.accepted(client)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ends.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)

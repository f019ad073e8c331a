"""A load balancer for TCP: each connection goes to the next of some servers."""

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urlsplit

START_LIMIT = 10.0


class Balancer:
    """Carries connections to the servers in turn, in an event loop of its own."""

    def __init__(self, addresses: Sequence[SplitResult]) -> None:
        self._turn = itertools.cycle(addresses)
        self._carrying: set[asyncio.Task[None]] = set()
        self.ready = threading.Event()
        self.port = 0
        self.stop = asyncio.Event()

    async def serve(self) -> None:
        """Serve until `stop` is set, and end what is carried then."""
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()
        server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = next(self._turn)
        writers = [writer]
        try:
            theirs, ours = await asyncio.open_connection(at.hostname, at.port)
            writers.append(ours)
            await asyncio.gather(_pump(reader, ours), _pump(theirs, writer))
        except OSError:
            for one in writers:
                one.transport.abort()  # a reset, or a server that is not there, is passed on as a reset
        finally:
            for one in writers:
                one.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


@contextmanager
def balancing(urls: Sequence[str]) -> Iterator[str]:
    """Give the URL at which connections go to these servers in turn."""
    addresses = [urlsplit(url) for url in urls]
    balancer = Balancer(addresses)
    thread = threading.Thread(target=lambda: asyncio.run(balancer.serve()))
    thread.start()
    try:
        assert balancer.ready.wait(START_LIMIT)
        yield f"{addresses[0].scheme}://127.0.0.1:{balancer.port}"
    finally:
        balancer.loop.call_soon_threadsafe(balancer.stop.set)
        thread.join()

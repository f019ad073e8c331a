"""`locksmith-server`, from its start to its signals."""

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.routing import BaseRoute
from uvicorn.config import Config as HttpConfig

import locksmith.store.etcd3_feed  # noqa: F401 - loaded when etcd answers first: maybe long after the start
from locksmith.config.model import Config
from locksmith.config.server_model import ServerSettings
from locksmith.errors import HostError, UsageError
from locksmith.host.notify import Notifier
from locksmith.host.paths import Paths
from locksmith.server import garbage
from locksmith.server.app import Counted, Revoked, Shortcut, make_app
from locksmith.server.cluster import following, open_observed
from locksmith.server.connection import IDLE_LIMIT, Connection
from locksmith.server.credentials import Credentials
from locksmith.server.door import Door, size_of_lobby
from locksmith.server.enrolment import Enrolment
from locksmith.server.first_bytes import LARGEST_HEAD
from locksmith.server.hub import Hub
from locksmith.server.machine_calls import make_routes, make_shortcut
from locksmith.server.machine_desk import MachineDesk
from locksmith.server.ports import FleetLock
from locksmith.server.session_cookie import SessionCookie
from locksmith.server.whoami import whoami_routes
from locksmith.util.listener import listen
from locksmith.util.server_certificate import ServerCertificate
from locksmith.util.signals import heard
from locksmith.util.words import listed

log = logging.getLogger(__name__)

UNIT: Final = "locksmith-server.service"
SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which a thread that puts a large group into words keeps the event loop waiting, at each of its reads and
writes: Python's own 5 ms made an answer of 3 ms one of 100."""
STOP_LIMIT: Final = 8.0
"""Seconds for the answers that are under way at a stop."""


async def run(config: Config, paths: Paths, notifier: Notifier) -> None:
    """Serve until SIGTERM or SIGINT. `HostError`: the port cannot be had; `UsageError`: the certificate is unusable."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    from locksmith.server.desk import Desk  # noqa: PLC0415 - the rules, apart from their wire
    from locksmith.server.notice_post import NoticeCounts  # noqa: PLC0415 - the same
    from locksmith.server.notify import notifying  # noqa: PLC0415 - the same
    from locksmith.server.pages import Web  # noqa: PLC0415 - the same
    from locksmith.server.store_marks import StoreMarks  # noqa: PLC0415 - the same

    context = tls_of(config.server)
    listener = open_port(config.server)
    store = open_observed(config.store, following(config.store, config.server.groups))
    machines = MachineDesk(config)
    hub = Hub(machines.store, config.server.groups)
    cookie = SessionCookie(config.server.prefix, config.server.is_reached_by_tls)
    people = Credentials(store, cookie, hub.read_since)
    counts, marks = NoticeCounts(config.notify.targets), StoreMarks(config.store, config.server.groups)
    web = Web(config, paths, store, people=people, reads=hub.recent, ready=hub.ready, more=(counts, marks))
    machines.wait_by(hub)
    # The path of an enrolment is like that of a machine's call, so it comes first.
    first = [*Enrolment(store).routes(), *whoami_routes(people)]
    of_machines = web.counting(make_routes(machines, people, config.server.groups))
    others = [*first, *of_machines, *web.routes]
    collecting = asyncio.ensure_future(garbage.collect_seldom(lambda: Connection.ended))
    try:
        desk = Desk(config, paths, marks=marks)
        desk.wait_by(hub)
        hub.start()
        async with notifying(config, paths, counts, hub.recent, hub.tell), marks.kept():
            await serve(
                desk,
                config.server,
                listener,
                context,
                notifier,
                others=others,
                draining=machines.drain,
                stop=web.stop,
                counted=web.counted,
                shortcut=make_shortcut(of_machines),
                revoked=people.refuse_revoked,
            )
            await hub.settle()
    finally:
        collecting.cancel()
        await hub.close()
        await machines.close()
        await store.close()


async def serve(
    desk: FleetLock,
    settings: ServerSettings,
    listener: socket.socket,
    context: Callable[[], ssl.SSLContext] | None,
    notifier: Notifier,
    *,
    others: Sequence[BaseRoute] = (),
    draining: Callable[[], None] = lambda: None,
    stop: Callable[[], Awaitable[None]] | None = None,
    counted: Counted | None = None,
    shortcut: Shortcut = lambda _scope: None,
    revoked: Revoked | None = None,
) -> None:
    """Serve these rules, and other routes, on a socket until a signal.

    `draining` answers those who wait; `stop` ends answers that have no end.
    """
    asyncio.get_running_loop().set_exception_handler(_log_line)
    stopping = asyncio.Event()
    ended_by = dict.fromkeys((signal.SIGTERM, signal.SIGINT), stopping.set)
    with heard({**ended_by, signal.SIGHUP: _reads_again}):
        app = make_app(desk, settings.groups, others, counted, shortcut, revoked=revoked, prefix=settings.prefix)
        door = Door(listener, http_config(app), context, lobby=size_of_lobby())
        door.open()
        where, groups = _url(listener, tls=context is not None), listed(list(settings.groups))
        log.info("serves FleetLock's clients of %s at %s", groups, where)
        notifier.ready()
        notifier.status(f"serves {groups} at {where}")
        feeding = asyncio.ensure_future(_feed(notifier))
        try:
            await door.until(stopping)
            log.info("stops: what is under way is answered")
        finally:
            notifier.stopping()
            if stop is not None:
                await stop()
            await door.close(STOP_LIMIT, draining)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await desk.close()


def _reads_again() -> None:
    log.info("certificates and passwords are read again when they change")


def open_port(settings: ServerSettings) -> socket.socket:
    """Give the socket. `HostError`: the address is none of this machine, or the port is in use."""
    try:
        return listen(settings.address, settings.port)
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise HostError(
            f"{settings.address} port {settings.port} cannot be listened on: {why}: stop the other program (`ss -ltnp` "
            "names it), or change server.address or server.port"
        ) from None


def tls_of(settings: ServerSettings) -> Callable[[], ssl.SSLContext] | None:
    """Give what gives the TLS context for a connection; None: without TLS. `UsageError`: the files cannot be used."""
    if not (settings.certfile and settings.keyfile):
        return None
    return _certificate(settings.certfile, settings.keyfile, settings.client_cafile).context


def _certificate(certfile: Path, keyfile: Path, client_cafile: Path | None) -> ServerCertificate:
    try:
        return ServerCertificate(certfile, keyfile, client_cafile=client_cafile, port="locksmith-server", unit=UNIT)
    except OSError as error:
        raise UsageError(f"[server] cannot be served: {error}") from None


def http_config(app: Any) -> HttpConfig:
    """Give uvicorn's settings for an app: what it logs, believes and adds by itself is off."""
    config = HttpConfig(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # a client could name any address
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_LIMIT,
        h11_max_incomplete_event_size=LARGEST_HEAD,
    )
    config.load()
    return config


async def _feed(notifier: Notifier) -> None:
    """Tell systemd that the loop is alive."""
    while notifier.watchdog_interval is not None:
        notifier.watchdog()
        await asyncio.sleep(notifier.watchdog_interval)


def _log_line(_loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
    """Log in a line what asyncio would log with a traceback: clients can cause it."""
    error = found.get("exception")
    log.debug("%s: %s: %s", found.get("message"), type(error).__name__, error)


def _url(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    with suppress(OSError):
        host = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{host}:{port}"

"""`--check-config --online`: whether this machine reaches all that its configuration names. Nothing is written."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from locksmith.agent.facts import ShutdownState
from locksmith.agent.strategy import asks_server
from locksmith.config.model import Config
from locksmith.daemon.assembly import make_strategy, make_windows, target_of
from locksmith.errors import LocksmithError, StoreUnavailableError
from locksmith.gates.settings import AlertSettings
from locksmith.host.clock import local_clock
from locksmith.host.container import ContainerCheck
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.health import SystemdHealth
from locksmith.host.logind import Logind
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.keyspaces import refuse_if_v2_in_use
from locksmith.lock.records import keys
from locksmith.lock.successor import Whereabouts
from locksmith.store.connect import open_store
from locksmith.store.settings import V3
from locksmith.util.contact import Contact, contact


async def contact_all(config: Config, paths: Paths) -> list[Contact]:
    """Ask etcd's endpoints, or the strategy's server, the bus and the alert servers at the same time, within limits."""
    asked: list[tuple[str, Callable[[], Awaitable[str]]]] = []
    strategy = make_strategy(config, target_of(config), paths)
    server = asks_server(strategy)
    uses_store = server is None and (strategy.present or bool(config.window.stored))
    if uses_store:
        asked += [(f"etcd {url}", _endpoint(config, paths, url)) for url in config.store.endpoints]
    if server is not None:
        asked.append((server.server, server.contact))
    if config.window.stored:
        asked.append((f"the windows {', '.join(config.window.stored)}", lambda: _windows(config)))
    asked.append(("the system bus", lambda: _bus(config, paths)))
    asked += [(name, _alerts(alone)) for name, alone in _servers(config.alerts)]
    found = list(await asyncio.gather(*(contact(name, ask) for name, ask in asked)))
    return found if uses_store else [Contact("etcd", f"not asked: strategy {config.strategy} needs no store"), *found]


def _endpoint(config: Config, paths: Paths, url: str) -> Callable[[], Awaitable[str]]:
    """Ask one endpoint alone: the others would answer for it."""
    settings = replace(config.store, endpoints=(url,))
    expected = SeenRevision(paths, config.store.api, config.store.endpoints, keeps=False).clusters.own

    async def ask() -> str:
        here = Whereabouts()
        store = open_store(settings, observer=here)
        try:
            await store.get(keys.semaphore_key(config.group))
        except StoreUnavailableError as error:
            # The endpoint is named before the problem.
            raise LocksmithError(str(error).removeprefix(f"no etcd endpoint could be used: {url}: ")) from None
        finally:
            await store.close()
        cluster = here.position.cluster
        if expected and cluster != expected:
            raise LocksmithError(f"it belongs to etcd cluster {cluster}, and this machine has seen {expected} so far")
        if settings.api == V3:
            await refuse_if_v2_in_use(settings, config.group, cluster)
        return f"answers, as a member of cluster {cluster}"

    return ask


async def _windows(config: Config) -> str:
    windows = make_windows(config)
    try:
        sight = await windows.check(local_clock()(), wanted=True)
    finally:
        await windows.close()
    if sight.error:
        raise LocksmithError(sight.error)
    return f"this machine may reboot: {sight.windows or 'at any time'}"


async def _bus(config: Config, paths: Paths) -> str:
    async with SystemBus() as bus:
        if not bus.connected:
            raise LocksmithError("it cannot be reached: is dbus.service active?")
        await ContainerCheck(paths, bus).check()
        if await Logind(bus).shutdown_state() is ShutdownState.UNKNOWN:
            raise LocksmithError("logind and systemd do not both say whether this machine is shutting down")
        if inactive := await SystemdHealth(bus, paths, config.health.units).inactive_units():
            raise LocksmithError(
                f"{'; '.join(inactive)}: health.units names it, so after a reboot this machine would be unhealthy"
            )
    return "logind and systemd answer"


def _servers(settings: AlertSettings) -> list[tuple[str, AlertSettings]]:
    """Give the settings for each server alone, by its URL."""
    servers = []
    if settings.alertmanager:
        servers.append((f"Alertmanager {settings.alertmanager}", replace(settings, prometheus="")))
    if settings.prometheus:
        servers.append((f"Prometheus {settings.prometheus}", replace(settings, alertmanager="")))
    return servers


def _alerts(settings: AlertSettings) -> Callable[[], Awaitable[str]]:
    from locksmith.gates.alerts import Alerts  # noqa: PLC0415 - its HTTP client is loaded only if it is used

    async def ask() -> str:
        if failed := await Alerts(settings).unreadable():
            raise LocksmithError("; ".join(failed))
        return "answers"

    return ask

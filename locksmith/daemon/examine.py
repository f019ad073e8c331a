"""What the daemon would find wrong with its parts at its start, or later, found before: for `--check-config`."""

from locksmith.config.model import Config
from locksmith.daemon.assembly import make_stages, make_strategy, target_of
from locksmith.errors import HostError, LocksmithError, UsageError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.host.server_client import NAMES
from locksmith.host.trust import refuse_changeable_folders
from locksmith.store.endpoints import parse_endpoints
from locksmith.store.tls import Tls
from locksmith.triggers.plugin import TriggerContext, make_triggers
from locksmith.util.server_certificate import ServerCertificate


def problems_of_parts(config: Config, paths: Paths) -> list[str]:
    """Say which part of a configuration cannot be made, or cannot work. Nothing is connected."""
    parts = (
        lambda: make_strategy(config, target_of(config), paths),
        lambda: make_triggers(TriggerContext(paths, SystemBus(), config.triggers, _note)),
        lambda: parse_endpoints(config.store),
        lambda: _fleet_lock(config),
        lambda: _fleet_server(config),
        lambda: _metrics(config),
        lambda: _programs(config, paths),
        lambda: refuse_changeable_folders(paths),
    )
    found = []
    for make in parts:
        try:
            make()
        except LocksmithError as error:
            found.append(str(error))
    return found


async def _note(_version: str, _reason: str = "") -> None:
    """Do nothing: no bus is connected, so no signal comes."""


def _fleet_lock(config: Config) -> None:
    """Load the TLS files of the FleetLock server; the daemon would find them wrong at its first request."""
    if config.fleet_lock.url.startswith("https://"):
        Tls(config.fleet_lock)


def _fleet_server(config: Config) -> None:
    """Load the TLS files of the servers; the daemon would find them wrong at its first call."""
    if any(url.startswith("https://") for url in config.fleet_server.urls):
        Tls(config.fleet_server, NAMES)


def _metrics(config: Config) -> None:
    """Load the certificate of the metrics; the daemon would run without its metrics."""
    if config.metrics.certfile and config.metrics.keyfile:
        try:
            ServerCertificate(config.metrics.certfile, config.metrics.keyfile)
        except OSError as error:
            raise UsageError(f"metrics cannot be served: {error}") from None


def _programs(config: Config, paths: Paths) -> None:
    """Examine checks and hooks; the daemon would find them wrong when the first reboot is due."""
    if found := make_stages(config, paths, SystemBus()).unusable():
        raise HostError("; ".join(found))

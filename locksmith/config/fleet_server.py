"""The table `[fleet-server]`: the locksmith-servers of the strategy `server`, and who asks them."""

from locksmith.agent.fleet_lock import GROUP
from locksmith.agent.fleet_server import SERVER, FleetServerSettings
from locksmith.config import keys
from locksmith.config.files import refuse_tls_without_use, refuse_unreadable, refuse_unusable_token
from locksmith.config.model import Config
from locksmith.config.sources import Settings
from locksmith.store.settings import is_loopback


def read_fleet_server(settings: Settings, default: FleetServerSettings) -> FleetServerSettings:
    """Give the settings. `UsageError`: they contradict each other."""
    settings.together(keys.FLEET_SERVER_CERTFILE, keys.FLEET_SERVER_KEYFILE)
    urls = settings.value(keys.FLEET_SERVER_URLS, default.urls)
    if urls:
        why = "none of fleet-server.urls begins with https://"
        refuse_tls_without_use(settings, urls, why, keys.FLEET_SERVER_CAFILE, keys.FLEET_SERVER_CERTFILE)
    return FleetServerSettings(
        urls=urls,
        cafile=settings.value(keys.FLEET_SERVER_CAFILE, default.cafile),
        certfile=settings.value(keys.FLEET_SERVER_CERTFILE, default.certfile),
        keyfile=settings.value(keys.FLEET_SERVER_KEYFILE, default.keyfile),
        token_file=settings.value(keys.FLEET_SERVER_TOKEN_FILE, default.token_file),
    )


def refuse_unusable_files(settings: Settings) -> None:
    """Read the files of `[fleet-server]` as the daemon will, before each call."""
    refuse_unusable_token(settings, keys.FLEET_SERVER_TOKEN_FILE)
    refuse_unreadable(settings, keys.FLEET_SERVER_CAFILE, keys.FLEET_SERVER_CERTFILE, keys.FLEET_SERVER_KEYFILE)


def refuse_unusable_strategy(settings: Settings, config: Config) -> None:
    """Refuse the strategy `server` without servers, without a credential, or in a group that no server can have."""
    strategy = settings.of(keys.STRATEGY)
    if strategy is None or config.strategy != SERVER:
        return
    server = config.fleet_server
    if not server.urls:
        raise strategy.refusal(
            'is "server" without fleet-server.urls: name the servers there, as in urls = '
            '["https://locksmith1.example:3333", "https://locksmith2.example:3333"]'
        )
    if server.token_file is None and server.certfile is None:
        raise strategy.refusal(
            'is "server", and no credential says which machine asks: set fleet-server.token-file, or '
            "fleet-server.certfile with fleet-server.keyfile (`locksmithctl enroll` obtains a token)"
        )
    if not GROUP.fullmatch(config.group) or config.group in {".", ".."}:
        shown = settings.of(keys.GROUP) or strategy
        raise shown.refusal(
            f"leaves the group {config.group!r}, and under the strategy server a group has a name of letters, digits, "
            "dots and hyphens alone: set group"
        )


def cautions_of_fleet_server(settings: Settings, config: Config) -> tuple[str, ...]:
    """Warn of servers that are named and not asked, and of a token that is sent without TLS over a network."""
    given, found = settings.of(keys.FLEET_SERVER_URLS), []
    if given and given.value and config.strategy != SERVER:
        found.append(
            f"{given.origin} sets {given.key.name}, and the strategy is {config.strategy}, which asks no "
            'locksmith-server: write strategy = "server", or leave [fleet-server] out'
        )
    server = config.fleet_server
    open_urls = [url for url in server.urls if url.startswith("http://") and not is_loopback(url)]
    if server.token_file and open_urls:
        found.append(
            f"the token of fleet-server.token-file is sent to {open_urls[0]} without TLS, so others on the way can "
            "read it: use https://"
        )
    return tuple(found)

"""Warnings of a configuration that can be used, and that may reboot more machines at once than its operator wants."""

from locksmith.config import keys
from locksmith.config.model import Config
from locksmith.config.sources import Settings
from locksmith.store.settings import is_loopback


def caution_of_own_etcd(config: Config) -> tuple[str, ...]:
    """Warn that each machine may have its own etcd, and so its own lock."""
    store = config.store
    if config.strategy != "etcd-lock" or not all(is_loopback(url) for url in store.endpoints):
        return ()
    caution = (
        f"all etcd.endpoints are on this machine itself ({', '.join(store.endpoints)}): if each machine has its own "
        "etcd, each has its own lock, and all may reboot at once; name the members of the one cluster, as in endpoints "
        '= ["http://etcd1:2379", "http://etcd2:2379"], unless a member or a proxy of it listens here'
    )
    return (caution,)


def caution_of_no_strategy(settings: Settings) -> tuple[str, ...]:
    """Warn that a lock was described and is not used, as its strategy was forgotten."""
    found = (settings.of(keys.GROUP), settings.of(keys.ENDPOINTS))
    given = [setting for setting in found if setting and setting.value]
    if settings.of(keys.STRATEGY) or not given:
        return ()
    caution = (
        f"{given[0].origin} sets {given[0].key.name}, and strategy is not set: it is reboot, which takes no slot; "
        'write strategy = "etcd-lock", or strategy = "reboot" to do without a lock'
    )
    return (caution,)

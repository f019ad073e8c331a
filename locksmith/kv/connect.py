"""Open the store that the settings name."""

from locksmith.errors import UsageError
from locksmith.kv.etcd3 import Etcd3Store
from locksmith.kv.settings import V2, V3, StoreSettings
from locksmith.kv.store import Store


def open_store(settings: StoreSettings) -> Store:
    """Give the store for the API of the settings, which is said and never guessed; the first call connects."""
    if settings.api == V3:
        return Etcd3Store(settings)
    if settings.api == V2:
        from locksmith.kv.etcd2 import Etcd2Store  # noqa: PLC0415  # python-etcd is loaded only where v2 is spoken

        return Etcd2Store(settings)
    raise UsageError(f"there is no etcd API {settings.api}: say 3, or 2 for the original's")

"""Open the store that the settings name."""

from locksmith.errors import UsageError
from locksmith.kv.etcd3 import Etcd3Store
from locksmith.kv.observed import ObservedStore
from locksmith.kv.remembering import Memory, RememberingStore
from locksmith.kv.settings import V2, V3, StoreSettings
from locksmith.kv.store import NoObserver, Observer, Store
from locksmith.meter import Meter


def open_store(
    settings: StoreSettings,
    meter: Meter | None = None,
    memory: Memory | None = None,
    key: str = "",
    observer: Observer = NoObserver(),  # noqa: B008 - it keeps nothing
) -> Store:
    """Give the store for the API of the settings, which is said and never guessed; the first call connects.

    With a meter, each of its calls is counted. With a memory, each of its answers is compared with the earlier ones,
    and so is what they say of the lock's `key`. Without one the `observer` hears them.
    """
    store = _open(settings, meter or Meter(), memory or observer)
    if meter is not None:
        store = ObservedStore(store, meter)
    return RememberingStore(store, memory, key) if memory is not None else store


def _open(settings: StoreSettings, meter: Meter, observer: Observer) -> Store:
    if settings.api == V3:
        return Etcd3Store(settings, meter, observer)
    if settings.api == V2:
        from locksmith.kv.etcd2 import Etcd2Store  # noqa: PLC0415  # python-etcd is loaded only where v2 is spoken

        return Etcd2Store(settings, meter, observer)
    raise UsageError(f"there is no etcd API {settings.api}: say 3, or 2 for the original's")

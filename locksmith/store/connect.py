"""Open the store that the settings name."""

from locksmith.errors import UsageError
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import NoObserver, Observer, Store
from locksmith.store.remembering import Memory, RememberingStore
from locksmith.store.settings import V2, V3, StoreSettings


def open_store(
    settings: StoreSettings,
    meter: Meter | None = None,
    memory: Memory | None = None,
    key: str = "",
    observer: Observer = NoObserver(),  # noqa: B008 - it has no state
) -> Store:
    """Give the store for the API of the settings; the first call connects. The API is never guessed.

    The meter counts each call. The memory compares each answer with earlier answers, also what it says of the lock's
    `key`. Without a memory the `observer` hears the answers.
    """
    store = _open(settings, meter or Meter(), memory or observer)
    if meter is not None:
        store = ObservedStore(store, meter)
    return RememberingStore(store, memory, key) if memory is not None else store


def _open(settings: StoreSettings, meter: Meter, observer: Observer) -> Store:
    if settings.api == V3:
        return Etcd3Store(settings, meter, observer)
    if settings.api == V2:
        from locksmith.store.etcd2 import Etcd2Store  # noqa: PLC0415  # python-etcd is loaded only where v2 is spoken

        return Etcd2Store(settings, meter, observer)
    raise UsageError(f"there is no etcd API {settings.api}: say 3, or 2 for the API of CoreOS locksmith")

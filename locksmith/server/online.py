"""Asks etcd what the server will ask: for `--check-config --online`. Nothing is written, and no notice is sent."""

from dataclasses import replace
from functools import partial

from locksmith.config.model import Config
from locksmith.config.notify_model import Target
from locksmith.config.server import sets_of_store
from locksmith.errors import LocksmithError, StoreUnavailableError
from locksmith.lock.records.keys import semaphore_key
from locksmith.lock.window_sets import WindowStore
from locksmith.server.delivery import service_of
from locksmith.store.connect import open_store
from locksmith.util.contact import LIMIT, Contact, contact
from locksmith.util.threads import in_thread
from locksmith.util.words import instead_of


async def contact_all(config: Config) -> list[Contact]:
    """Ask each endpoint, the store for each set of windows that it must have, and apprise for the targets' URLs."""
    endpoints = [await contact(f"etcd {url}", partial(_endpoint, config, url)) for url in config.store.endpoints]
    known = config.window.known
    wanted = dict.fromkeys(name for group in config.server.groups.values() for name in sets_of_store(group, known))
    windows = [await contact(f"the windows {name}", partial(_windows, config, name)) for name in wanted]
    targets = [
        await contact(f"the target {one.name}", partial(_service, one)) for one in config.notify.targets.values()
    ]
    return [*endpoints, *windows, *targets]


async def _service(target: Target) -> str:
    """Name the service that a target's URL is for."""
    service = await in_thread(partial(service_of, target), limit=LIMIT)
    return f"its URL is one for {service}; nothing was sent"


async def _endpoint(config: Config, url: str) -> str:
    store = open_store(replace(config.store, endpoints=(url,)))
    try:
        await store.get(semaphore_key(next(iter(config.server.groups), "")))
    except StoreUnavailableError as error:
        # The endpoint is named before the problem.
        raise LocksmithError(str(error).removeprefix(f"no etcd endpoint could be used: {url}: ")) from None
    finally:
        await store.close()
    return "answers"


async def _windows(config: Config, name: str) -> str:
    store = open_store(config.store)
    try:
        sets = WindowStore(store)
        if (found := await sets.read(name)) is None:
            names = [*config.window.known, *await sets.read_all()]
            raise LocksmithError(
                f"there is no set {name} in [window-sets] or in etcd, so its group's clients would never reboot; "
                f"there are: {instead_of(name, names)}"
            )
    finally:
        await store.close()
    return str(found)

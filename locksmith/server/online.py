"""Asks etcd what the server will ask: for `--check-config --online`. Nothing is written."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace

from locksmith.config.model import Config
from locksmith.config.server import sets_of_store
from locksmith.errors import LocksmithError, StoreUnavailableError
from locksmith.lock.records.keys import semaphore_key
from locksmith.lock.window_sets import WindowStore
from locksmith.store.connect import open_store
from locksmith.util.words import instead_of

LIMIT = 30.0
"""Seconds for each question."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What came of a question: `says` in a few words, and if it failed, the problem."""

    name: str
    says: str = ""
    problem: str = ""


async def contact(config: Config) -> list[Contact]:
    """Ask each endpoint, and the store for each set of windows that is not in the configuration."""
    endpoints = [await _asked(f"etcd {url}", _endpoint(config, url)) for url in config.store.endpoints]
    known = config.window.known
    wanted = dict.fromkeys(name for group in config.server.groups.values() for name in sets_of_store(group, known))
    if not wanted:
        return endpoints
    return [*endpoints, *[await _asked(f"the windows {name}", _windows(config, name)) for name in wanted]]


async def _asked(name: str, question: Awaitable[str]) -> Contact:
    try:
        async with asyncio.timeout(LIMIT):
            return Contact(name, says=await question)
    except TimeoutError:
        return Contact(name, problem=f"no answer within {LIMIT:g} s")
    except LocksmithError as error:
        return Contact(name, problem=str(error))


async def _endpoint(config: Config, url: str) -> str:
    store = open_store(replace(config.store, endpoints=(url,)))
    try:
        await store.get(semaphore_key(next(iter(config.server.groups), "")))
    except StoreUnavailableError as error:
        # The problem stands after the endpoint's name.
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

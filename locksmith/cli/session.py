"""What every command of `locksmithctl` starts from: the paths, the flags before the command, the group's lock."""

import asyncio
import logging
import os
import pwd
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from locksmith.config import Config, load_tool
from locksmith.host.paths import Paths
from locksmith.kv.connect import open_store
from locksmith.kv.keyspaces import refuse_if_v2_in_use
from locksmith.kv.settings import StoreSettings
from locksmith.locks import V3
from locksmith.rebootlock import RebootLock

T = TypeVar("T")

ROOT_VARIABLE = "LOCKSMITH_ROOT"
"""The folder below which all paths lie, for tests and the demo."""


def find_paths() -> Paths:
    """Give this machine's paths, or those below `LOCKSMITH_ROOT`."""
    return Paths(Path(os.environ.get(ROOT_VARIABLE) or "/"))


def invoking_user() -> str:
    """Name who types: the user that `sudo` was called by, else the process's own."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


@dataclass
class Session:
    """One call of the tool. The configuration is read when a command first needs it."""

    paths: Paths
    flags: Mapping[str, object]

    @cached_property
    def config(self) -> Config:
        """The configuration; with `debug`, the log goes to standard error from here on."""
        config = load_tool(self.paths, os.environ, self.flags)
        if config.debug:
            logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(name)s: %(message)s")
        return config

    @property
    def machine_id(self) -> str:
        """This machine's id; `HostError` says what is wrong with its file."""
        from locksmith.host.boot import read_machine_id  # noqa: PLC0415  # D-Bus is loaded just where it is needed

        return read_machine_id(self.paths)

    def with_lock(self, work: Callable[[RebootLock], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the group's lock, on v3 after a look at the other keyspace."""
        return asyncio.run(self._with_lock(work, self.config.store))

    def with_v2_lock(self, work: Callable[[RebootLock], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the group's lock on etcd's v2 API, whatever the configuration says."""
        return asyncio.run(self._with_lock(work, replace(self.config.store, api=2)))

    async def _with_lock(self, work: Callable[[RebootLock], Coroutine[Any, Any, T]], settings: StoreSettings) -> T:
        group = self.config.group
        if settings.api == V3:
            await refuse_if_v2_in_use(settings, group)
        lock = RebootLock(open_store(settings), group)
        try:
            return await work(lock)
        finally:
            await lock.close()


pass_session = click.make_pass_decorator(Session)

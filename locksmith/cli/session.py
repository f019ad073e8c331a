"""What every command of `locksmithctl` starts from: the paths, the flags before the command, the group's lock.

The configuration and the store's clients are loaded when a command first needs them: help and completion need none.
"""

import contextlib
import os
import pwd
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from locksmith.cli.go_flags import GoOption
from locksmith.cli.local_daemon import LocalDaemon, ask_daemon, was_started
from locksmith.cli.pasted import typed_flags
from locksmith.cli.without_store import names_store, saying_so
from locksmith.errors import HostError, StoreError, UsageError
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import Claim
from locksmith.util import boottime

if TYPE_CHECKING:
    from locksmith.config.model import Config
    from locksmith.fleet.acts import Author
    from locksmith.host.watermark import SeenRevision
    from locksmith.lock.admin import LockAdmin
    from locksmith.lock.queued_lock import QueuedLock
    from locksmith.lock.records.event import Event
    from locksmith.store.protocol import Observer, Store
    from locksmith.store.settings import StoreSettings

T = TypeVar("T")


def invoking_user() -> str:
    """Name who types: the user that `sudo` was called by, else the process's own."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def new_claim(holder: str, kind: str, reason: str) -> Claim:
    """Make a claim of the person who types, here and now."""
    import secrets

    return Claim(
        holder=holder,
        kind=kind,
        nonce=secrets.token_hex(16),
        since=datetime.now(UTC),
        who=invoking_user(),
        hostname=read_hostname(Paths.from_environment()),
        reason=reason,
    )


def _host() -> str:
    return read_hostname(Paths.from_environment())


def author() -> "Author":
    """Name the person who types, here."""
    from locksmith.fleet.acts import Author

    return Author(invoking_user(), _host())


def act(name: str, reason: str, detail: str = "") -> "Event":
    """Make the history's record of what the person who types has done, here and now."""
    return author().act(name, reason, detail)


def act_on(claim: Claim, name: str, reason: str, detail: str = "") -> "Event":
    """Make the history's record of what was done to a claim."""
    return author().act_on(claim, name, reason, detail)


reason_option = click.option("--reason", cls=GoOption, default="", help="Why, for the history.")


@dataclass
class Session:
    """One call of the tool. The configuration is read when a command first needs it."""

    paths: Paths
    flags: Mapping[str, object]

    @cached_property
    def config(self) -> "Config":
        """The configuration, with the lock of this machine's daemon if one runs and no flag says otherwise.

        With `debug`, the log goes to standard error from here on. `load` it before an event loop runs.
        """
        from locksmith.cli.output import note

        doubts = (self.daemon.problem,) if self.daemon.problem else self._loaded.conflicts
        for warning in (*doubts, *self._loaded.cautions):
            note(f"Warning: {warning}")
        return self._loaded

    def load(self) -> None:
        """Load the configuration now, before an event loop runs: this machine's daemon may have to be asked."""
        _ = self.config

    def own_config(self) -> "Config":
        """Give the configuration for an act on this machine itself, whose lock is that of its daemon and no other.

        `UsageError`: a flag names another lock, or this machine is not configured. `HostError`: the daemon's lock is
        not known.
        """
        if self.daemon.problem:
            raise HostError(f"{self.daemon.problem}; nothing was done")
        if conflicts := self._loaded.conflicts:
            raise UsageError(f"{conflicts[0]}: leave that out, or change locksmithd's configuration; nothing was done")
        if (sentence := self._loaded.not_configured) and not names_store(self.flags):
            raise UsageError(f"{sentence}; nothing was done")
        return self.config

    def group_config(self) -> "Config":
        """Give the configuration for an order to a group. `HostError`: none was named, and the daemon's is unknown."""
        if self.daemon.problem and not self.names_group:
            raise HostError(f"{self.daemon.problem}; nothing was done: name a group with --group")
        return self.config

    def hint_flags(self) -> dict[str, str]:
        """Give the flags of the commands that messages suggest: those that were typed, and the group."""
        group = self.flags.get("group")
        if group is None and "_loaded" in self.__dict__:
            group = self._loaded.group or None
        return {**typed_flags(self.flags), **({"group": str(group)} if group is not None else {})}

    @property
    def in_group(self) -> str:
        """Name the group for the end of a sentence; empty for the default group."""
        return f" in group {self.config.group}" if self.config.group else ""

    def name_group(self) -> None:
        """Name a group on standard error, after output whose format is that of CoreOS locksmith."""
        from locksmith.cli.output import note

        if self.config.group:
            note(f"(group {self.config.group})")

    @property
    def names_group(self) -> bool:
        """Whether a flag or a variable names the group."""
        return self.flags.get("group") is not None or bool(os.environ.get("LOCKSMITHCTL_GROUP"))

    @cached_property
    def daemon(self) -> LocalDaemon:
        """What this machine's daemon shows of its configuration, if one runs."""
        return boottime.run(ask_daemon(self.paths)) if was_started(self.paths) else LocalDaemon()

    @cached_property
    def _loaded(self) -> "Config":
        from locksmith.config.load import load_tool

        config = load_tool(self.paths, os.environ, self.flags, self.daemon.settings)
        if config.debug:
            from locksmith.cli.logs import set_up

            set_up(debug=True, program="locksmithctl")
        return config

    @property
    def machine_id(self) -> str:
        """This machine's id; `HostError` says what is wrong with its file."""
        from locksmith.host.boot import read_machine_id

        return read_machine_id(self.paths)

    def with_admin(self, work: Callable[["LockAdmin"], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the group's lock as operators use it, on v3 after a check of the other keyspace."""
        return boottime.run(self.use_admin(work, self.config.store))

    def with_v2_admin(self, work: Callable[["LockAdmin"], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the group's lock on etcd's v2 API, even if the configuration names v3."""
        return boottime.run(self.use_admin(work, replace(self.config.store, api=2)))

    async def use_admin(self, work: Callable[["LockAdmin"], Coroutine[Any, Any, T]], settings: "StoreSettings") -> T:
        """Do what `with_admin` does, in an event loop that runs already."""
        from locksmith.lock.admin import LockAdmin
        from locksmith.lock.guarded import Guarded

        return await self.use_store(lambda store: work(LockAdmin(Guarded(store, self.config.group))), settings)

    def with_store(self, work: Callable[["Store"], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the store, on v3 after a check of the other keyspace."""
        return boottime.run(self.use_store(work, self.config.store))

    def with_new_cluster(self, work: Callable[["Store", Callable[[], str]], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the store of the cluster that answers, and a way to name it: its answers count here."""
        from locksmith.lock.successor import Whereabouts

        here = Whereabouts()

        async def use() -> T:
            return await self.use_store(
                lambda store: work(store, lambda: here.position.cluster), self.config.store, observer=here
            )

        return boottime.run(use())

    async def use_store(
        self,
        work: Callable[["Store"], Coroutine[Any, Any, T]],
        settings: "StoreSettings",
        observer: "Observer | None" = None,
    ) -> T:
        """Do what `with_store` does, in an event loop that runs already. An `observer` hears it, and knows nothing."""
        from locksmith.lock.keyspaces import refuse_if_v2_in_use
        from locksmith.lock.records import keys
        from locksmith.store.connect import open_store
        from locksmith.store.protocol import NoObserver
        from locksmith.store.settings import V3

        with saying_so(self.config, self.paths, self.flags):
            mark = self._seen(settings) if observer is None else None
            if settings.api == V3:
                await refuse_if_v2_in_use(settings, self.config.group, mark.clusters.own if mark else "")
            key = keys.semaphore_key(self.config.group)
            store = open_store(settings, memory=mark, key=key, observer=observer or NoObserver())
            try:
                done = await work(store)
                if mark is not None:
                    await self._warn(store, mark)
                return done
            finally:
                await store.close()

    def _seen(self, settings: "StoreSettings") -> "SeenRevision | None":
        """Give what this machine's daemon has seen of the store; the tool writes nothing there.

        Endpoints of the command line or the environment alone may be another cluster's on purpose.
        """
        from locksmith.config.keys import ENDPOINTS
        from locksmith.config.shown import ORIGIN
        from locksmith.host.watermark import SeenRevision

        seen = SeenRevision(self.paths, settings.api, settings.endpoints, keeps=False)
        origin = self.config.origins.get(ENDPOINTS.name, "/")
        of_machine = origin == ORIGIN or Path(origin).is_absolute()
        return seen if seen.is_known and (of_machine or seen.shares(settings.endpoints)) else None

    async def _warn(self, store: "Store", mark: "SeenRevision") -> None:
        """Warn where the store went back in time; what was asked for is done, and the answer is on its way."""
        from locksmith.cli.output import note
        from locksmith.daemon.store_check import check

        with contextlib.suppress(StoreError):
            if verdict := await check(store, self.config.group, mark):
                note(f"Warning: {verdict}")

    async def use_queued_lock(self, work: Callable[["QueuedLock"], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the group's lock and its queue, in an event loop that runs already."""
        from locksmith.lock.connect import open_queued_lock

        lock = open_queued_lock(self.config.store, self.config.group, mark=self._seen(self.config.store))
        try:
            return await work(lock)
        finally:
            await lock.close()


pass_session = click.make_pass_decorator(Session)

"""Hooks for clients without our daemon: the server runs them, one at a time for each client, on one server alone.

While they run, a key with a lease exists in etcd: another server sees it, and runs none. If the server is killed, the
lease ends, and the next call of the client has them run again from the first: hooks may be run any number of times.
A key without a lease, as a copied keyspace has it, counts for as long as a lease lasts: then its hooks have ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from locksmith.errors import ConflictError, LocksmithError, StoreError
from locksmith.lock.first_of import first_of
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.unchanged import Unchanged
from locksmith.store.protocol import Entry, Store, remove
from locksmith.util import jsonread
from locksmith.util.records import SCHEMA, dump, moment
from locksmith.util.text import one_line

log = logging.getLogger(__name__)

PRE_REBOOT, STEADY_STATE = "fleetlock-pre-reboot", "fleetlock-steady-state"
"""The folders of the hooks, without `.d`: drain, and what undoes it."""
LEASE = 60.0
"""Seconds after which the key of a server that was killed ends."""
KEEP_EVERY = 15.0
"""Seconds between two renewals of it."""
STOP = 10.0
"""Seconds before the key of a server that cannot renew it ends: by then its hooks are stopped."""
WAIT = 15.0
"""Seconds for which a call waits for hooks to end; then its client is told to call again."""


MOST_REMEMBERED = 1000
"""Failures that are remembered until the next call of their client."""


class HookPrograms(Protocol):
    """Programs of a folder, in their order (host/programs.py)."""

    def of(self, stage: str) -> list[Path]:
        """Name the programs of a folder. `HostError`: it cannot be listed."""
        ...

    async def run(self, stage: str, name: str, environ: Mapping[str, str], *, every: bool = False) -> list[str]:
        """Run them, and give their failures, as sentences."""
        ...

    async def stop(self, stage: str, name: str) -> None:
        """End those that run."""
        ...

    def forget(self, stage: str, name: str) -> None:
        """Remove what is left of a run."""
        ...

    async def close(self) -> None:
        """Wait for the end of those that were stopped."""
        ...


@dataclass(frozen=True, slots=True)
class _Run:
    """Hooks that run here."""

    stage: str
    since: datetime
    task: "asyncio.Task[str]"


class ClientHooks:
    """The hooks of all clients. `server` names this one to the others."""

    def __init__(self, store: Store, programs: HookPrograms, server: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._programs = programs
        self._server = server
        self._clock = clock
        self._runs: dict[tuple[str, str], _Run] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._unchanged = Unchanged()

    def wanted(self, stage: str) -> bool:
        """Whether there is a hook. `HostError`: that cannot be told."""
        return bool(self._programs.of(stage))

    async def run(self, group: str, claim: Claim, stage: str) -> str:
        """Run the hooks of a stage to their end, and say what failed; empty: they ended well."""
        name = claim.nonce[:8]
        try:
            failed = await self._programs.run(stage, name, _environment(group, claim))
        except asyncio.CancelledError:
            with suppress(LocksmithError):
                await self._programs.stop(stage, name)
            raise
        self._programs.forget(stage, name)
        return "; ".join(failed)

    async def alone(self, group: str, client: str, stage: str, work: Callable[[], Awaitable[str]]) -> str:
        """Do what has to do with a client's hooks, here and nowhere else at the time; wait for its end for a while.

        Gives what is in the way, as a sentence; empty: the work is done, and all went well. It goes on after this call.
        """
        run = self._runs.get((group, client))
        if run is None:
            task = asyncio.ensure_future(self._guarded(group, client, work))
            run = self._runs[group, client] = _Run(stage, self._clock(), task)
            task.add_done_callback(lambda task: self._ended((group, client), task))
        elif run.stage != stage:
            return self._words(run)
        done, _ = await asyncio.wait([run.task], timeout=WAIT)
        if done:
            self._failed.pop((group, client), None)
            return run.task.result()
        failed = self._failed.pop((group, client), "")
        return self._words(run) + (f" (the last time they failed: {failed})" if failed else "")

    async def close(self) -> None:
        """End what runs here. The keys end by themselves, so that no other server begins before the programs end."""
        tasks = [run.task for run in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._programs.close()

    def _ended(self, client: tuple[str, str], task: "asyncio.Task[str]") -> None:
        """Keep why it failed for the next call, if that one is made here."""
        del self._runs[client]
        if not task.cancelled() and (failed := task.result()):
            self._failed[client] = failed
            if len(self._failed) > MOST_REMEMBERED:
                del self._failed[next(iter(self._failed))]

    def _words(self, run: _Run) -> str:
        return f"the hooks of {run.stage}.d run on {self._server} since {moment(run.since)}: call again"

    async def _guarded(self, group: str, client: str, work: Callable[[], Awaitable[str]]) -> str:
        try:
            return await self._with_key(group, client, work)
        except ConflictError:
            return f"the lock changed while the hooks of {client} ran: call again"
        except LocksmithError as error:
            return str(error)
        except OSError as error:
            return f"the hooks of {self._server} cannot be run: {error}"
        except Exception:
            log.exception("a defect of locksmith-server: the hooks of %s in group %r", client, group)
            return "locksmith-server has a defect: its log says more"

    async def _with_key(self, group: str, client: str, work: Callable[[], Awaitable[str]]) -> str:
        key = keys.hooks_key(group, client)
        about = {"schema": SCHEMA, "server": self._server, "since": moment(self._clock())}
        since = self._now()
        try:
            entry = await self._store.create(key, dump(about, {}), ttl=LEASE)
        except ConflictError:
            other = (await self._store.get(key)).entry
            if other is None or not self._is_left(other):
                return f"the hooks of {client} run on {_server_of(other)}: call again"
            log.info("removing %s: it belongs to no server that runs hooks", key)
            await remove(self._store, other)
            return await self._with_key(group, client, work)
        said: list[str] = []

        async def act() -> None:
            said.append(await work())

        try:
            await first_of(act(), self._keep(entry, since))
        except Exception:
            await self._end(entry)
            raise
        await self._end(entry)
        return said[0] if said else "another server may run the hooks by now: call again"

    async def _end(self, entry: Entry) -> None:
        with suppress(StoreError):  # it ends by itself
            await self._store.revoke(entry)

    async def _keep(self, entry: Entry, since: float) -> None:
        """Keep the key, which was asked for at `since`; the end of this is the loss of it: another may begin soon."""
        with suppress(TimeoutError, ConflictError):
            async with asyncio.timeout_at(since + LEASE - STOP) as limit:
                while True:
                    await asyncio.sleep(KEEP_EVERY)
                    sent = self._now()
                    try:
                        await self._store.renew(entry, LEASE)
                    except ConflictError:
                        raise
                    except StoreError as error:
                        log.info("the key of hooks that run is not renewed: %s", error)
                    else:
                        limit.reschedule(sent + LEASE - STOP)
        log.warning("%s is lost: the hooks that run here are stopped", entry.key)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _is_left(self, other: Entry) -> bool:
        """Tell whether a key has lost its lease, as in a copied keyspace, and its server has ended its hooks since."""
        return self._unchanged.stood(other, self._now()) > LEASE and not other.lease


def _server_of(entry: Entry | None) -> str:
    """Name the server that runs hooks, by their key."""
    try:
        return one_line(jsonread.read(jsonread.load_object(entry.value if entry else b"{}"), "server", str), 100)
    except jsonread.BadJsonError:
        return "another server"


def _environment(group: str, claim: Claim) -> dict[str, str]:
    """Give the environment of the programs (docs/fleetlock.md)."""
    told = {
        "LOCKSMITH_GROUP": group,
        "LOCKSMITH_CLIENT_ID": claim.holder,
        "LOCKSMITH_HOSTNAME": claim.hostname,
        "LOCKSMITH_REASON": claim.reason,
        "LOCKSMITH_WHO": claim.who,
    }
    # No variable can have a NUL in it, and a shell script may print them.
    return {name: one_line(value) for name, value in told.items()}

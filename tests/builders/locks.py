"""One lock on one server in memory, with a script for what becomes of its writes."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import strategies as st

from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.harness.fault_script import ANSWER_LOST, DROPPED, LATE, NEVER_SENT, FaultScript, StepwiseStore

SINCE = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
KEY = keys.semaphore_key("")


def claim(holder: str, nonce: str = "1", kind: str = REBOOT) -> Claim:
    return Claim(
        holder, kind, f"{holder}-{nonce}", SINCE, who="alice", hostname=holder, reason="disk swap", taken=SINCE
    )


both_manners = pytest.mark.parametrize("stepwise", [False, True], ids=["transactions", "stepwise"])


def _stored(server: MemoryServer) -> Semaphore:
    entry = server.read(KEY).entry
    return semaphore.decode(entry.value, KEY) if entry else Semaphore()


class Bench:
    """One lock on one server, with a script for its writes."""

    def __init__(self, *fates: str, stepwise: bool = False, limit: float = 5.0) -> None:
        self.server = MemoryServer()
        self.script = FaultScript(list(fates))
        self.store = (StepwiseStore if stepwise else MemoryStore)(self.server, self.script)
        self.lock = RebootLock(self.store, "", rng=Random(1), limit=limit, clock=lambda: SINCE)
        self.calm = RebootLock(MemoryStore(self.server), "", clock=lambda: SINCE)

    @property
    def admin(self) -> LockAdmin:
        return LockAdmin(self.lock.guarded)

    def semaphore(self) -> Semaphore:
        return _stored(self.server)

    def record(self, holder: str) -> Claim | None:
        key = keys.holder_key("", holder)
        entry = self.server.read(key).entry
        return claim_record.decode(entry.value, key, holder) if entry else None

    def put(self, value: bytes, key: str = KEY) -> None:
        self.server.put(key, value, self.server.read(key).version)


class Moved:
    """A store on which something happens, once, right before the first swap."""

    def __init__(self, store, act) -> None:
        self._store = store
        self._act = act

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def swap(self, *args, **more):
        act, self._act = self._act, None
        if act is not None:
            await act()
        return await self._store.swap(*args, **more)


fates = st.sampled_from(["arrives", "arrives", "arrives", ANSWER_LOST, DROPPED, LATE, NEVER_SENT])

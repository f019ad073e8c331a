"""What each operation on the lock answers, and what it leaves, without faults: one row for each case.

Races, lost answers and faults are stories: `test_reboot_lock.py` has them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from locksmith.lock.errors import LostClaimError, OtherClaimError, SlotsBusyError
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.semaphore import NotHeldError, Semaphore
from tests.builders.locks import Bench, claim

N1, NEXT, MANUALLY = claim("n1"), claim("n1", nonce="2"), claim("n1", kind=MANUAL)


@dataclass(frozen=True)
class Stands:
    """What stands in the store: the semaphore, and the record of each holder."""

    semaphore: Semaphore
    records: dict[str, Claim] = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """The operation raises it."""

    kind: type[Exception]
    match: str | None = None


FREE = Stands(Semaphore(1))
HELD = Stands(Semaphore(1, ("n1",)), {"n1": N1})
COMMITTED = Stands(Semaphore(1, ("n1",)), {"n1": N1.committed()})
BY_HAND = Stands(Semaphore(2, ("n1",)), {"n1": MANUALLY})
LEGACY = Stands(Semaphore(1, ("n1",)))
LEFT_BEHIND = Stands(Semaphore(1), {"n1": claim("n1", nonce="old")})

DONE, NOT_HELD = "done", "it held no slot"
"""The answer of an operation that gives nothing, and of a release that released nothing."""
UNWRITTEN = None
"""All stands as before, and nothing was written."""

Act = Callable[[Bench], Awaitable[Any]]
TABLE: dict[str, tuple[Stands, Act, object, Stands | None]] = {
    # name: before, operation, its answer, after
    "take a free slot": (FREE, lambda bench: bench.lock.take(N1), DONE, HELD),
    "take it again": (HELD, lambda bench: bench.lock.take(N1), DONE, UNWRITTEN),
    "take a slot that another machine has": (
        HELD,
        lambda bench: bench.lock.take(claim("n2")),
        Error(SlotsBusyError, "held by n1"),
        UNWRITTEN,
    ),
    "take for an id that is held manually": (
        BY_HAND,
        lambda bench: bench.lock.take(NEXT),
        Error(OtherClaimError, "n1 is held .* by alice since 2026-05-01T02:10:00Z: disk swap"),
        UNWRITTEN,
    ),
    "take for an id without a record": (
        LEGACY,
        lambda bench: bench.lock.take(N1),
        Error(OtherClaimError, r"without a record.*locksmithctl unlock n1.*adopt = true"),
        UNWRITTEN,
    ),
    "take for a record whose id is not in the semaphore": (LEFT_BEHIND, lambda bench: bench.lock.take(N1), DONE, HELD),
    "commit": (HELD, lambda bench: bench.lock.commit(N1), DONE, COMMITTED),
    "commit without the slot": (FREE, lambda bench: bench.lock.commit(N1), Error(LostClaimError), UNWRITTEN),
    "release": (HELD, lambda bench: bench.lock.release(N1), DONE, FREE),
    "release it again": (FREE, lambda bench: bench.lock.release(N1), NOT_HELD, UNWRITTEN),
    "release what is held manually": (BY_HAND, lambda bench: bench.lock.release(NEXT), NOT_HELD, UNWRITTEN),
    "release an id without a record": (
        LEGACY,
        lambda bench: bench.lock.release(N1, fence_pending=True),
        NOT_HELD,
        LEGACY,
    ),
    "adopt an id without a record": (LEGACY, lambda bench: bench.lock.release_legacy("n1"), DONE, FREE),
    "adopt an id with a record": (BY_HAND, lambda bench: bench.lock.release_legacy("n1"), NOT_HELD, UNWRITTEN),
    "unlock a claim": (HELD, lambda bench: bench.admin.unlock("n1"), N1, FREE),
    "unlock a claim past its commit": (COMMITTED, lambda bench: bench.admin.unlock("n1"), N1.committed(), FREE),
    "unlock an id without a record": (LEGACY, lambda bench: bench.admin.unlock("n1"), None, FREE),
    "unlock an id that holds nothing": (
        FREE,
        lambda bench: bench.admin.unlock("n1"),
        Error(NotHeldError, "n1 holds no slot"),
        UNWRITTEN,
    ),
    "set another max": (HELD, lambda bench: bench.admin.set_max(4), 1, Stands(Semaphore(4, ("n1",)), {"n1": N1})),
    "set the same max": (HELD, lambda bench: bench.admin.set_max(1), 1, UNWRITTEN),
}


@pytest.mark.parametrize(("before", "act", "answer", "after"), TABLE.values(), ids=TABLE.keys())
async def test_take_commit_release_and_unlock_case_by_case(before, act, answer, after):
    bench = Bench()
    bench.put(semaphore.encode(before.semaphore))
    for holder, record in before.records.items():
        bench.put(claim_record.encode(record), keys.holder_key("", holder))
    await check(bench, act, answer)
    expected = before if after is UNWRITTEN else after
    assert bench.semaphore() == expected.semaphore
    assert bench.record("n1") == expected.records.get("n1")
    assert bench.record("n2") is None
    assert after is not UNWRITTEN or bench.script.writes == 0


async def check(bench: Bench, act: Act, answer: object) -> None:
    if isinstance(answer, Error):
        with pytest.raises(answer.kind, match=answer.match) as caught:
            await act(bench)
        if isinstance(caught.value, SlotsBusyError):
            assert caught.value.revision == bench.server.revision, "so a wait misses no change after it"
        return
    found = await act(bench)
    if answer == NOT_HELD:
        assert not found
    elif answer != DONE:
        assert found == answer


async def test_take_and_release_are_few_writes_and_a_repetition_is_none():
    bench = Bench()
    await bench.lock.take(N1)
    assert bench.script.writes == 1, "semaphore and record at once"
    await bench.lock.take(N1)
    assert bench.script.writes == 1
    assert await bench.lock.release(N1)
    writes = bench.script.writes
    assert not await bench.lock.release(N1)
    assert bench.script.writes == writes

"""A machine that stays out of the line: what it says, until when, and what ends it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import StoreFullError, StoreUnavailableError
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.backoff import Absence
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.order import FREEZE, TAKE_FAILS
from locksmith.lock.slot_wait import RETURN_DELAY
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import claim
from tests.sim.virtual_time import run

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
BEGAN = 10.0


class Away:
    """A machine that is away from its line, for `seconds` from now on."""

    def __init__(self, loop, seconds: float, *, key: str = "") -> None:
        self.loop = loop
        self.server = MemoryServer()
        store = MemoryStore(self.server)
        self.lock = QueuedLock(RebootLock(store, "", clock=self.clock), Queue(store, ""))
        self.ends = loop.now + seconds
        self.lock._absence = Absence(TAKE_FAILS, "it fails", self.ends, key, self.server.revision)
        self.lock._back_off._absences = 1

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.loop.now - BEGAN + 0.25)

    async def told(self) -> Denied:
        answer = await self.lock.take(claim("n1"))
        assert isinstance(answer, Denied)
        return answer

    async def returns(self) -> float:
        """Give after how many seconds it is worth asking again."""
        began = self.loop.now
        assert await self.lock.changed(100)
        return float(self.loop.now - began)


def play(story):
    async def main(loop):
        await asyncio.sleep(BEGAN)
        await story(loop)

    run(main)


@pytest.mark.parametrize(("seconds", "until"), [(25.0, 26), (0.1, 1)])
def test_it_says_to_the_whole_second_when_it_returns_and_returns_then(seconds, until):
    async def story(loop):
        away = Away(loop, seconds)
        answer = await away.told()
        assert (answer.code, answer.text) == (TAKE_FAILS, "it fails")
        assert answer.until == NOW + timedelta(seconds=until)
        assert await away.returns() == pytest.approx(seconds)

    play(story)


def test_a_change_of_the_reason_for_its_denial_ends_it_a_moment_later():
    async def story(loop):
        away = Away(loop, 25.0, key="the key")
        await away.told()
        returning = asyncio.ensure_future(away.returns())
        await asyncio.sleep(7)
        away.server.put("the key", b"", 0)
        assert await returning == pytest.approx(7 + RETURN_DELAY)
        assert away.lock._back_off._absences == 0
        assert (await away.lock.take(claim("n1"))) is not None
        assert away.lock._absence is None

    play(story)


def test_where_nothing_changes_what_counted_goes_on_to_count():
    async def story(loop):
        away = Away(loop, 25.0, key="the key")
        await away.told()
        assert await away.returns() == pytest.approx(25.0)
        assert away.lock._back_off._absences == 1

    play(story)


@pytest.mark.parametrize(("left", "after"), [(10.0, 10.0), (None, 30.0), (99.0, 30.0)])
def test_an_order_that_ends_soon_is_looked_at_when_it_ends(left, after):
    async def story(loop):
        away = Away(loop, 0.0)
        key = keys.freeze_key("")
        error = NotAdmittedError(FREEZE, "frozen", key, away.server.revision, held=False, left=left)
        away.lock._not_admitted(error)
        assert await away.returns() == pytest.approx(after)

    play(story)


@pytest.mark.parametrize(("step", "until"), [(-2, 26), (2, 26), (3, 29), (-3, 23)])
def test_it_says_the_same_end_again_unless_the_clock_was_stepped(step, until):
    async def story(loop):
        away = Away(loop, 25.0)
        assert (await away.told()).until == NOW + timedelta(seconds=26)
        clock = away.lock.lock.now
        away.lock.lock.now = lambda: clock() + timedelta(seconds=step)  # type: ignore[method-assign]
        assert (await away.told()).until == NOW + timedelta(seconds=until)

    play(story)


def test_an_operators_recheck_ends_an_absence_and_says_so_once():
    async def story(loop):
        away = Away(loop, 1000.0)
        rechecked = replace(claim("n1"), rechecked=NOW)
        assert isinstance(await away.lock.take(claim("n1")), Denied)
        assert isinstance(await away.lock.take(rechecked), Granted)
        assert away.lock._back_off._absences == 0
        away.lock._absence = Absence(TAKE_FAILS, "it fails again", loop.now + 1000, "", 1)
        away.lock._granted = False
        away.lock._follow(rechecked)
        assert away.lock._absence is not None, "the same recheck is no news"
        away.lock._back_off._absences = 3
        away.lock._follow(replace(rechecked, rechecked=NOW + timedelta(seconds=1)))
        assert away.lock._back_off._absences == 0

    play(story)


def test_a_store_that_does_not_answer_is_an_error_also_while_it_is_away():
    class Silent(MemoryStore):
        async def read(self, keys):
            raise StoreUnavailableError(f"no endpoint answers for {keys}")

    async def story(loop):
        away = Away(loop, 25.0)
        away.lock.lock.guarded.store = Silent(away.server)
        with pytest.raises(StoreUnavailableError):
            await away.lock.take(claim("n1"))

    play(story)


def test_a_slot_that_a_late_take_has_won_ends_the_absence():
    async def story(loop):
        away = Away(loop, 25.0)
        await RebootLock(MemoryStore(away.server), "").take(claim("n1"))
        assert isinstance(await away.lock.take(claim("n1")), Granted)
        assert away.lock._absence is None
        assert away.lock._back_off._absences == 0

    play(story)


def test_an_error_that_every_machine_would_get_releases_no_slot_of_one_that_was_away():
    class Full(MemoryStore):
        async def read(self, keys):
            if len(keys) > 2:
                raise StoreFullError("the store has no space")
            return await super().read(keys)

    async def story(loop):
        away = Away(loop, 25.0)
        await RebootLock(MemoryStore(away.server), "").take(claim("n1"))
        away.lock.lock.guarded.store = Full(away.server)
        with pytest.raises(StoreFullError):
            await away.lock.take(claim("n1"))

    play(story)


def test_after_a_take_that_failed_the_queue_is_read_again():
    class Failing(MemoryStore):
        async def swap(self, *_args, **_more):
            raise StoreUnavailableError("no endpoint answers")

    async def story(_loop):
        server = MemoryServer()
        store = Failing(server)
        lock = QueuedLock(RebootLock(store, "", clock=lambda: NOW), Queue(MemoryStore(server), ""))
        with pytest.raises(StoreUnavailableError):
            await lock.take(claim("n1"))
        assert lock._queue._view is None

    play(story)

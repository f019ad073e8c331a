"""The strategy `fleet-lock`: when it asks its server, and what each answer means. In virtual time."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.agent.strategy import StrategyContext, asks_server, has_slots
from locksmith.errors import HostError, LocksmithError, OutcomeUnknownError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.answer import Denied, Granted
from locksmith_strategies.fleet_lock import COMMIT_LIMIT, LATE, LIMIT, FleetLock
from locksmith_strategies.fleet_lock_client import PRE_REBOOT, STEADY_STATE, Reply
from locksmith_strategies.reboot import Reboot
from tests.builders.claims import claim
from tests.sim.virtual_time import run

URL = "https://fl.example"
PERIOD = 300.0
YES, NO = Reply(200), Reply(409, "no_slot", "all slots are held")
UNREACHED, LOST = StoreUnavailableError("the server is not there"), OutcomeUnknownError("the server gave no answer")


class Script:
    """A server in place of the client: `says` is its answer to pre-reboot, `steady` to steady-state."""

    def __init__(self) -> None:
        self.says: Reply | LocksmithError = YES
        self.steady: Reply | LocksmithError = YES
        self.calls: list[tuple[str, str, str, float, float]] = []

    async def call(self, what, group, machine, limit, before=lambda: None):
        before()
        self.calls.append((what, group, machine, limit, asyncio.get_running_loop().time()))
        said = self.says if what == PRE_REBOOT else self.steady
        if isinstance(said, Reply):
            return said
        raise said

    def count(self, what=PRE_REBOOT):
        return sum(one[0] == what for one in self.calls)


def no_lock():
    raise AssertionError("it has no store")


def strategy(**changes):
    settings = FleetLockSettings(url=URL, id="n1")
    context = StrategyContext("web", no_lock, machine_id=lambda: "0" * 32, fleet_lock=settings)
    made, server = FleetLock(replace(context, **changes)), Script()
    vars(made)["_client"] = server
    return made, server


@pytest.mark.slow
def test_it_asks_at_once_and_then_once_in_a_period_whatever_wakes_it():
    async def story(_loop):
        made, server = strategy()
        server.says = NO
        for _ in range(20_000):
            answer = await made.request(claim("n1"))
            assert (answer.code, answer.may_hold, answer.lost) == ("server", True, False)
            await asyncio.sleep(0.5)
        times = [one[4] for one in server.calls]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert times[0] == 0
        assert all(PERIOD <= gap <= PERIOD * 1.1 + 0.5 for gap in gaps)
        assert len(set(gaps)) > 5, "no two machines stay in step"

    run(story)


def test_an_answer_says_when_the_server_is_asked_again():
    async def story(_loop):
        made, server = strategy()
        server.says = NO
        before = datetime.now(UTC)
        answer = await made.request(claim("n1"))
        assert timedelta(seconds=PERIOD) <= answer.until - before <= timedelta(seconds=PERIOD * 1.1 + 2)
        assert answer.text == f"the FleetLock server {URL} says no_slot: all slots are held"
        assert await made.request(claim("n1")) == answer
        assert not await made.changed(30)
        assert await made.changed(400)
        assert asyncio.get_running_loop().time() >= PERIOD

    run(story)


def test_after_a_recheck_it_asks_at_once():
    async def story(_loop):
        made, server = strategy()
        server.says = NO
        await made.request(claim("n1"))
        made.recheck()
        server.says = YES
        assert await made.request(claim("n1")) == Granted()
        assert server.count() == 2

    run(story)


def test_a_new_claim_does_not_ask_sooner():
    async def story(_loop):
        made, server = strategy()
        await made.request(claim("n1"))
        await made.abort(claim("n1"), "the window closed")
        answer = await made.request(replace(claim("n1"), nonce="next"))
        assert (server.count(), server.count(STEADY_STATE)) == (1, 1)
        assert (answer.code, answer.until is not None) == ("server", True)
        assert "at most every 5 min" in answer.text

    run(story)


def test_what_was_granted_is_asked_again_in_a_period_and_at_the_commit():
    async def story(_loop):
        made, server = strategy()
        for _ in range(10):
            assert await made.request(claim("n1")) == Granted()
            await asyncio.sleep(20)
        assert server.count() == 1
        await asyncio.sleep(10)
        answer = await made.commit(claim("n1"))
        assert answer.sent == 210
        assert [one[3] for one in server.calls] == [LIMIT, COMMIT_LIMIT]
        assert {one[1:3] for one in server.calls} == {("web", "n1")}

    run(story)


@pytest.mark.parametrize("again", ["commit", "request"])
@pytest.mark.parametrize(
    ("reply", "lost", "returned"),
    [
        (Reply(409, "no_slot", "-"), True, False),
        (Reply(500, "failed_lock", "-"), True, False),
        (Reply(401, "", ""), True, False),
        (Reply(302, location="https://elsewhere"), True, False),
        (Reply(404), True, False),
        (Reply(409, "frozen", "by alice"), False, True),
        (Reply(409, "held", "-"), False, True),
        (Reply(409, "halted", "-"), False, True),
        (Reply(409, "window", "-"), False, True),
    ],
)
def test_a_refusal_after_a_grant_is_no_permission(reply, lost, returned, again):
    async def story(_loop):
        made, server = strategy()
        await made.request(claim("n1"))
        server.says = reply
        if again == "request":
            made.recheck()
            answer = await made.request(claim("n1"))
        else:
            answer = await made.commit(claim("n1"))
        assert (answer.lost, answer.must_release, answer.may_hold) == (lost, returned, True)

    run(story)


@pytest.mark.parametrize("said", [UNREACHED, LOST, Reply(429), Reply(502), Reply(503, "store", "no etcd"), Reply(504)])
def test_a_server_that_is_away_at_the_commit_is_asked_again_soon(said):
    async def story(_loop):
        made, server = strategy()
        await made.request(claim("n1"))
        server.says = said
        with pytest.raises((StoreUnavailableError, OutcomeUnknownError)):
            await made.commit(claim("n1"))
        assert await made.request(claim("n1")) == Granted(), "hooks and checks have not run for nothing"
        server.says = YES
        assert isinstance(await made.commit(claim("n1")), Granted)

    run(story)


@pytest.mark.parametrize("said", [UNREACHED, LOST])
def test_a_server_that_is_away_before_a_grant_is_an_error_with_a_time(said):
    async def story(_loop):
        made, server = strategy()
        server.says = said
        answer = await made.request(claim("n1"))
        assert (answer.code, answer.may_hold, answer.lost) == ("store", True, False)
        assert answer.text.startswith(f"{said}; it is asked again at ")
        await made.request(claim("n1"))
        assert server.count() == 1

    run(story)


def test_a_claim_that_had_its_slot_before_a_restart_of_the_daemon_knows_of_its_loss():
    async def story(_loop):
        made, server = strategy()
        server.says = NO
        answer = await made.request(replace(claim("n1"), taken=datetime.now(UTC)))
        assert answer.lost

    run(story)


def test_an_abort_calls_steady_state_until_it_succeeds():
    async def story(_loop):
        made, server = strategy()
        await made.request(claim("n1"))
        server.steady = Reply(503, "store", "no etcd")
        with pytest.raises(StoreRefusedError, match=r"the slot is not released: .* says store: no etcd"):
            await made.abort(claim("n1"), "")
        server.steady = UNREACHED
        with pytest.raises(StoreUnavailableError):
            await made.abort(claim("n1"), "")
        server.steady = YES
        await made.abort(claim("n1"), "")
        assert server.count(STEADY_STATE) == 3

    run(story)


@pytest.mark.parametrize("said", [LOST, Reply(504)])
def test_after_a_lost_request_an_abort_calls_steady_state_twice(said):
    async def story(_loop):
        made, server = strategy()
        server.says = said
        await made.request(claim("n1"))
        for _ in range(11):
            with pytest.raises(OutcomeUnknownError, match="may still carry out a call"):
                await made.abort(claim("n1"), "")
            await asyncio.sleep(5)
        assert server.count(STEADY_STATE) == 1
        await asyncio.sleep(LATE)
        await made.abort(claim("n1"), "")
        first, second = (one[4] for one in server.calls if one[0] == STEADY_STATE)
        assert (first, second >= LATE) == (0, True)

    run(story)


@pytest.mark.parametrize("said", [LOST, Reply(504)])
@pytest.mark.parametrize("release", ["abort", "complete"])
def test_a_lost_steady_state_keeps_the_claim_until_it_cannot_arrive(release, said):
    """Else it could release the slot of the next claim, behind that claim's commit."""

    async def story(_loop):
        made, server = strategy()
        await made.request(claim("n1"))
        arguments = (claim("n1"), "") if release == "abort" else (claim("n1"),)
        server.steady = said
        with pytest.raises((OutcomeUnknownError, StoreRefusedError)):
            await getattr(made, release)(*arguments)
        server.steady = YES
        for _ in range(12):
            with pytest.raises(OutcomeUnknownError, match="may still carry out"):
                await getattr(made, release)(*arguments)
            await asyncio.sleep(4.9)
        assert server.count(STEADY_STATE) == 2
        await asyncio.sleep(5)
        await getattr(made, release)(*arguments)
        assert server.count(STEADY_STATE) == 3

    run(story)


def test_so_does_the_abort_of_a_claim_of_an_earlier_process():
    async def story(_loop):
        made, server = strategy()
        with pytest.raises(OutcomeUnknownError):
            await made.abort(claim("n1"), "")
        await asyncio.sleep(LATE)
        await made.abort(claim("n1"), "")
        assert server.count(STEADY_STATE) == 2

    run(story)


def test_a_cancelled_request_counts_as_lost():
    async def story(_loop):
        made, server = strategy()

        async def hang(*_):
            await asyncio.sleep(1000)

        real, server.call = server.call, hang
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.request(claim("n1")), 30)
        server.call = real
        with pytest.raises(OutcomeUnknownError):
            await made.abort(claim("n1"), "")

    run(story)


def test_before_a_slot_is_asked_for_that_is_written_down_or_nothing_is_sent():
    async def story(_loop):
        written: list[int] = []
        made, _ = strategy(asking=lambda: written.append(len(written)))
        await made.request(claim("n1"))
        await made.commit(claim("n1"))
        await made.complete(claim("n1"))
        assert written == [0, 1]

        def full():
            raise HostError("the disk is full")

        made, other = strategy(asking=full)
        for _ in range(2):
            with pytest.raises(HostError, match="full"):
                await made.request(claim("n1"))
        assert other.calls == []

    run(story)


def test_complete_gives_back_and_a_failure_is_for_no_operator():
    async def story(_loop):
        made, server = strategy()
        assert await made.report_failure(claim("n1"), "unhealthy", "a unit failed")
        assert server.calls == []
        await made.complete(claim("n1"))
        assert server.count(STEADY_STATE) == 1
        server.steady = NO
        with pytest.raises(StoreRefusedError):
            await made.complete(claim("n1"))
        await made.close()

    run(story)


@pytest.mark.parametrize("adopt", [True, False])
def test_only_where_it_is_configured_a_slot_of_before_is_given_back(adopt):
    async def story(_loop):
        made, server = strategy(adopt=adopt)
        assert not await made.adopt("n1")
        assert server.count(STEADY_STATE) == adopt

    run(story)


@pytest.mark.parametrize(
    ("reply", "settings", "says"),
    [
        (Reply(500), {}, "answers with HTTP status 500, and gives no reason"),
        (Reply(409, "kind"), {}, "says kind"),
        (Reply(404, "", "no page"), {}, "says no page; is fleet-lock.url its base URL?"),
        (Reply(302, location="http://a"), {}, "redirects to http://a, which is not followed: correct fleet-lock.url"),
        (Reply(401), {}, "it may want to know who asks: fleet-lock.username and"),
        (Reply(403), {"token_file": "f"}, "it refuses fleet-lock.token-file"),
        (Reply(403), {"password_file": "f"}, "it refuses fleet-lock.username and fleet-lock.password-file"),
    ],
)
def test_each_refusal_is_said_with_what_to_correct(reply, settings, says):
    async def story(_loop):
        made, server = strategy(fleet_lock=FleetLockSettings(url=URL, id="n1", **settings))
        server.says = reply
        answer = await made.request(claim("n1"))
        assert answer.text.startswith(f"the FleetLock server {URL} ")
        assert says in answer.text

    run(story)


def test_the_server_is_named_with_the_group_and_the_id_that_zincati_has():
    settings = FleetLockSettings(url=URL)
    made, _ = strategy(group="", fleet_lock=settings, machine_id=lambda: "1c09ca98649c4c7abc779cd04c96812e")
    assert made.server == f"the FleetLock server {URL} (group default, id 978a225b3d7b40e9acd7ce9b62f68444)"
    assert has_slots(made)
    assert asks_server(made) is made

    def no_id():
        raise HostError("no id")

    made, _ = strategy(fleet_lock=settings, machine_id=no_id)
    assert "an id of its machine-id" in made.server
    plain = Reboot(StrategyContext("", no_lock))
    assert (asks_server(plain), has_slots(plain)) == (None, False)


def test_without_a_server_it_cannot_be_made():
    with pytest.raises(ValueError, match=r"fleet-lock\.url is not set"):
        strategy(fleet_lock=FleetLockSettings())


def test_a_clock_that_is_stepped_moves_the_time_that_is_shown(monkeypatch):
    async def story(_loop):
        made, server = strategy()
        server.says = NO
        first = await made.request(claim("n1"))

        class Later(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(hours=1)

        monkeypatch.setattr("locksmith_strategies.fleet_lock.datetime", Later)
        second = await made.request(claim("n1"))
        assert second.until - first.until > timedelta(minutes=59)
        assert isinstance(second, Denied)

    run(story)

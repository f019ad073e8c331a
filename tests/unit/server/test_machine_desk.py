"""Machines without etcd: their strategy, servers and the lock, on one store in memory, in virtual time."""

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.errors import (
    LocksmithError,
    OtherClusterError,
    OutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.host.http_server import HttpAnswer
from locksmith.lock import machine_wire as wire
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records.claim import COMMITTED, encode
from locksmith.lock.records.order import Order
from locksmith.server.identity import Identity, Role
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Position
from locksmith.util.jsonread import BadJsonError
from tests.builders.claims import claim
from tests.builders.machine_desks import Servers, play
from tests.builders.one_store import G
from tests.harness.fault_script import ARRIVES, LATE, NEVER_SENT, FaultScript, StepwiseStore

STORES = [MemoryStore, StepwiseStore]
A, B = claim("a"), claim("b")
B_OF_A = claim("a", nonce="another")


@pytest.mark.parametrize("store", STORES)
def test_a_slot_is_had_committed_and_released_through_any_server(store, tmp_path):
    async def story(servers):
        desks = servers.desk(), servers.desk()
        one, other = (
            servers.strategy("a", *servers.doors("a", *desks)),
            servers.strategy("b", *servers.doors("b", *desks)),
        )
        assert isinstance(await one.request(A), Granted)
        assert isinstance(await one.request(A), Granted)
        denied = await other.request(B)
        assert isinstance(denied, Denied)
        assert denied.queued
        assert denied.queued.position == 1
        assert isinstance(await one.commit(A), Granted)
        done = replace(A, state=COMMITTED, commits=1)
        waiting = asyncio.ensure_future(other.changed(30))
        await asyncio.sleep(0.1)
        await one.complete(done)
        assert await waiting
        assert isinstance(await other.request(B), Granted)
        await other.abort(B, "its window closed")
        assert await servers.holders() == ()
        assert servers.keys == []

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
def test_a_request_that_comes_after_the_end_of_its_claim_takes_no_slot(store, tmp_path):
    """It lay in the socket of a server that stood still, and its machine has ended the claim elsewhere."""

    async def story(servers):
        late = await servers.late_request(A)
        await late.strategy.abort(A, "not needed any more")
        status, said = await late.arrive()
        assert (status, said["answer"], said["must_release"]) == (200, wire.DENIED, True)
        assert await servers.holders() == ()
        assert servers.keys == []

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
def test_a_request_that_comes_after_its_daemon_has_stopped_takes_no_slot(store, tmp_path):
    async def story(servers):
        late = await servers.late_request(A)
        await late.strategy.close()
        status, said = await late.arrive()
        assert (status, said["answer"], said["must_release"]) == (200, wire.DENIED, True)
        assert await servers.holders() == ()
        assert servers.keys == []

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
def test_a_daemon_that_stops_releases_a_slot_it_was_not_told_of_and_keeps_its_own(store, tmp_path):
    async def story(servers):
        [door] = servers.doors("a", servers.desk())
        stopping = servers.strategy("a", door)
        door.lost_calls = frozenset({wire.REQUEST})
        with pytest.raises(OutcomeUnknownError):
            await stopping.request(A)
        assert await servers.holders() == ("a",)
        await stopping.close()
        assert await servers.holders() == ()
        door.lost_calls = frozenset()
        again = servers.strategy("a", door)
        denied = await again.request(A)  # the reboot journal has kept the claim
        assert isinstance(denied, Denied)
        assert denied.must_release
        await again.abort(A, denied.text)
        another = replace(A, nonce="another")
        assert isinstance(await again.request(another), Granted)
        await again.close()
        assert await servers.holders() == ("a",)

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("number", range(8))
def test_whichever_write_of_a_request_comes_late_it_takes_no_slot_after_the_end(number, store, tmp_path):
    """A server sends its writes to etcd, and one is applied after the machine has ended the claim elsewhere."""

    async def story(servers):
        script = FaultScript([*[ARRIVES] * number, *[LATE] * 20])
        doors = servers.doors("a", servers.desk(script), servers.desk())
        with suppress(LocksmithError):
            await servers.strategy("a", doors[0]).request(A)
        await servers.strategy("a", doors[1]).abort(A, "not needed any more")
        script.arrive_late()
        assert await servers.holders() == ()

    play(story, tmp_path, store)


class Stopped:
    """A server that stands still before one of its calls to etcd, until it is thawed."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.thawed = asyncio.Event()

    async def carry(self, call):
        await asyncio.sleep(0)
        self.left -= 1
        if self.left < 0:
            await self.thawed.wait()
        return call.apply()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("number", range(12))
def test_wherever_a_server_stands_still_it_takes_no_slot_for_a_claim_that_has_ended(number, store, tmp_path):
    async def story(servers):
        stopped = Stopped(number)
        doors = servers.doors("a", servers.desk(stopped), servers.desk())
        asked = asyncio.ensure_future(doors[0].answer(G, wire.REQUEST, wire.encode_call(Position(0), A)))
        await asyncio.sleep(1)
        await servers.strategy("a", doors[1]).abort(A, "not needed any more")
        stopped.thawed.set()
        await asked
        assert await servers.holders() == ()

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
def test_lost_answers_are_resolved_at_the_next_server(store, tmp_path):
    """A server is killed between its write and its answer, at each call of a reboot."""

    async def story(servers):
        doors = servers.doors("a", servers.desk(), servers.desk())
        done = replace(A, state=COMMITTED, commits=1)
        for call in ("request", "commit", "complete"):
            strategy = servers.strategy("a", *doors)
            doors[0].lost_calls = frozenset({call})
            act = {
                "request": lambda strategy=strategy: strategy.request(A),
                "commit": lambda strategy=strategy: strategy.commit(A),
                "complete": lambda strategy=strategy: strategy.complete(done),
            }[call]
            with pytest.raises(OutcomeUnknownError):
                await act()
            doors[0].down = True
            answer = await act()
            assert call == "complete" or isinstance(answer, Granted)
            doors[0].down, doors[0].lost_calls = False, frozenset()
        assert await servers.holders() == ()
        assert servers.keys == []

    play(story, tmp_path, store)


@pytest.mark.parametrize(
    ("status", "body", "whole"),
    [
        (200, b"{}", True),
        (200, b"", True),
        (200, b"<html>welcome</html>", True),
        (200, b'{"answer": "granted"}', True),
        (200, b'{"answer": "granted", "nonce": "another"}', True),
        (200, b'{"answer": "granted", "nonce": "nonce-a"}', False),
        (200, b'{"answer": true, "nonce": "nonce-a"}', True),
        (200, b'{"answer": "GRANTED", "nonce": "nonce-a"}', True),
        (200, b'{"answer": "granted", "nonce": "nonce-a", "kind": "store"}', True),
        (200, b'{"answer": "denied", "answer": "granted", "nonce": "nonce-a"}', True),
        (201, b'{"answer": "granted", "nonce": "nonce-a"}', True),
        (204, b"", True),
        (302, b'{"answer": "granted", "nonce": "nonce-a"}', True),
        (401, b'{"answer": "granted", "nonce": "nonce-a"}', True),
        (500, b'{"answer": "granted", "nonce": "nonce-a"}', True),
        (503, b'{"kind": "unavailable", "value": "etcd is away"}', True),
        (503, b"", True),
    ],
)
def test_nothing_but_a_whole_answer_to_this_claim_is_a_yes(status, body, whole, tmp_path):
    async def story(servers):
        [door] = servers.doors("a", servers.desk())
        strategy = servers.strategy("a", door)
        assert isinstance(await strategy.request(A), Granted)
        door.instead = {wire.COMMIT: HttpAnswer(status, {}, body, whole=whole)}
        with pytest.raises(LocksmithError):
            await strategy.commit(A)

    play(story, tmp_path)


def test_a_machine_can_act_only_for_itself(tmp_path):
    async def story(servers):
        desk = servers.desk()
        own, [door] = servers.strategy("a", *servers.doors("a", desk)), servers.doors("b", desk)
        assert isinstance(await own.request(A), Granted)
        strategy = servers.strategy("b", door)
        for act in (
            strategy.request(A),
            strategy.commit(A),
            strategy.report_failure(A, "failed", "x"),
            strategy.abort(A, "x"),
            strategy.complete(A),
        ):
            with pytest.raises(StoreRefusedError, match="only for itself"):
                await act
        assert await servers.holders() == ("a",)

    play(story, tmp_path)


def test_a_store_that_went_back_in_time_gives_no_permission_until_a_resume(tmp_path):
    async def story(servers):
        [door] = servers.doors("a", servers.desk())
        strategy = servers.strategy("a", door)
        assert isinstance(await strategy.request(A), Granted)
        await strategy.abort(A, "x")
        strategy._mark.keep()
        servers.server.revision -= 3
        again = servers.strategy("a", door)
        denied = await again.request(B_OF_A)
        assert isinstance(denied, Denied)
        assert denied.code == "restored"
        assert await servers.holders() == ()
        await asyncio.sleep(10)
        await servers.orders.resume(Order("alice", servers.now()))
        assert isinstance(await again.request(B_OF_A), Granted)

    play(story, tmp_path)


def test_what_a_machine_knows_is_compared_before_anything_is_written(tmp_path):
    async def story(servers):
        desk = servers.desk()
        body = json.loads(wire.encode_call(Position(10**6, ""), A))
        said = await desk.call(G, Identity(Role.MACHINE, "a"), wire.REQUEST, body)
        assert said["kind"] == wire.UNAVAILABLE
        assert servers.keys == []

    play(story, tmp_path)


def test_a_slot_that_an_operator_freed_is_not_taken_again_by_another_server(tmp_path):
    async def story(servers):
        doors = servers.doors("a", servers.desk(), servers.desk())
        strategy = servers.strategy("a", *doors)
        assert isinstance(await strategy.request(A), Granted)
        await servers.admin.unlock("a")
        doors[0].down = True
        answer = await strategy.request(A)
        assert isinstance(answer, Denied)
        assert answer.lost
        assert await servers.holders() == ()

    play(story, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [58, 59, 60])
def test_a_freed_slot_is_taken_at_once_however_many_keys_a_take_checks(slots, tmp_path):
    """A take that was prepared checks all that it has read, as long as etcd takes so much in one transaction."""

    async def story(servers):
        await servers.admin.set_max(slots)
        desk = servers.desk()
        holders = []
        for number in range(slots):
            holders.append(servers.strategy(f"m{number}", *servers.doors(f"m{number}", desk)))
            assert isinstance(await holders[-1].request(claim(f"m{number}")), Granted)
        waiting = servers.strategy("a", *servers.doors("a", desk))
        assert (await waiting.request(A)).code == "slot"
        freed = asyncio.ensure_future(waiting.changed(40))
        await asyncio.sleep(0.5)
        await holders[0].abort(claim("m0"), "no more")
        await freed
        assert isinstance(await waiting.request(A), Granted)

    play(story, tmp_path)


def test_a_waiting_machine_asks_seldom_and_keeps_its_place(tmp_path):
    async def story(servers):
        desk = servers.desk()
        first, [door] = servers.strategy("a", *servers.doors("a", desk)), servers.doors("b", desk)
        await first.request(A)
        second = servers.strategy("b", door)
        for _ in range(40):  # twenty minutes of a loop's heartbeats
            assert isinstance(await second.request(B), Denied)
            await second.changed(30)
        assert door.calls.count("request") <= 21
        assert len([key for key in servers.keys if key.startswith("waiters/")]) == 1
        desk.drain()
        assert await second.changed(1)
        await second.close()
        assert [key for key in servers.keys if key.startswith("waiters/")] == []

    play(story, tmp_path)


def test_no_place_is_left_by_who_asked_two_servers_in_turn(tmp_path):
    async def story(servers):
        one, other = servers.desk(), servers.desk()
        first = servers.strategy("a", *servers.doors("a", one))
        await first.request(A)
        body = json.loads(wire.encode_call(Position(0), B))
        for desk, pause in ((one, 1), (other, 25), (one, 14), (other, 12), (one, 8)):
            assert (await desk.call(G, Identity(Role.MACHINE, "b"), wire.REQUEST, body))["answer"] == wire.DENIED
            await asyncio.sleep(pause)
        await first.abort(A, "no more")
        assert (await other.call(G, Identity(Role.MACHINE, "b"), wire.REQUEST, body))["answer"] == wire.GRANTED
        assert [key for key in servers.keys if key.startswith("waiters/")] == []

    play(story, tmp_path)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("number", range(14))
def test_wherever_etcd_is_away_the_call_is_an_error_and_may_be_made_again(number, store, tmp_path):
    async def story(servers):
        script = FaultScript([*[ARRIVES] * number, NEVER_SENT])
        strategy = servers.strategy("a", *servers.doors("a", servers.desk(script)))

        async def insist(act):
            for _ in range(3):
                with suppress(StoreUnavailableError):
                    return await act()
            raise AssertionError

        assert isinstance(await insist(lambda: strategy.request(A)), Granted)
        assert isinstance(await insist(lambda: strategy.commit(A)), Granted)
        done = replace(A, state=COMMITTED, commits=1)
        assert not await insist(lambda: strategy.report_failure(done, "unhealthy", "a unit has failed"))
        await servers.orders.resume(Order("alice", servers.now()))
        assert await insist(lambda: strategy.report_failure(done, "unhealthy", "a unit has failed"))
        await insist(lambda: strategy.complete(done.gone_wrong("unhealthy", "a unit has failed")))
        assert await servers.holders() == ()
        await strategy.close()

    play(story, tmp_path, store)


def test_a_server_of_another_cluster_is_asked_for_nothing(tmp_path):
    async def story(servers):
        strategy = servers.strategy("a", *servers.doors("a", servers.desk()))
        assert isinstance(await strategy.request(A), Granted)
        await strategy.abort(A, "x")
        other = Servers(servers.loop, tmp_path)
        other.server.cluster = "beef"
        doors = [*other.doors("a", other.desk()), *servers.doors("a", servers.desk())]
        doors[0].url = "https://other"
        again = servers.strategy("a", *doors)
        for _ in range(2):
            with suppress(OtherClusterError):
                await again.request(B_OF_A)
        assert other.keys == []
        assert await other.holders() == ()
        alone = servers.strategy("a", doors[0])
        with pytest.raises(OtherClusterError, match=r"has etcd cluster beef, and this machine has seen .* so far"):
            await alone.request(B_OF_A)

    play(story, tmp_path)


def test_a_claim_from_a_clock_that_is_a_day_off_harms_no_other(tmp_path):
    async def story(servers):
        desk = servers.desk()
        for machine, days in (("a", 1), ("b", -1)):
            off = claim(machine, since=servers.now() + timedelta(days=days))
            strategy = servers.strategy(machine, *servers.doors(machine, desk))
            assert isinstance(await strategy.request(off), Granted)
            record = (await servers.guarded.holder_state(machine)).claim
            assert record.since <= servers.now()
            assert record.taken == servers.now()
            await strategy.abort(off, "x")

    play(story, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"claim": None}, "'claim' is missing"),
        ({"claim": {"kind": "reboot"}}, "'claim' is not a holder's record"),
        ({"claim": {**json.loads(encode(A)), "kind": "manual"}}, "of the kind reboot or command, not manual"),
        ({"claim": {**json.loads(encode(A)), "kind": "fleetlock"}}, "of the kind reboot or command, not fleetlock"),
        ({"claim": {**json.loads(encode(A)), "nonce": ""}}, "a claim has a holder and a nonce"),
        ({"claim": {**json.loads(encode(A)), "hostname": "a\x1b[2J"}}, "the hostname of the claim"),
        ({"claim": {**json.loads(encode(A)), "hostname": "x" * 501}}, "the hostname of the claim"),
        ({"claim": {**json.loads(encode(A)), "who": "\n"}}, "the who of the claim"),
        ({"claim": {**json.loads(encode(A)), "since": "yesterday"}}, "'claim' is not a holder's record"),
        ({"machine": 7}, "'machine' must be a string"),
        ({"store": None}, "'store' is missing"),
        ({"store": {"cluster": "; rm", "revision": 0}}, "the id of a cluster or nothing"),
        ({"store": {"cluster": "", "revision": -1}}, "must have a revision"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_with_its_fault(changes, said, tmp_path):
    async def story(servers):
        body = json.loads(wire.encode_call(Position(0), A)) | changes
        body = {name: value for name, value in body.items() if value is not None}
        with pytest.raises(BadJsonError, match=re.escape(said)):
            await servers.desk().call(G, Identity(Role.MACHINE, "a"), wire.REQUEST, body)
        assert servers.server.revision == 0 or servers.keys == []

    play(story, tmp_path)


def test_another_cluster_counts_after_a_resume_that_says_so(tmp_path):
    async def story(servers):
        strategy = servers.strategy("a", *servers.doors("a", servers.desk()))
        assert isinstance(await strategy.request(A), Granted)
        await strategy.abort(A, "x")
        new = Servers(servers.loop, tmp_path)
        new.server.cluster = "beef"
        strategy = new.strategy("a", *new.doors("a", new.desk()))
        with pytest.raises(OtherClusterError, match="resume --replaces cafe"):
            await strategy.request(B_OF_A)
        await new.orders.resume(Order("alice", new.now(), cluster="beef", replaces=("cafe",)))
        await asyncio.sleep(6)
        with pytest.raises(OtherClusterError):
            await strategy.request(B_OF_A)
        assert isinstance(await strategy.request(B_OF_A), Granted)

    play(story, tmp_path)


@pytest.mark.parametrize("then", ["has the same cluster", "does not answer", "has another cluster still"])
def test_a_server_that_disagreed_is_asked_again_though_another_takes_all_calls(then, tmp_path):
    async def story(servers):
        other = Servers(servers.loop, tmp_path)
        other.server.cluster = "beef"
        doors = servers.doors("a", servers.desk(), other.desk())
        strategy = servers.strategy("a", *doors)
        assert isinstance(await strategy.request(A), Granted)
        await strategy.abort(A, "x")
        doors[0].down = True
        with suppress(OtherClusterError, StoreUnavailableError):
            await strategy.request(B_OF_A)
        doors[0].down = False
        await asyncio.sleep(6)
        assert (await strategy.request(B_OF_A)).code == "other_cluster"
        if then == "has the same cluster":
            doors[1].desk = servers.desk()
        doors[1].down = then == "does not answer"
        asked = len(doors[1].calls)
        await asyncio.sleep(6)
        answer = await strategy.request(B_OF_A)
        assert isinstance(answer, Denied if then == "has another cluster still" else Granted)
        assert doors[1].calls[asked:] == ([] if then == "does not answer" else [wire.HELLO])
        assert other.keys == []

    play(story, tmp_path)

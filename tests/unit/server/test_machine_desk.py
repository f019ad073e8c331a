"""Machines without etcd: their strategy, servers and the lock, on one store in memory, in virtual time."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace

import pytest

from locksmith.errors import LocksmithError, OutcomeUnknownError, StoreRefusedError
from locksmith.host.http_server import HttpAnswer
from locksmith.lock import machine_wire as wire
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records.claim import COMMITTED
from locksmith.lock.records.order import Order
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Position
from tests.builders.claims import claim
from tests.builders.machine_desks import G, play
from tests.harness.fault_script import ARRIVES, LATE, FaultScript, StepwiseStore

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
        doors = servers.doors("a", servers.desk(), servers.desk())
        strategy = servers.strategy("a", *doors)
        doors[0].frozen = frozenset({wire.REQUEST})
        with pytest.raises(OutcomeUnknownError):
            await strategy.request(A)
        await strategy.abort(A, "not needed any more")
        [(status, said)] = await doors[0].thaw()
        assert (status, said["answer"], said["must_release"]) == (200, wire.DENIED, True)
        assert await servers.holders() == ()
        assert servers.keys == []

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
        said = await desk.call(G, "a", wire.REQUEST, body)
        assert said["kind"] == wire.UNAVAILABLE
        assert servers.keys == []

    play(story, tmp_path)


def test_a_slot_that_an_operator_freed_is_not_taken_again_by_a_server_that_knows_nothing(tmp_path):
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

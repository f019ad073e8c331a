"""Many calls at once, from real threads: never more holders than slots, and a lost race is no error."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from .fleet import PAUSES, Fleet, new_id
from .wire import Answer


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Make all calls at the same moment, each on a thread and a connection of its own."""
    barrier = threading.Barrier(len(calls))

    def call(make: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return make()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def all_ask(fleet: Fleet, ids: Sequence[str]) -> list[Answer]:
    """Send pre-reboot for each id at the same moment."""
    return at_once([lambda name=name: fleet.pre_reboot(name) for name in ids])  # type: ignore[misc]  # each binds its own


def all_report(fleet: Fleet, ids: Sequence[str]) -> list[Answer]:
    """Send steady-state for each id at the same moment."""
    return at_once([lambda name=name: fleet.steady_state(name) for name in ids])  # type: ignore[misc]  # each binds its own


@pytest.mark.must
def test_parallel_clients_are_no_more_than_slots(fleet: Fleet, clients: int):
    for _ in range(2):
        ids = [new_id() for _ in range(clients)]
        granted = [name for name, answer in zip(ids, all_ask(fleet, ids), strict=True) if answer.granted]
        assert len(granted) <= fleet.slots, f"{len(granted)} of {clients} got one of {fleet.slots} slot(s)"
        all_report(fleet, ids)
        for name in ids:
            fleet.release(name)


@pytest.mark.should
def test_a_lost_race_is_no_server_error(fleet: Fleet, clients: int):
    for _ in range(2):
        ids = [new_id() for _ in range(clients)]
        answers = all_ask(fleet, ids) + all_report(fleet, ids)
        errors = [str(answer) for answer in answers if answer.status >= 500]
        assert not errors, f"{len(errors)} of {len(answers)} calls at once: {errors[0]}"


@pytest.mark.must
def test_parallel_steady_states_of_all_free_all(fleet: Fleet):
    for _ in range(2):
        holders = fleet.fill()
        ids = [*holders, *(new_id() for _ in range(3))]
        answers = all_report(fleet, ids)
        for name in [name for name, answer in zip(ids, answers, strict=True) if not answer.granted]:
            fleet.release(name)
        fleet.fill()  # as long as a slot is lost that was released, this fails
        fleet.clean()


@pytest.mark.must
def test_one_client_on_many_connections_has_one_slot(fleet: Fleet):
    client = new_id()
    all_ask(fleet, [client] * 8)
    fleet.fill(client)
    all_ask(fleet, [client] * 8)
    fleet.assert_full("one client has asked on eight connections at once")
    fleet.release(client)
    fleet.take()


@pytest.mark.must
def test_a_storm_never_has_more_holders_than_slots(fleet: Fleet, clients: int):
    crowd = Crowd(fleet)
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(crowd.reboot, [new_id() for _ in range(clients)]))
    assert crowd.most <= fleet.slots, f"{crowd.most} clients held one of {fleet.slots} slot(s) at the same time"


@pytest.mark.should
def test_each_client_of_a_crowd_gets_its_turn(fleet: Fleet, clients: int):
    crowd = Crowd(fleet, wait=3 * fleet.wait)
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(crowd.reboot, [new_id() for _ in range(clients)]))
    assert crowd.done == clients, f"{clients - crowd.done} of {clients} got no slot within {crowd.wait:g} s"


class Crowd:
    """Clients that ask until they are granted, and then release; it counts those that hold at the same time."""

    def __init__(self, fleet: Fleet, wait: float = 2.0) -> None:
        self.wait = wait
        self.most = 0
        self.done = 0
        self._fleet = fleet
        self._holding = 0
        self._lock = threading.Lock()

    def reboot(self, client: str) -> None:
        """Take a slot, hold it for a moment, release it; end without, when the wait is over."""
        end = time.monotonic() + self.wait
        while not self._fleet.pre_reboot(client).granted:
            if time.monotonic() > end:
                return
            time.sleep(PAUSES[1])
        with self._lock:
            self._holding += 1
            self.most = max(self.most, self._holding)
        time.sleep(PAUSES[0])
        with self._lock:
            self._holding -= 1
            self.done += 1
        self._fleet.release(client)

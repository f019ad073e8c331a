"""A client that never got its answer asks again: the result is the same, and nothing is counted twice."""

import time
from collections.abc import Callable

import pytest

from .fleet import Fleet, new_id
from .wire import PRE_REBOOT, STEADY_STATE, Connection, body_of

LATE = 0.5
"""Seconds after which a call whose client is gone has been worked off."""

WAYS = {"closes": Connection.close, "resets": Connection.reset}


@pytest.fixture(params=WAYS)
def leave(request: pytest.FixtureRequest) -> Callable[[Connection], None]:
    """Say how the client ends its connection."""
    return WAYS[request.param]


def call_and_leave(fleet: Fleet, call: str, client: str, leave: Callable[[Connection], None]) -> None:
    """Send a call, and go before the answer comes."""
    fleet.remember(client)
    connection = fleet.server.connect()
    connection.send(fleet.server.request(call, body_of(client, fleet.group)))
    leave(connection)


@pytest.mark.must
def test_pre_reboot_after_a_lost_answer_is_granted(fleet: Fleet, leave: Callable[[Connection], None]):
    client = new_id()
    call_and_leave(fleet, PRE_REBOOT, client, leave)
    fleet.take(client)
    time.sleep(LATE)
    fleet.fill(client)
    fleet.assert_full("a client asked again after a lost answer")
    fleet.release(client)
    fleet.take()


@pytest.mark.must
def test_steady_state_after_a_lost_answer_succeeds(fleet: Fleet, leave: Callable[[Connection], None]):
    client, *_ = fleet.fill()
    call_and_leave(fleet, STEADY_STATE, client, leave)
    fleet.release(client)
    time.sleep(LATE)
    fleet.take()
    fleet.assert_full("a client reported its steady state again after a lost answer")


@pytest.mark.must
def test_a_client_that_never_returns_is_one_holder_at_most(fleet: Fleet, leave: Callable[[Connection], None]):
    lost = new_id()
    call_and_leave(fleet, PRE_REBOOT, lost, leave)
    time.sleep(LATE)
    others = [new_id() for _ in range(fleet.slots)]
    granted = [name for name in others if fleet.pre_reboot(name).granted]
    holds = fleet.pre_reboot(lost).granted
    assert len(granted) + holds <= fleet.slots, f"{len(granted)} others hold, and the client of the lost answer too"
    for name in [lost, *others]:
        fleet.release(name)
    fleet.fill()


@pytest.mark.must
def test_half_a_request_takes_nothing(fleet: Fleet, leave: Callable[[Connection], None]):
    client = fleet.remember(new_id())
    request = fleet.server.request(PRE_REBOOT, body_of(client, fleet.group))
    for cut in (10, len(request) // 2, len(request) - 1):
        connection = fleet.server.connect()
        connection.send(request[:cut])
        leave(connection)
    time.sleep(LATE)
    fleet.fill()

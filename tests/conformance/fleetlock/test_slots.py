"""The semaphore: slots are taken, kept and released, whatever order the calls come in."""

import pytest

from .fleet import Fleet, new_id


@pytest.mark.must
def test_a_slot_is_taken_and_released(fleet: Fleet):
    for _ in range(fleet.slots + 1):
        fleet.release(fleet.take())


@pytest.mark.must
def test_success_has_status_200(fleet: Fleet):
    client = new_id()
    answers = []
    for _ in fleet.tries():
        answers.append(fleet.pre_reboot(client))
        if answers[-1].granted:
            break
    answers.append(fleet.steady_state(client))
    others = [str(answer) for answer in answers if answer.granted and answer.status != 200]
    assert answers[-1].granted, f"steady-state failed: {answers[-1]}"
    assert not others, f"by the specification this is a failure, and Zincati reboots upon it: {others}"


@pytest.mark.must
def test_no_more_holders_than_slots(fleet: Fleet):
    holders = fleet.fill()
    for _ in range(3):
        fleet.assert_full("all slots are taken")
    for holder in holders:
        fleet.assert_holds(holder, "others were refused")


@pytest.mark.must
def test_pre_reboot_again_keeps_the_one_slot(fleet: Fleet):
    client = fleet.take()
    for _ in range(5):
        fleet.assert_holds(client, "pre-reboot again and again")
    holders = fleet.fill(client)
    fleet.assert_full("one client asked many times")
    assert len(holders) == fleet.slots


@pytest.mark.must
def test_one_steady_state_ends_many_pre_reboots(fleet: Fleet):
    client = fleet.take()
    for _ in range(3):
        fleet.assert_holds(client, "pre-reboot again and again")
    fleet.release(client)
    fleet.fill()


@pytest.mark.must
def test_steady_state_may_come_first(fleet: Fleet):
    answer = fleet.steady_state(new_id())
    assert answer.granted, f"a machine that holds nothing never becomes steady: {answer}"


@pytest.mark.must
def test_steady_state_may_come_again(fleet: Fleet):
    client = fleet.take()
    fleet.release(client)
    for _ in range(3):
        answer = fleet.steady_state(client)
        assert answer.granted, f"steady-state again failed: {answer}"
    fleet.fill()


@pytest.mark.must
def test_steady_state_of_another_is_a_success(fleet: Fleet):
    fleet.fill()
    answer = fleet.steady_state(new_id())
    assert answer.granted, f"a machine that holds nothing was refused while others hold: {answer}"


@pytest.mark.must
def test_steady_state_of_another_frees_no_slot(fleet: Fleet):
    holders = fleet.fill()
    for _ in range(2):
        fleet.steady_state(new_id())
    fleet.assert_full("clients that hold nothing have sent steady-state")
    for holder in holders:
        fleet.assert_holds(holder, "clients that hold nothing have sent steady-state")


@pytest.mark.must
def test_a_refused_client_may_report_steady_state(fleet: Fleet):
    holders = fleet.fill()
    refused = new_id()
    assert not fleet.pre_reboot(refused).granted, "more holders than slots"
    answer = fleet.steady_state(refused)
    assert answer.granted, f"the steady-state of a refused client failed: {answer}"
    fleet.assert_full("a refused client has sent steady-state")
    fleet.release(holders[0])
    fleet.take()


@pytest.mark.must
def test_ids_that_differ_in_case_are_two_clients(fleet: Fleet):
    lower = new_id()
    upper = lower.upper()
    fleet.fill(lower)
    answer = fleet.pre_reboot(upper)
    assert not answer.granted, f"{upper} got the slot of {lower}: {answer}"
    fleet.steady_state(upper)
    fleet.assert_full(f"{upper} has sent steady-state, not {lower}")
    fleet.assert_holds(lower, f"{upper} has sent steady-state")


@pytest.mark.should
def test_a_client_that_waits_gets_the_released_slot(fleet: Fleet):
    holders = fleet.fill()
    waiting = new_id()
    assert not fleet.pre_reboot(waiting).granted, "more holders than slots"
    fleet.release(holders[0])
    fleet.take(waiting)


@pytest.mark.should
def test_groups_share_no_slots(fleet: Fleet, other_fleet: Fleet):
    fleet.fill()
    other_fleet.release(other_fleet.take())
    fleet.assert_full("a client of another group has released its slot")


@pytest.mark.should
def test_one_id_in_two_groups_is_two_clients(fleet: Fleet, other_fleet: Fleet):
    client = new_id()
    fleet.fill(client)
    other_fleet.take(client)
    other_fleet.release(client)
    fleet.assert_full("the holder's namesake in another group has released its slot")
    fleet.assert_holds(client, "its namesake in another group has released its slot")

"""How far a rollout is, from what the store has; and its forecast."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from locksmith.fleet.forecast.outlook import outlook, outlook_plan
from locksmith.fleet.group import GroupView
from locksmith.fleet.progress import progress, progress_fields
from locksmith.lock.records.event import HELD, REBOOTED, about
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from tests.builders.claims import claim

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def node(name, need_since=None) -> Node:
    need = {"need": "kernel", "need_since": AT + need_since * MINUTE} if need_since is not None else {}
    return Node(name, name, "boot", "web", "etcd-lock", "waiting" if need else "idle", AT, **need)


def group(*nodes, holder=None) -> GroupView:
    claims = {"n1": replace(claim("n1"), since=AT - 3 * MINUTE)} if holder else {}
    return GroupView("web", Semaphore(1, tuple(claims)), claims, machines={one.machine_id: one for one in nodes}, at=AT)


def rebooted(name, since, taken, at, detail=REBOOTED):
    made = replace(claim(name), since=AT + since * MINUTE, taken=AT + taken * MINUTE)
    return about(made, AT + at * MINUTE, HELD, detail=detail)


def test_an_idle_group_without_a_history_has_nothing_to_do():
    found = progress(group(node("n1")), [])
    assert (found.total, found.share_done, found.since) == (0, 1.0, None)


def test_reboots_since_the_oldest_need_belong_to_the_rollout():
    view = group(node("n1", -30), node("n2", -60), node("n3"), holder="n1")
    events = [rebooted("n3", -200, -190, -180), rebooted("n3", -50, -45, -40)]
    found = progress(view, events)
    assert (found.left, found.down, found.done) == (2, 1, 1)
    assert found.since == AT - 60 * MINUTE
    assert progress_fields(found)["median_seconds"] == 300
    assert progress_fields(found)["share_done"] == 0.3333


def test_a_reboot_that_began_earlier_takes_the_beginning_with_it():
    events = [rebooted("n4", -90, -80, -70), rebooted("n3", -75, -72, -20)]
    found = progress(group(node("n1", -30)), events)
    assert (found.done, found.since) == (2, AT - 90 * MINUTE)


def test_a_machine_that_needs_a_reboot_again_is_not_done():
    assert progress(group(node("n3", -30)), [rebooted("n3", -28, -25, -20)]).done == 0


def test_what_was_aborted_is_no_reboot():
    assert progress(group(node("n1", -30)), [rebooted("n3", -28, -25, -20, "a hook failed")]).done == 0


def test_when_all_are_done_there_is_no_rollout():
    events = [rebooted("n1", -50, -45, -40), rebooted("n2", -49, -40, -34)]
    assert progress(group(node("n1"), node("n2")), events).total == 0


def test_the_forecast_is_for_the_machines_that_need_a_reboot_or_for_all():
    view = group(node("n1", -5), node("n2", -4), node("n3"))
    assert outlook_plan(group(node("n1")), [], AT, everything=False) is None
    assert outlook_plan(group(), [], AT, everything=True) is None
    for everything, machines in ((False, 2), (True, 3)):
        plan = outlook_plan(view, [], AT, everything=everything)
        assert plan is not None
        answer, _ = outlook(plan, 5)
        assert answer.p50 == (AT + machines * 3 * MINUTE).timestamp()

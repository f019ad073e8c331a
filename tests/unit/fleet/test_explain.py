"""Why a machine does not reboot, sentence by sentence; and that no record makes the answer fail."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.cli.commands.nodes_view import layout, summary
from locksmith.errors import CorruptValueError
from locksmith.fleet.case import as_its_daemon_says, case
from locksmith.fleet.explain import explain, explain_alone, explain_stopped
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, holder_statuses
from locksmith.fleet.lookup import find
from locksmith.fleet.rollout import Rollout
from locksmith.lock.records import states
from locksmith.lock.records.claim import COMMITTED, DAEMON, FLEETLOCK, HELD, MANUAL, REBOOT, SERVER, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.records.waiter import Waiter
from locksmith.util.text import one_line

NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
VERSION = "4081.2.0"
NEEDED = datetime(2026, 5, 1, 2, 14, tzinfo=UTC)


def idle(name: str) -> Node:
    return Node(f"id-{name}", name, f"boot-{name}", "db", "etcd-lock", states.IDLE, NEEDED)


def wanting(name: str, **changes) -> Node:
    need = {"need": "update-engine", "need_version": "4081.2.0", "need_since": NEEDED}
    return replace(
        idle(name), **{"state": states.WAITING, "code": "queue", "reason": "queued for a slot", **need, **changes}
    )


def rebooting(name: str, seconds: float = 41, who: str = DAEMON, state: str = COMMITTED) -> Claim:
    taken = NOW - timedelta(seconds=seconds)
    return Claim(
        f"id-{name}",
        REBOOT,
        f"of {name}",
        NEEDED,
        who,
        name,
        "boot",
        "4081.2.0",
        state,
        "update-engine 4081.2.0",
        taken,
    )


def by_hand(holder: str) -> Claim:
    return Claim(holder, MANUAL, f"by hand {holder}", NOW - timedelta(hours=3), "alice", "desk", reason="disk swap")


def waiter(name: str, kind: str = REBOOT) -> Waiter:
    return Waiter(f"id-{name}", kind, f"of {name}", NEEDED, hostname=name)


def group(*nodes: Node, claims=(), bare=(), line=(), slots: int = 1, **more) -> GroupView:
    held = {**{claim.holder: claim for claim in claims}, **dict.fromkeys(bare)}
    return GroupView(
        "db",
        Semaphore(slots, tuple(sorted(held))),
        held,
        tuple(waiter(name) for name in line),
        {node.machine_id: node for node in nodes},
        **more,
    )


def told(view: GroupView, name: str) -> list[str]:
    return explain(case(view, f"id-{name}", NOW))


def test_the_answer_of_one_that_stands_in_line():
    view = group(
        wanting("n7", window_opens=NEEDED, window_closes=NOW + timedelta(hours=1)),
        wanting("n5"),
        replace(wanting("n2"), state=states.REBOOTING, code=""),
        claims=[rebooting("n2")],
        line=["n5", "n6", "n7"],
    )
    assert told(view, "n7") == [
        "n7 needs a reboot for update 4081.2.0 (since 02:14).",
        "It is third in the queue of group db: n2 has held the slot for 41 s (rebooting), n5 is next.",
        "Its window is open until 04:00.",
    ]


def test_the_first_in_line_behind_two_slots():
    view = group(wanting("n7"), idle("n2"), claims=[rebooting("n2"), by_hand("rack")], line=["n7"], slots=2)
    [_, line] = told(view, "n7")
    assert line == (
        "It is first in the queue of group db: both slots are held by rack for 3 h (locked by alice: disk swap) and n2 "
        "for 41 s (rebooting)."
    )


@pytest.mark.parametrize(
    ("node", "sentences"),
    [
        (idle("n1"), ["n1 needs no reboot: no trigger asks for one."]),
        (
            wanting("n1", code="window", reason="outside the reboot window", until=NOW + timedelta(days=1)),
            [
                "n1 needs a reboot for update 4081.2.0 (since 02:14).",
                "It waits for its window, which opens at Sat 03:00.",
                "Then it asks for a slot of group db: 1 of 1 slots free, and the queue is empty.",
            ],
        ),
        (
            wanting(
                "n1", code="retry", reason="the last reboot failed: access denied", until=NOW + timedelta(minutes=9)
            ),
            [
                "n1 needs a reboot for update 4081.2.0 (since 02:14).",
                "It waits: the last reboot failed: access denied; it tries again at 03:09.",
                "Then it asks for a slot of group db: 1 of 1 slots free, and the queue is empty.",
            ],
        ),
        (
            wanting(
                "n1",
                need="operator",
                need_version="",
                code="dry_run",
                reason="would ask the strategy etcd-lock now, and reboot",
                dry_run=True,
            ),
            [
                "DRY RUN: the locksmithd of n1 takes no slot and reboots nothing (dry-run = true).",
                "n1 needs a reboot because an operator asked for it (since 02:14).",
                "It would ask the strategy etcd-lock now, and reboot.",
            ],
        ),
        (
            replace(idle("n1"), dry_run=True),
            [
                "DRY RUN: the locksmithd of n1 takes no slot and reboots nothing (dry-run = true).",
                "n1 needs no reboot: no trigger asks for one.",
            ],
        ),
        (
            wanting("n1", code="logind", reason="logind does not answer"),
            [
                "n1 needs a reboot for update 4081.2.0 (since 02:14).",
                "It waits (logind): logind does not answer.",
                "Then it asks for a slot of group db: 1 of 1 slots free, and the queue is empty.",
            ],
        ),
        (
            wanting("n1", need_version="0.0.0", state="draining", code="", reason="kubectl drain"),
            ["n1 needs a reboot for an update (since 02:14).", "It is draining (kubectl drain), for 46 min now."],
        ),
        (
            replace(idle("n1"), state=states.STUCK, reason="stuck in shutdown: a job hangs"),
            ["n1 is stuck: stuck in shutdown: a job hangs."],
        ),
    ],
    ids=lambda value: value.code or value.state if isinstance(value, Node) else "",
)
def test_what_a_machine_waits_for(node, sentences):
    assert told(group(node), "n1") == sentences


def test_one_that_is_locked_by_hand():
    view = group(wanting("n1", code="other_claim"), claims=[by_hand("id-n1")])
    assert told(view, "n1")[1] == (
        "Its id holds a slot for something else: n1 for 3 h (locked by alice: disk swap). "
        "`locksmithctl unlock id-n1` frees it."
    )


def test_a_group_without_slots():
    [_, line] = told(group(wanting("n1"), line=["n1"], slots=0), "n1")
    assert "there is no slot at all (max is 0; `locksmithctl set-max 1` makes one)" in line


def test_one_that_is_lost_and_those_that_were_never_there():
    view = group(
        claims=[rebooting("n2"), rebooting("n3", who="alice"), by_hand("rack")], bare=["id-go"], slots=4, line=["n9"]
    )
    assert [(one.name, one.how) for one in holder_statuses(view)] == [
        ("rack", HolderKind.MANUAL),
        ("n2", HolderKind.LOST),
        ("n3", HolderKind.UNSEEN),
        ("id-go", HolderKind.LEGACY),
    ]
    [lost, halted] = told(view, "n2")
    assert lost.startswith(
        "n2 is LOST: it has held a slot for 41 s, for its reboot (update-engine 4081.2.0), and was not seen"
    )
    assert "`locksmithctl unlock id-n2` frees it." in lost
    assert halted.startswith("Group db is HALTED: n2 is lost")
    assert "`locksmithctl resume`" in halted
    [bare, halted] = told(view, "go")
    assert "a legacy node, or a legacy lock" in bare
    [ordered, halted] = told(view, "n3")
    assert "a reboot that alice ordered" in ordered
    assert told(view, "n9")[0] == "n9 is in the queue of group db, and shows no presence."
    [absent, halted] = told(view, "n8")
    assert absent.startswith(
        "id-n8 is not present in group db: its locksmithd does not run, shares no store, or has not"
    )


def test_a_twin_is_said():
    node = wanting("n1", code="clone", clone="copy (boot b2)")
    assert told(group(node), "n1")[1].startswith("Another machine has its id: copy (boot b2) was seen with id-n1.")


def test_what_a_machines_own_daemon_says_is_newer_than_its_record():
    waits = wanting("n1", code="inhibitor", reason="shutdown is blocked by backup")
    shown = replace(idle("n1"), clone="copy (boot b2)", clone_boot="b2")
    found = case(group(shown), "id-n1", NOW)
    newer = as_its_daemon_says(found, waits)
    assert newer.node == replace(waits, clone="copy (boot b2)", clone_boot="b2")
    assert "shutdown is blocked by backup" in " ".join(explain(newer))
    for other in (None, replace(waits, boot_id="an earlier boot"), replace(waits, group="web")):
        assert as_its_daemon_says(found, other) is found


@pytest.mark.parametrize("code", ["restored", "other_cluster"])
def test_a_machine_that_does_not_believe_the_store_says_so_in_its_record_alone(code):
    found = case(group(replace(idle("n1"), code=code, reason="its history has no such write")), "id-n1", NOW)
    assert as_its_daemon_says(found, idle("n1")) is found


def test_no_record_in_the_store_stays_no_presence_whatever_the_daemon_says():
    found = case(group(idle("n2")), "id-n1", NOW)
    assert as_its_daemon_says(found, idle("n1")).node is None


def test_a_void_share_and_a_value_that_cannot_be_read_are_said():
    view = group(idle("n1"), slots=3, share=Share("10%", (1,)), problems=(CorruptValueError("k", "not JSON"),))
    [_, void, unreadable] = told(view, "n1")
    assert void.startswith(
        "The share of 10% is void: max was set to 3 manually; `locksmithctl set-max 10%` restores it"
    )
    assert unreadable == "A value cannot be read: k: not JSON."


def test_a_machine_is_found_by_what_a_person_calls_it():
    view = group(idle("n1"), replace(idle("n1"), machine_id="id-other"), claims=[rebooting("n2")], line=["n3"])
    assert found(view, "n1") == ["id-n1", "id-other"]
    assert found(view, "id-n1") == ["id-n1"]
    assert found(view, "n2") == ["id-n2"]
    assert found(view, "n3") == ["id-n3"]
    assert found(view, "id-o") == ["id-other"]
    assert found(view, "id-") == []
    assert found(view, "nobody") == []


def found(view, name):
    return [match.machine_id for match in find(view, name)]


def test_the_table_shows_what_is_lost_first_and_then_the_line():
    view = group(
        idle("n5"),
        wanting("n4"),
        replace(wanting("n2"), state=states.REBOOTING, code=""),
        claims=[rebooting("n2"), rebooting("n1"), by_hand("rack")],
        bare=["id-go"],
        line=["n4"],
        slots=4,
    )
    _, head, *lines = layout(view, NOW, 80)
    assert head.split() == ["MACHINE", "STATE", "FOR", "WINDOW", "WHY"]
    assert [line.split()[:2] for line in lines] == [
        ["n1", "LOST"],
        ["rack", "manual"],
        ["n2", "rebooting"],
        ["id-go", "legacy"],
        ["n4", "queued"],
        ["n5", "idle"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert summary(view, NOW) == "group db: 4 of 4 slots held, 1 queued, 3 present, 1 LOST, HALTED"


def test_names_that_are_not_unique_show_the_ids():
    view = group(idle("n1"), replace(idle("n1"), machine_id="0123456789abcdef"))
    assert [line.split()[:2] for line in layout(view, NOW, 80)[2:]] == [["n1", "id-n1"], ["n1", "01234567"]]


@pytest.mark.slow
def test_ten_thousand_machines_make_a_table():
    view = group(*(idle(f"n{number}") for number in range(10_000)))
    assert len(layout(view, NOW, 80)) == 10_002


def test_a_rollout_as_it_is_seen():
    seen = Rollout()
    before = group(wanting("n1"), wanting("n2"), idle("n3"), line=["n1", "n2"])
    seen.observe(before, NOW)
    assert (len(seen.wanted), seen.share_done) == (2, 0)
    down = group(wanting("n1"), wanting("n2"), idle("n3"), claims=[rebooting("n1", 0)], line=["n2"])
    seen.observe(down, NOW)
    back = group(idle("n1"), wanting("n2"), idle("n3"), line=["n2"])
    seen.observe(back, NOW + timedelta(seconds=30))
    assert [(one.name, one.took) for one in seen.last] == [("n1", timedelta(seconds=30))]
    assert seen.share_done == 0.5


def test_a_reboot_that_was_called_off_is_not_done():
    seen = Rollout()
    seen.observe(group(wanting("n1"), claims=[rebooting("n1", 0, state=HELD)]), NOW)
    seen.observe(group(wanting("n1", code="window")), NOW + timedelta(seconds=5))
    assert seen.last == []
    seen.observe(group(idle("n1")), NOW + timedelta(seconds=9))
    assert [one.name for one in seen.last] == ["n1"]


texts = st.text(max_size=12)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - aware by it
ids = st.sampled_from(["a", "b", "c"])
nodes = st.builds(
    Node,
    ids,
    *(texts,) * 4,
    state=st.sampled_from(states.ALL) | texts,
    since=moments,
    code=st.sampled_from(["", "queue", "window", "retry", "dry_run", "clone", "other_claim"]) | texts,
    reason=texts,
    until=st.none() | moments,
    need=st.sampled_from(["", "operator", "update-engine"]) | texts,
    need_version=texts,
    need_since=st.none() | moments,
    window_opens=st.none() | moments,
    window_closes=st.none() | moments,
    clone=texts,
)
claims = st.builds(
    Claim, ids, st.sampled_from([REBOOT, MANUAL, "fleetlock"]), texts, moments, *(texts,) * 4, taken=st.none() | moments
)
waiters = st.builds(Waiter, ids, st.sampled_from([REBOOT, MANUAL]), texts, moments, texts, texts, texts)


held = st.dictionaries(ids, st.none() | claims | st.just(CorruptValueError("k", "bad")), max_size=3)


@st.composite
def views(draw) -> GroupView:
    records = draw(held)
    semaphore = Semaphore(draw(st.integers(-2, 4)), tuple(sorted(records)))
    present = {node.machine_id: node for node in draw(st.lists(nodes, max_size=3))}
    return GroupView("g", semaphore, records, tuple(draw(st.lists(waiters, max_size=3))), present)


@given(views(), ids, moments)
def test_whatever_stands_there_there_is_an_answer_and_a_table(view, machine_id, now):
    assert all(one_line(sentence).isprintable() for sentence in explain(case(view, machine_id, now)))
    assert all(text.isprintable() for text in layout(view, now, 80))
    Rollout().observe(view, now)


def test_a_machine_that_came_up_sick_halts_its_group_until_an_operator_has_looked():
    claim = rebooting("n2").gone_wrong("unhealthy", "x.service has failed")
    view = group(wanting("n1"), idle("n2"), claims=[claim], slots=2)
    assert any(
        sentence.startswith(
            "Group db is HALTED: n2 is unhealthy: x.service has failed. No machine in the group will reboot."
        )
        for sentence in told(view, "n1")
    )
    assert summary(view, NOW).endswith("1 UNHEALTHY, HALTED")
    assert layout(view, NOW, 80)[2].split()[:2] == ["n2", "UNHEALTHY"]
    seen = replace(claim, acknowledged="by alice")
    calm = group(wanting("n1"), idle("n2"), claims=[seen], slots=2)
    assert not any("HALTED" in sentence for sentence in told(calm, "n1"))


def test_orders_of_operators_are_said_with_the_way_out():
    order = Order("alice", NOW, "the database moves")
    view = replace(group(wanting("n1")), freeze=order, holds={"id-n1": order})
    said = told(view, "n1")
    assert "Group db is frozen by alice since 03:00: the database moves. `locksmithctl thaw` ends that." in said
    assert "It is held back by alice since 03:00: the database moves. `locksmithctl unhold n1` ends that." in said
    assert "FROZEN by alice" in summary(view, NOW)


def test_the_others_hear_why_the_first_in_the_queue_takes_no_slot():
    reason = "no etcd endpoint could be used: http://10.0.0.9:2379 does not answer"
    first = wanting("n2", code="store", reason=reason)
    view = group(wanting("n7"), first, line=["n2", "n7"])
    assert f"n2 is first in the queue and cannot take a slot: {reason}." in told(view, "n7")
    assert "cannot take a slot" in "\n".join(layout(view, NOW, 200))


def test_the_others_hear_who_left_the_queue_and_until_when():
    until = NOW + timedelta(minutes=5)
    away = wanting("n2", code="take_fails", reason="its attempts to take a slot fail: no route to host", until=until)
    view = group(wanting("n7"), away, line=["n7"])
    words = "left the queue until 03:05"
    assert any(f"n2 cannot take a slot, and {words}" in line for line in told(view, "n7"))
    own = told(view, "n2")
    assert any(f"It {words}: its attempts to take a slot fail: no route to host." in line for line in own)


def test_the_end_of_a_wait_for_a_window_has_the_machines_own_moment():
    opens = NOW + timedelta(hours=20)
    node = wanting("n1", code="window", reason="outside the reboot window", until=opens)
    node = replace(node, window_opens=opens, window_moment=opens + timedelta(minutes=17))
    said = "It waits for its window, which opens at 23:00; its own moment in that window is 23:17 (window.splay)."
    assert told(group(node), "n1")[1] == said
    assert explain_alone(node, NOW)[1] == said
    short = replace(node, window_moment=None, reason="too little of the reboot window is left")
    assert explain_alone(short, NOW)[1] == (
        "It waits for its window, which opens at 23:00: too little of the reboot window is left."
    )


@pytest.mark.parametrize("code", ["queue", "clone", "freeze", "halt", "take_fails"])
def test_alone_a_machine_says_what_else_its_group_would_say(code):
    said = explain_alone(wanting("n1", code=code, reason="the reason"), NOW)
    assert any("the reason" in sentence for sentence in said)
    assert not any("resume" in sentence for sentence in explain_alone(replace(idle("n1"), state="unhealthy"), NOW))


def going_down(name: str, minutes: int, **changes) -> Node:
    began = NOW - timedelta(minutes=minutes)
    down = {"state": states.REBOOTING, "code": "rebooting", "since": began, "written": began, "lasts": 1500}
    return replace(idle(name), **{**down, **changes})


def test_a_machine_that_exceeds_its_limit_is_overdue_with_the_time_when_it_is_lost():
    view = group(going_down("n2", 11), wanting("n1"), claims=[rebooting("n2", 660)], line=["n1"], at=NOW)
    words = "lost at 03:14 unless it is back, as its reboot takes longer than reboot.limit (10 min)"
    assert told(view, "n2")[0].endswith(f" It is OVERDUE: {words}. Inspect the machine.")
    assert f"n2 has held the slot for 11 min (OVERDUE: {words})." in told(view, "n1")[1]
    assert "1 OVERDUE" in summary(view, NOW)
    assert layout(view, NOW, 120)[2].split()[:2] == ["n2", "OVERDUE"]
    assert "HALTED" not in summary(view, NOW)


@pytest.mark.parametrize(
    ("node", "how"),
    [
        (going_down("n2", 9), HolderKind.REBOOTING),
        (going_down("n2", 11, lasts=900), HolderKind.REBOOTING),
        (going_down("n2", 0, state=states.STUCK, reason="a job hangs"), HolderKind.OVERDUE),
        (going_down("n2", 11, state=states.WAITING, code="operator"), HolderKind.OVERDUE),
        (going_down("n2", 11, state=states.VERIFYING, lasts=900), HolderKind.VERIFYING),
        (going_down("n2", 11, state=states.RELEASING, lasts=900), HolderKind.VERIFYING),
    ],
)
def test_the_state_of_a_holder_follows_what_its_machine_shows(node, how):
    [held] = holder_statuses(group(node, claims=[rebooting("n2", 660)], at=NOW))
    assert held.how is how


def test_an_operators_reboot_is_said_of_a_machine_whose_daemon_did_not_note_it():
    view = group(idle("n2"), claims=[rebooting("n2", who="alice")])
    assert told(view, "n2") == ["n2 has been rebooting for 41 s: alice ordered it (update-engine 4081.2.0)."]


@pytest.mark.parametrize("who", ["alice", DAEMON])
def test_no_unlock_is_suggested_for_a_daemon_that_stopped_for_a_reboot(who):
    view = group(idle("n2"), claims=[rebooting("n2", who=who)])
    [said] = explain_stopped(case(view, "id-n2", NOW), "n2")
    assert said.startswith("n2 holds a slot for its reboot: n2 for 41 s (rebooting). Its locksmithd releases the slot")
    assert "unlock" not in said


def test_a_machine_under_health_checks_is_verifying_with_the_cause_that_fails():
    node = going_down("n2", 1, state=states.VERIFYING, reason="rebooted, and not healthy yet: web.service has failed")
    view = group(node, wanting("n1"), claims=[rebooting("n2")], line=["n1"], at=NOW)
    words = "verifying: rebooted, and not healthy yet: web.service has failed"
    assert f"n2 has held the slot for 41 s ({words})." in told(view, "n1")[1]
    line = layout(view, NOW, 120)[2]
    assert line.split()[:2] == ["n2", "verifying"]
    assert "web.service has failed" in line


def client(name: str, state: str = COMMITTED) -> Claim:
    return replace(rebooting(name, who=SERVER, state=state), kind=FLEETLOCK, reason="FleetLock")


def test_a_client_is_explained_as_a_machine_is_and_by_what_it_does_itself():
    shown = replace(
        idle("n1"),
        strategy=FLEETLOCK,
        state=states.REBOOTING,
        since=NOW - timedelta(minutes=20),
        written=NOW - timedelta(minutes=20),
        lasts=1800,
        need=FLEETLOCK,
        need_since=NEEDED,
        need_reasons=("its client asks for it by FleetLock",),
    )
    view = replace(group(shown, claims=[client("n1")]), at=NOW)
    assert explain(case(view, "id-n1", NOW)) == [
        "n1 needs a reboot (since 02:14): its client asks for it by FleetLock.",
        (
            "n1 has been rebooting for 20 min. It is OVERDUE: lost at 03:10 unless it is back, as its reboot takes "
            "longer than its limit (15 min). Inspect the machine."
        ),
    ]
    lost = explain(case(group(claims=[client("n1")]), "id-n1", NOW))
    assert "n1 is LOST" in lost[0]
    assert "Inspect the machine: its FleetLock client releases the slot when it is up." in lost[0]
    assert "is HALTED: n1 is lost: it has not come back." in lost[1]


def test_a_client_in_the_queue_is_no_machine_that_lacks_its_presence():
    view = replace(group(claims=[rebooting("n2")]), waiters=(waiter("n1", FLEETLOCK),))
    first, *_ = explain(case(view, "id-n1", NOW))
    assert first == "n1 is a FleetLock client in the queue of group db. It keeps its place while it calls."

"""A freeze of a group that is not in use, and orders to every group: on real etcd, v2 and v3."""

import json
import uuid

import pytest

from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from tests.contract.fleets import Fleet, api, ctl, fleet, root
from tests.harness.asked import asked
from tests.harness.ctl import Ctl
from tests.harness.etcd import WHEEL, Etcd

__all__ = ["api", "ctl", "fleet", "root"]


@pytest.fixture(scope="module")
def own_etcd():
    """An etcd whose groups are those of one test alone."""
    with Etcd(WHEEL, v2=True) as etcd:
        yield etcd


@pytest.fixture
def wheel_etcd(own_etcd):
    """All groups of earlier tests have gone."""

    async def clear(store):
        for entry in (await store.list(f"{keys.ROOT}/")).entries:
            await store.delete(entry.key, entry.version)

    for version in (2, 3):
        Fleet(own_etcd, version, "")(clear)
    return own_etcd


@pytest.fixture
def others(wheel_etcd, api):
    """The groups `web` and `db`, with a machine each."""
    found = {name: Fleet(wheel_etcd, api, name) for name in ("web", "db")}
    for name, one in found.items():
        one.present(f"{name}1")
    return found


@pytest.fixture
def at(ctl, others):
    """Give the tool with the flags of a group; None: with no flag for it."""
    flags = [flag for flag in others["web"].flags if not flag.startswith("-group")]

    def tool(group: str | None) -> Ctl:
        return Ctl(ctl._monkeypatch, ctl._capfd, *flags, *([] if group is None else [f"-group={group}"]))

    return tool


def in_use(ctl) -> list[str]:
    return [one["group"] for one in json.loads(ctl("groups", "--json").out)["groups"]]


def test_a_typo_freezes_nothing_and_names_the_group_that_was_meant(at):
    line = at("wbe").fails("freeze", "--reason", "the database moves")
    assert "nothing has locked in group wbe, and no machine of it is present; did you mean web?" in line
    assert line.endswith("did you mean web? Nothing was done: to freeze it all the same, use --yes")
    assert in_use(at("web")) == ["db", "web"]


@pytest.mark.parametrize("command", ["nodes", "history"])
def test_an_empty_view_of_a_typo_names_the_group_that_was_meant(at, command):
    ended = at("wbe")(command)
    assert (ended.status, "no machine of it is present; did you mean web?" in ended.err) == (0, True), ended
    assert "did you mean" not in at("web")(command).err


def test_without_a_name_like_it_the_groups_are_listed(at):
    assert "in use are: db and web" in at("payments").fails("freeze", "--reason", "x")
    assert "in use are: db and web" in at("").fails("freeze", "--reason", "x")


def test_a_group_that_only_a_freeze_made_goes_with_its_end(at):
    ended = at("wbe")("freeze", "--reason", "x", "--yes")
    assert (ended.status, "Warning: nothing has locked in group wbe" in ended.err) == (0, True)
    assert in_use(at("web")) == ["db", "wbe", "web"]
    assert "no longer frozen" in at("wbe")("thaw").out
    assert in_use(at("web")) == ["db", "web"]
    assert "did you mean web?" in at("wbe")("thaw").err
    acts = [event["act"] for event in json.loads(at("wbe")("history", "--json").out)["events"]]
    assert acts == ["freeze", "thaw"]


def test_a_group_whose_freeze_ends_by_itself_goes_too(at, others):
    assert at("wbe")("freeze", "--reason", "x", "--yes", "--for", "1h").status == 0

    async def expires(store):
        entry = (await store.get(keys.freeze_key("wbe"))).entry
        await store.delete(entry.key, entry.version)

    others["web"](expires)
    assert in_use(at("web")) == ["db", "web"]


@pytest.mark.parametrize(("answer", "status", "groups"), [("y", 0, 3), ("n", 1, 2)])
def test_on_a_terminal_it_asks(at, answer, status, groups):
    with asked(at("wbe").flags, "freeze", "--reason", "x") as tool:
        tool.asks("did you mean web?")
        tool.answer(answer)
        assert tool.ends() == status
    assert len(in_use(at("web"))) == groups


def test_a_legacy_freeze_needs_a_number_of_slots(at):
    assert "no number of slots yet" in at("wbe").fails("freeze", "--reason", "x", "--legacy", "--yes")
    assert in_use(at("web")) == ["db", "web"]


def test_a_group_of_legacy_nodes_is_in_use(at, others):
    bare = semaphore.encode(Semaphore())
    others["web"](lambda store: store.create(keys.semaphore_key("go"), bare))
    assert at("go")("freeze", "--reason", "x").status == 0
    assert at("go")("thaw").status == 0
    assert "go" in in_use(at("go"))


def test_a_hold_makes_no_group_either(at):
    machine = uuid.uuid4().hex
    assert at("wbe")("hold", machine, "--reason", "x").status == 0
    assert at("wbe")("unhold", machine).status == 0
    assert in_use(at("web")) == ["db", "web"]


def test_the_first_take_of_a_group_loses_behind_its_freeze(at, others):
    """A machine that is there may be about to take the first slot: the fence makes the semaphore."""
    assert at("db")("freeze", "--reason", "x").status == 0
    reading = others["db"](lambda store: store.get(keys.semaphore_key("db")))
    assert reading.entry is not None


def test_every_group_is_frozen_and_thawed_at_once(at):
    assert at("db")("freeze", "--reason", "the database moves").status == 0
    tool = at(None)
    ended = tool("freeze", "--all-groups", "--reason", "the network moves", "--for", "2h")
    assert ended.status == 0
    first, second = ended.out.splitlines()
    assert first.startswith("group db is frozen, by ")
    assert first.endswith("the database moves: that stays")
    assert second.startswith("group web is frozen until ")
    groups = json.loads(tool("groups", "--json").out)["groups"]
    assert [one["freeze"]["reason"] for one in groups] == ["the database moves", "the network moves"]

    ended = tool("thaw", "--all-groups", "--reason", "done")
    assert [line.partition(";")[0] for line in ended.out.splitlines()] == [
        "group db is no longer frozen",
        "group web is no longer frozen",
    ]
    assert tool("thaw", "--all-groups").out == "nothing to end: no group is frozen\n"


def test_a_freeze_of_all_never_shortens_and_lengthens_where_it_lasts_longer(at):
    tool = at(None)
    assert at("db")("freeze", "--reason", "short", "--for", "1h").status == 0
    fields = json.loads(tool("freeze", "--all-groups", "--reason", "long", "--json").out)
    assert [(one["group"], one["kept"], one["freeze"]["reason"]) for one in fields["groups"]] == [
        ("db", False, "long"),
        ("web", False, "long"),
    ]
    assert fields["groups"][0]["replaced"]["reason"] == "short"


def test_a_group_that_fails_stops_no_other(at, others):
    tool = at(None)
    others["db"](lambda store: store.create(keys.semaphore_key("db"), b"rubbish"))
    ended = tool("freeze", "--all-groups", "--reason", "x")
    assert (ended.status, ended.out) == (1, "group web is frozen\n")
    assert "not done in group db: " in ended.err
    assert ended.err.splitlines()[-1] == "Error: the order failed in 1 of 2 groups, as said above"


def test_all_groups_and_a_group_are_bad_usage(at):
    for command in (["freeze", "--reason", "x"], ["thaw"]):
        assert "name no group with it" in at("web").fails(*command, "--all-groups", status=2)

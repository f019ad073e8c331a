"""`locksmithctl import-airlock` on real etcd: the tool takes over what airlock has written."""

import json
import shlex
from base64 import b64encode

import pytest
from click.testing import CliRunner

from locksmith.cli.commands import import_airlock as command
from locksmith.cli.main import PROGRAM, locksmithctl
from locksmith.lock.records import airlock, keys, node, semaphore
from locksmith.lock.records.semaphore import Semaphore
from tests.contract.airlock_site import Site
from tests.harness.airlock import Airlock, AirlockError, written
from tests.harness.asked import asked
from tests.harness.ctl import Ctl, flags_for
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.suggested import commands_in


@pytest.fixture
def ctl(monkeypatch, capfd, wheel_etcd, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("ops\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "alice")
    return Ctl(monkeypatch, capfd, *flags_for(wheel_etcd))


@pytest.fixture
def site(wheel_etcd, ctl):
    return Site(wheel_etcd, ctl)


def test_a_group_is_taken_over_with_its_holders(site):
    site.put(written(2, "a1", "b2"))
    ended = site.run("--yes", "--reason", "goodbye")
    assert (ended.status, ended.out) == (0, f"imported {site.group}: max 2, held by a1, b2\n")
    assert "airlock grants no slot there any more" in ended.err
    assert site.there() == b'{"total_slots":0,"holders":[]}'
    assert site.here() == Semaphore(2, ("a1", "b2"))
    [a1, _] = json.loads(site.ctl(f"-group={site.group}", "status", "--json").out)["holders"]
    claim = a1["claim"]
    assert (claim["kind"], claim["who"], claim["state"]) == ("fleetlock", "locksmith-server", "committed")
    told = json.loads(site.ctl(f"-group={site.group}", "nodes", "--json").out)
    assert [one["how"] for one in told["holders"]] == ["rebooting", "rebooting"]
    assert (told["lost"], told["overdue"], told["incidents"], told["problems"]) == (0, 0, [], [])
    [event] = json.loads(site.ctl(f"-group={site.group}", "history", "--json").out)["events"]
    assert (event["act"], event["who"], event["host"]) == ("import-airlock", "alice", "ops")
    assert (event["reason"], event["detail"]) == ("goodbye", "max 2, held by a1, b2")
    assert site.ctl(f"-group={site.group}", "history").status == 0


@pytest.mark.parametrize(("configured", "seconds"), [(None, 15 * 60), ("1h", 3600)])
def test_a_holder_has_as_long_as_each_client_of_its_group(site, tmp_path, configured, seconds):
    if configured:
        (tmp_path / "etc/locksmith").mkdir()
        group = f'[server.groups."{site.group}"]\nclients = ["10.0.0.0/8"]\nlimit = "{configured}"\n'
        (tmp_path / "etc/locksmith/locksmith.toml").write_text(group)
    site.put(written(2, "a"))
    assert site.run("--yes").status == 0
    assert json.loads(site.get(keys.node_key(site.group, "a")))["lasts"] == seconds + node.TTL


def test_twice_is_as_once(site):
    site.put(written(1, "a"))
    assert site.run("--yes").status == 0
    revision = site.play(lambda store: store.get("x")).revision
    again = site.run()  # there is nothing to ask
    assert again.status == 0
    assert again.out.startswith(f"{site.group}: it was imported by alice@ops at ")
    assert site.play(lambda store: store.get("x")).revision == revision


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(site):
    site.put(written(2, "a"))
    ended = site.run("--dry-run")
    assert (ended.status, ended.out) == (0, f"{site.group}: max 2, held by a\n")
    assert site.there() == written(2, "a")
    assert site.here() is None


def test_without_a_terminal_it_needs_a_yes(site):
    site.put(written(2, "a"))
    assert "no terminal" in site.fails(status=2)
    assert site.here() is None


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (None, "airlock has no semaphore of it"),
        (b"rubbish", "not a semaphore of airlock: not JSON"),
        (written(0), "total_slots is 0"),
        (written(1, "a", "b"), "has 2 holders and 1 slots"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_stays(site, there, why):
    if there is not None:
        site.put(there)
    said = site.fails("--yes")
    assert why in said
    assert "nothing was imported" in said
    assert (site.there(), site.here()) == (there, None)


@pytest.mark.parametrize("group", ["a b", "..", ""])
def test_a_name_that_fleetlock_forbids_is_refused(ctl, group):
    assert "FleetLock allows no group of this name" in ctl.fails("import-airlock", "--yes", "--", group)


def test_holders_of_other_machines_are_never_overwritten(site):
    site.put(written(2, "a"))
    site.put(semaphore.encode(Semaphore(2, ("go-1",))), key=keys.semaphore_key(site.group))
    assert "not by the same machines (go-1)" in site.fails("--yes")
    assert site.here() == Semaphore(2, ("go-1",))


def test_without_holders_says_what_that_means(site):
    site.put(written(2, "a"))
    ended = site.run("--without-holders", "--yes", "--leave-airlock")
    assert (ended.status, ended.out) == (
        0,
        f"imported {site.group}: max 2; not taken over: a; airlock was left as it is\n",
    )
    assert "Warning: airlock's semaphores are as they were" in ended.err
    assert site.here() == Semaphore(2)
    assert site.there() == written(2, "a")
    shown = site.run("--dry-run").out
    assert "it was imported by" in shown


def test_an_airlock_that_still_runs_is_noticed_and_grants_nothing(site):
    site.put(written(2, "a"))
    assert site.run("--yes").status == 0

    async def story(store):
        server = Airlock(store, site.group, 2)
        for client in ("a", "b"):
            with pytest.raises(AirlockError):
                await server.pre_reboot(client)
            await server.steady_state(client)

    site.play(story)
    assert site.run().status == 0
    site.put(written(2, "c"))
    assert "airlock's semaphore was written since (total_slots is 2, held by c): stop airlock" in site.fails("--yes")


def test_the_groups_are_found_and_one_that_is_refused_stops_all(monkeypatch, capfd, tmp_path):
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    with Etcd(WHEEL) as etcd:
        ctl = Ctl(monkeypatch, capfd, *flags_for(etcd))
        site = Site(etcd, ctl)
        nothing = ctl("import-airlock")
        assert (nothing.status, nothing.out[:18]) == (0, "nothing to import:")
        for group, value in (("web", written(1)), ("db", written(2, "x")), ("a b", written(1)), ("old", b"{}")):
            site.put(value, group)
        ended = ctl("import-airlock", "--yes")
        assert (ended.status, ended.out) == (1, "")
        assert "a b: FleetLock allows no group of this name" in ended.err
        assert "group old cannot be imported" in ended.err
        assert "`locksmithctl -endpoint=" in ended.err
        assert "import-airlock db web` leaves it out" in ended.err
        assert (site.here("web"), site.here("db")) == (None, None)
        [command] = [one for one in commands_in(ended.err) if "import-airlock" in one]
        with asked([], *shlex.split(command)[1:]) as call:  # pasted, in a terminal
            call.asks("Import these two groups, and close airlock's semaphore?")
            call.answer("y")
            assert call.ends() == 0
        done = json.loads(ctl("import-airlock", "db", "web", "--json").out)
        assert done["problems"] == []
        assert [(one["group"], one["outcome"], one["max"], one["holders"]) for one in done["groups"]] == [
            ("db", "done", 2, [{"id": "x"}]),
            ("web", "done", 1, []),
        ]
        site.put(written(3, "y"), "late")
        [imported] = json.loads(ctl("import-airlock", "late", "--yes", "--json").out)["groups"]
        assert imported == {
            "group": "late",
            "outcome": "import",
            "max": 3,
            "old_max": None,
            "holders": [{"id": "y"}],
            "left_out": [],
            "closes": True,
            "why": None,
        }
        assert [line.split()[0] for line in ctl("groups").out.splitlines()] == ["GROUP", "db", "late", "web"]


def test_a_shell_offers_airlocks_groups(site, monkeypatch):
    site.put(written(1))
    monkeypatch.setenv("LOCKSMITHCTL_ENDPOINT", ",".join(site.etcd.endpoints))
    words = f"locksmithctl import-airlock {site.group[:12]}"
    asked = {"_LOCKSMITHCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
    ended = CliRunner().invoke(locksmithctl, [], prog_name=PROGRAM, env=asked)
    assert ended.stdout.strip().splitlines() == [f"plain,{site.group}"]


def test_the_v2_api_has_nothing_of_airlock(ctl):
    said = ctl.fails("-etcd-api=2", "import-airlock", status=2)
    assert "airlock keeps its semaphores on etcd's v3 API" in said


def test_missing_rights_name_the_prefix(monkeypatch, capfd, tmp_path):
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    with Etcd(WHEEL, auth=True) as etcd:
        ctl, root = Ctl(monkeypatch, capfd, *flags_for(etcd)), etcd.root_token()

        def encoded(text):
            return b64encode(text.encode()).decode()

        def allow(kind):
            below = {
                "permType": kind,
                "key": encoded("com.coreos.airlock/groups/"),
                "range_end": encoded("com.coreos.airlock/groups0"),
            }
            etcd.call("/v3/auth/role/grant", root, name="locksmith", perm=below)

        def refused(*args):
            said = ctl.fails("import-airlock", *args)
            assert "permission denied" in said
            assert "--prefix=true readwrite com.coreos.airlock/groups/" in said

        value = encoded(written(1, "a").decode())
        for group in ("default", "web"):
            etcd.call("/v3/kv/put", root, key=encoded(airlock.semaphore_key(group)), value=value)
        refused()
        refused("default", "--dry-run")
        allow("READ")
        assert ctl("import-airlock", "--dry-run").status == 0
        refused("default", "--yes")
        assert ctl("-group=default", "status", "--json").out.count('"id"') == 0
        assert json.loads(ctl("-group=default", "nodes", "--json").out)["present"] == 0  # no trace of what was refused
        assert ctl("import-airlock", "--leave-airlock", "default", "--yes").status == 0
        allow("READWRITE")
        assert ctl("import-airlock", "web", "--yes").status == 0


@pytest.mark.parametrize("answer", [True, False])
def test_what_airlock_writes_while_the_question_stands_is_seen(site, monkeypatch, answer):
    site.put(written(2, "a"))

    def asked(question):
        assert question == "Import this group, and close airlock's semaphore?"
        site.play(lambda store: Airlock(store, site.group, 2).pre_reboot("b"))
        return answer

    monkeypatch.setattr(command, "can_ask", lambda: True)
    monkeypatch.setattr(command, "ask", asked)
    said = site.fails()
    assert ("so it still runs: stop it; nothing was imported" in said) == answer
    assert ("not confirmed; nothing was imported" in said) != answer
    assert (site.there(), site.here()) == (written(2, "a", "b"), None)


def test_the_question_names_whose_slots_are_free_at_once(site, monkeypatch, capfd):
    site.put(written(2, "a"))
    said = []

    def asked(question):
        said.append((question, capfd.readouterr().err))
        return True

    monkeypatch.setattr(command, "can_ask", lambda: True)
    monkeypatch.setattr(command, "ask", asked)
    assert site.run("--without-holders", "--leave-airlock").status == 0
    [(question, before)] = said
    assert question == "Import this group?"
    assert "Warning: these have slots at airlock, and get none here: a." in before


def test_what_an_airlock_that_runs_could_still_do_is_said_before_the_question(site, monkeypatch, capfd):
    """It makes the semaphore of a group that has none, whenever that is."""
    site.put(written(2, "a"))
    said = []

    def refuses(_question):
        said.append(capfd.readouterr().err)
        return False

    monkeypatch.setattr(command, "can_ask", lambda: True)
    monkeypatch.setattr(command, "ask", refuses)
    said.append(site.run("--dry-run").err)
    assert "not confirmed; nothing was imported" in site.fails()
    assert len(said) == 2
    assert all("makes the semaphore of each group of its configuration that has none" in one for one in said)
    assert all("`pkill --exact airlock`" in one for one in said)
    new = f"{site.group}-new"
    site.play(lambda store: Airlock(store, new, 2).pre_reboot("b"))
    assert site.there(new) == written(2, "b")

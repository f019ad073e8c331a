"""`locksmithctl` against real etcd: the original's output byte for byte, and one sentence for whatever goes wrong."""

import asyncio
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.connect import open_store
from locksmith.util import records
from tests.harness import dead_endpoints
from tests.harness.certificates import Authority
from tests.harness.ctl import Ctl, flags_for, plain
from tests.harness.etcd import WHEEL, Etcd, Tls
from tests.harness.ports import free_ports

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"


@pytest.fixture
def group():
    return f"g {uuid.uuid4()}"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """This machine: a folder with its id; and nothing of the test's own environment."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(f"{MACHINE}\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "alice")
    for name in [name for name in os.environ if name.startswith(("LOCKSMITHCTL_", "LOCKSMITHD_", "REBOOT_"))]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(params=[3, 2], ids=["v3", "v2"])
def api(request):
    return request.param


@pytest.fixture
def ctl(monkeypatch, capfd, wheel_etcd, api, group):
    return Ctl(monkeypatch, capfd, *flags_for(wheel_etcd, api=api, group=group))


@pytest.fixture
def lock(wheel_etcd, api, group):
    return Direct(wheel_etcd, api, group)


class Direct:
    """The same lock, reached without the tool."""

    def __init__(self, etcd: Etcd, api: int, group: str) -> None:
        self._settings = etcd.settings(api=api)
        self._group = group
        self.key = keys.semaphore_key(group)

    def put(self, value: bytes, key: str = "") -> None:
        async def story(store):
            key_ = key or self.key
            await store.swap(key_, value, (await store.get(key_)).version)

        self._with_store(story)

    def raw(self) -> bytes | None:
        async def story(store):
            return (await store.get(self.key)).entry

        entry = self._with_store(story)
        return entry.value if entry else None

    def take(self, claim: Claim, *, commit: bool = False) -> None:
        async def story(store):
            lock = RebootLock(store, self._group, clock=lambda: claim.since)
            await lock.take(claim)
            if commit:
                await lock.commit(claim)

        self._with_store(story)

    def _with_store(self, story):
        async def scene():
            store = open_store(self._settings)
            try:
                return await story(store)
            finally:
                await store.close()

        return asyncio.run(scene())


def reboot_claim(holder: str) -> Claim:
    since = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
    return Claim(
        holder, REBOOT, "nonce", since, who="locksmithd", hostname="node-2", version="4459.2.0", reason="update"
    )


def test_the_status_of_a_fresh_lock_writes_nothing(ctl, lock, group):
    named = f"(group {group})\n"
    ended = ctl("status")
    assert (ended.status, ended.out, ended.err) == (0, "Available: 1\nMax: 1\n", named)
    assert lock.raw() is None


def test_the_holders_stand_below_an_empty_line(ctl, lock):
    lock.put(semaphore.encode(Semaphore(1, ("b", "a"))))
    assert ctl("status").out == "Available: -1\nMax: 1\n\nMACHINE ID\na\nb\n"


def test_status_as_json_says_why_each_holds(ctl, lock, group):
    ctl("set-max", "3")
    lock.take(reboot_claim("n2"), commit=True)
    ctl("lock", "n1", "-reason", "disk <swap>")
    lock.put(semaphore.encode(Semaphore(3, ("bare", "n1", "n2"))))
    status = json.loads(ctl("status", "--json").out)
    since = status["holders"][1]["claim"].pop("since")
    assert records.parse_moment(since) <= datetime.now(UTC)
    assert status == {
        "schema": 1,
        "group": group,
        "available": 0,
        "max": 3,
        "share": None,
        "holders": [
            {"id": "bare", "claim": None},
            {
                "id": "n1",
                "claim": {
                    "kind": "manual",
                    "who": "alice",
                    "hostname": os.uname().nodename,
                    "state": "held",
                    "reason": "disk <swap>",
                    "version": "",
                },
            },
            {
                "id": "n2",
                "claim": {
                    "kind": "reboot",
                    "who": "locksmithd",
                    "hostname": "node-2",
                    "since": "2026-05-01T02:10:00Z",
                    "state": "committed",
                    "reason": "update",
                    "version": "4459.2.0",
                },
            },
        ],
    }


def test_a_record_that_cannot_be_read_is_a_problem_of_its_holder_alone(ctl, lock, group):
    lock.put(semaphore.encode(Semaphore(1, ("n1",))))
    lock.put(b"rubbish", keys.holder_key(group, "n1"))
    assert ctl("status").out == "Available: 0\nMax: 1\n\nMACHINE ID\nn1\n"
    [holder] = json.loads(ctl("status", "--json").out)["holders"]
    assert holder["claim"] is None
    assert "not a holder's record" in holder["problem"]
    assert ctl("unlock", "n1").status == 0
    assert ctl("status").out == "Available: 1\nMax: 1\n"


def test_set_max_tells_the_number_before(ctl, lock, group):
    assert ctl("set-max", "4").out == "Old-Max: 1\nMax: 4\n"
    assert lock.raw() == b'{"semaphore":4,"max":4,"holders":null}'
    fields = {"schema": 1, "group": group, "old_max": 4, "max": 2, "share": None}
    assert json.loads(ctl("set-max", "--json", "2").out) == fields


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "1.5", "9223372036854775808", "٣"])
def test_set_max_refuses_what_is_no_number_of_slots(ctl, lock, number):
    assert "max must be at least 1" in ctl.fails("set-max", number, status=2)
    assert lock.raw() is None


def test_a_max_of_zero_that_a_go_node_wrote_is_shown_and_repaired_by_set_max(ctl, lock):
    lock.put(b'{"semaphore":0,"max":0,"holders":null}')
    assert ctl("status").out == "Available: 0\nMax: 0\n"
    assert "max is 0" in ctl.fails("lock", "n1")
    assert ctl("set-max", "1").out == "Old-Max: 0\nMax: 1\n"


def test_this_machine_is_locked_where_none_is_named(ctl, lock):
    ended = ctl("lock", "--reason", "disk swap")
    assert (ended.status, ended.out) == (0, "")
    assert f"{MACHINE} is held manually by alice since " in ended.err
    assert lock.raw() == b'{"semaphore":0,"max":1,"holders":["%s"]}' % MACHINE.encode()
    ended = ctl("unlock")
    assert (ended.status, ended.out) == (0, "")
    assert f"unlocked {MACHINE}, which was held manually by alice since " in ended.err
    assert ": disk swap" in ended.err
    assert lock.raw() == b'{"semaphore":1,"max":1,"holders":null}'


def test_locking_by_hand_again_is_no_error_and_changes_nothing(ctl, monkeypatch):
    ctl("lock", "n1", "--reason", "disk swap")
    before = json.loads(ctl("status", "--json").out)
    monkeypatch.setenv("SUDO_USER", "bob")
    ended = ctl("lock", "n1", "--reason", "fan")
    assert ended.status == 0
    assert "n1 was locked already: held manually by alice since " in ended.err
    assert json.loads(ctl("lock", "n1", "--json").out)["already"] is True
    assert json.loads(ctl("status", "--json").out) == before


def test_locking_over_a_daemons_claim_says_whose_it_is(ctl, lock):
    lock.take(reboot_claim("n2"))
    assert "n2 is held by node-2 for its reboot since 2026-05-01T02:10:00Z: update" in ctl.fails("lock", "n2")


def test_locking_over_an_id_without_a_record_names_the_ways_out(ctl, lock):
    lock.put(semaphore.encode(Semaphore(2, ("n1",))))
    assert "`locksmithctl unlock n1` frees it" in plain(ctl.fails("lock", "n1"))
    assert "without a record" in ctl("unlock", "n1").err


def test_a_full_lock_names_who_holds_it(ctl):
    ctl("lock", "n1")
    assert "no slot is free: max is 1, held by n1" in ctl.fails("lock", "n2")


def test_unlocking_what_is_not_held_is_an_error(ctl, lock, group):
    where = f"group {group}" if group else "the default group"
    assert ctl.fails("unlock", "n1") == f"Error: n1 holds no slot in {where}"
    assert lock.raw() is None


def test_unlocking_past_the_point_of_no_return_warns(ctl, lock):
    lock.take(reboot_claim("n2"), commit=True)
    ended = ctl("unlock", "n2")
    assert ended.status == 0
    assert "Warning: node-2 is past its point of no return; it was not seen for 15 min or longer" in ended.err
    lock.take(reboot_claim("n2"))
    undone = json.loads(ctl("unlock", "n2", "--json").out)["undone"]
    assert (undone["kind"], undone["state"]) == ("reboot", "held")


@pytest.mark.parametrize("machine", ["", "a\nb", "\udcff"])
def test_an_id_that_is_none_is_bad_usage(ctl, machine):
    assert "is no machine's id" in ctl.fails("lock", machine, status=2)


CORRUPT = {
    "no JSON": b"<html>",
    "wrong types": b'{"semaphore":"1","max":1,"holders":null}',
    "a holder twice": b'{"semaphore":0,"max":2,"holders":["n1","n1"]}',
    "wrong sum": b'{"semaphore":1,"max":1,"holders":["n1"]}',
}


@pytest.mark.parametrize("value", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_semaphore_is_refused_and_never_overwritten(ctl, lock, value):
    lock.put(value)
    for command in (["status"], ["status", "--json"], ["lock", "n1"], ["unlock", "n1"], ["set-max", "2"]):
        sentence = ctl.fails(*command)
        assert f"{lock.key}: not a semaphore" in sentence
        assert "`locksmithctl repair --max 1`" in plain(sentence)
    assert lock.raw() == value


def test_repair_shows_what_is_there_and_keeps_who_has_a_record(ctl, lock):
    ctl("lock", "n1")
    lock.put("{\x1b[31m \u00e4".encode() + b"x" * 5000)
    ended = ctl("repair", "--max", "2", "--yes")
    assert (ended.status, ended.out) == (0, "repaired: max is 2; n1 kept a slot\n")
    assert r"holds: {\x1b[31m \xc3\xa4xxx" in ended.err
    assert "... (" in ended.err
    assert "It is not a semaphore: not JSON" in ended.err
    assert "`locksmithctl unlock n1` frees it" in plain(ended.err)
    assert ctl("status").out == "Available: 1\nMax: 2\n\nMACHINE ID\nn1\n"


def test_repair_as_json(ctl, lock, group):
    lock.put(b"rubbish")
    assert json.loads(ctl("repair", "-max=3", "-yes", "-json").out) == {
        "schema": 1,
        "group": group,
        "repaired": True,
        "was": "rubbish",
        "max": 3,
        "available": 3,
        "holders": [],
    }
    assert json.loads(ctl("repair", "-max=5", "-yes", "-json").out) == {"schema": 1, "group": group, "repaired": False}


@pytest.mark.parametrize("value", [None, semaphore.encode(Semaphore(1, ("n1",)))], ids=["absent", "sound"])
def test_repair_never_touches_a_sound_semaphore(ctl, lock, value):
    if value:
        lock.put(value)
    assert ctl("repair", "--max", "7", "--yes").out == "nothing to repair: the semaphore is sound\n"
    assert lock.raw() == value


def test_repair_does_nothing_where_nobody_can_be_asked(ctl, lock):
    lock.put(b"rubbish")
    assert "use --yes" in ctl.fails("repair", "--max", "1", status=2)
    assert "max must be at least 1" in ctl.fails("repair", "--max", "0", "--yes", status=2)
    assert lock.raw() == b"rubbish"


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1)])
def test_repair_asks_on_a_terminal(ctl, lock, answer, status):
    lock.put(b"rubbish")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb") as terminal, os.fdopen(theirs, "rb") as stdin:
        terminal.write(f"{answer}\n".encode())
        terminal.flush()
        ended = subprocess.run(
            [Path(sys.executable).with_name("locksmithctl"), *ctl.flags, "repair", "--max", "2"],
            stdin=stdin,
            capture_output=True,
            timeout=20,
            check=False,
            text=True,
        )
    assert ended.returncode == status
    assert "Make it new, with a max of 2?" in ended.stderr
    assert (lock.raw() == b"rubbish") == bool(status)


class TestTwoKeyspaces:
    """v3 refuses while the group's semaphore is in use on v2, and `retire-v2` is the way out."""

    @pytest.fixture
    def api(self):
        return 3

    @pytest.fixture
    def on_v2(self, wheel_etcd, group):
        return Direct(wheel_etcd, 2, group)

    @pytest.mark.parametrize(
        "command", [["status"], ["lock", "n1"], ["unlock", "n1"], ["set-max", "2"], ["repair", "--max", "1", "--yes"]]
    )
    def test_every_command_refuses_while_v2_is_in_use(self, ctl, lock, on_v2, command):
        on_v2.put(semaphore.encode(Semaphore()))
        sentence = ctl.fails(*command)
        assert "`--etcd-api 2`" in sentence
        assert "`locksmithctl retire-v2`" in plain(sentence)
        assert lock.raw() is None

    @pytest.mark.parametrize("flag", ["-etcd-api=2", "-etcd-api=3"])
    def test_retiring_v2_lets_v3_go_on(self, ctl, on_v2, flag):
        on_v2.put(semaphore.encode(Semaphore(3)))
        ended = ctl(flag, "retire-v2")
        assert (ended.status, ended.out[:8]) == (0, "retired:")
        assert on_v2.raw() == b'{"semaphore":0,"max":0,"holders":null}'
        assert ctl("status").out == "Available: 1\nMax: 1\n"
        assert ctl("retire-v2").status == 0

    def test_retiring_a_semaphore_that_is_held_names_the_holders(self, ctl, on_v2):
        held = semaphore.encode(Semaphore(2, ("go-1", "go-2")))
        on_v2.put(held)
        assert "is held by go-1, go-2" in ctl.fails("retire-v2")
        assert on_v2.raw() == held

    def test_retiring_nothing_makes_nothing(self, ctl, on_v2, group):
        assert ctl("retire-v2").out.startswith("nothing to retire")
        assert on_v2.raw() is None
        assert json.loads(ctl("retire-v2", "--json").out) == {"schema": 1, "group": group, "retired": False}


class TestBadInput:
    """What can be wrong around the lock: one sentence and the documented status for each."""

    @pytest.fixture
    def api(self):
        return 3

    @pytest.fixture
    def bare(self, monkeypatch, capfd):
        return Ctl(monkeypatch, capfd)

    def test_an_endpoint_that_refuses(self, bare):
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        sentence = bare.fails("-endpoint", url, "status")
        assert url in sentence
        assert "connection refused" in sentence

    @pytest.mark.parametrize("api", ["2", "3"])
    def test_an_endpoint_that_answers_html(self, bare, api):
        with dead_endpoints.endpoint(dead_endpoints.answering("<html>\x1b[2Jhello\n\n</html>")) as url:
            sentence = bare.fails("-etcd-api", api, "-endpoint", url, "status")
        assert url in sentence
        assert sentence.isprintable()

    @pytest.mark.parametrize("api", ["2", "3"])
    def test_an_endpoint_that_hangs(self, bare, root, api):
        (root / "etc/locksmith").mkdir()
        (root / "etc/locksmith/locksmith.toml").write_text('[etcd]\ntimeout = "300ms"\n')
        with dead_endpoints.endpoint(dead_endpoints.silent) as url:
            assert url in bare.fails("-etcd-api", api, "-endpoint", url, "lock", "n1")

    def test_the_next_endpoint_is_tried(self, ctl):
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        assert ctl("-endpoint", url, "status").status == 0

    def test_a_wrong_password(self, monkeypatch, capfd):
        with Etcd(WHEEL, auth=True) as etcd:
            ctl = Ctl(monkeypatch, capfd, *flags_for(etcd))
            assert ctl("status").status == 0
            assert "password" in ctl.fails("-etcd-password", "wrong", "status")
            assert "wrong\x1b" not in ctl.fails("-etcd-password", "wrong\x1b", "status", status=2)

    def test_a_wrong_ca(self, monkeypatch, capfd, tmp_path):
        with Etcd(WHEEL, tls=Tls.SERVER) as etcd:
            ctl = Ctl(monkeypatch, capfd, *flags_for(etcd))
            assert ctl("status").status == 0
            other = Authority(tmp_path, "other").cert
            assert "certificate cannot be trusted" in ctl.fails("-etcd-cafile", str(other), "status")
            assert "etcd.cafile" in ctl.fails("-etcd-cafile", str(tmp_path / "none"), "status", status=2)

    @pytest.mark.parametrize("content", [None, "", "\n", "none\n"])
    def test_a_machine_id_that_is_none(self, ctl, lock, root, content):
        file = root / "etc/machine-id"
        file.unlink()
        if content is not None:
            file.write_text(content)
        assert str(file) in ctl.fails("lock")
        assert str(file) in ctl.fails("unlock")
        assert lock.raw() is None
        assert ctl("lock", "n1").status == 0

    def test_a_server_without_v2_has_nothing_to_retire(self, monkeypatch, capfd):
        with Etcd(WHEEL) as etcd:
            ctl = Ctl(monkeypatch, capfd, *flags_for(etcd))
            assert ctl("status").status == 0
            assert "this etcd has no v2 API" in ctl.fails("retire-v2")

    @pytest.mark.parametrize("group", [".", ".."])
    def test_a_group_that_collapses(self, ctl, group):
        assert f"group '{group}' cannot be used" in ctl.fails("status", status=2)

    def test_a_window_with_half_its_variables(self, bare, root):
        (root / "etc/locksmith").mkdir()
        (root / "etc/locksmith/locksmith.toml").write_text('window.start = "02:00"\n')
        assert "window.length" in bare.fails("status", status=2)

    @pytest.mark.parametrize(
        "args",
        [
            ["bogus"],
            ["status", "x"],
            ["lock", "a", "b"],
            ["-bogus", "status"],
            ["set-max"],
            ["-endpoint"],
            ["help", "x"],
        ],
    )
    def test_bad_usage_is_status_2(self, bare, args):
        ended = bare(*args)
        assert (ended.status, ended.out) == (2, "")
        assert "Error: " in ended.err

    def test_a_bad_endpoint_is_bad_usage(self, bare):
        assert "--endpoint" in bare.fails("-endpoint", "nonsense", "status", status=2)


def test_the_environment_reaches_the_lock(bare_ctl, wheel_etcd, group, monkeypatch):
    monkeypatch.setenv("LOCKSMITHCTL_ENDPOINT", wheel_etcd.endpoints[0])
    monkeypatch.setenv("LOCKSMITHCTL_GROUP", group)
    assert bare_ctl("set-max", "2").status == 0
    assert bare_ctl("-group", "", "status").status in {0, 1}
    assert bare_ctl("status").out == "Available: 2\nMax: 2\n"


@pytest.fixture
def bare_ctl(monkeypatch, capfd):
    return Ctl(monkeypatch, capfd)


def test_a_share_is_set_and_ended(ctl, lock):
    ended = ctl("set-max", "10%", "--reason", "a small fleet")
    assert ended.out == "Old-Max: 1\nMax: 1\n"
    assert "max follows 10% of the machines present" in ended.err
    assert lock.raw() == b'{"semaphore":1,"max":1,"holders":null}'
    assert json.loads(ctl("set-max", "--json", "50%").out)["share"] == "50%"
    assert ctl("set-max", "3").out == "Old-Max: 1\nMax: 3\n"
    assert "max 1 -> 3" in ctl("history").out


def test_what_becomes_of_a_share_is_told(ctl, lock):
    assert json.loads(ctl("status", "--json").out)["share"] is None
    ctl("set-max", "10%")
    assert json.loads(ctl("status", "--json").out)["share"] == {"percent": "10%", "void": False}
    assert ctl("status").out == "Available: 1\nMax: 1\n"
    assert "is over" not in ctl("set-max", "10%").err
    lock.put(semaphore.encode(Semaphore(7)))
    assert json.loads(ctl("status", "--json").out)["share"] == {"percent": "10%", "void": True}
    ended = ctl("set-max", "50%")
    assert (ended.out, ended.err.splitlines()[0]) == (
        "Old-Max: 7\nMax: 1\n",
        "the share of 10% is over, which was void: max 7 was set manually",
    )
    assert ctl("set-max", "3").err.startswith("the share of 50% is over\n")
    assert "share" not in ctl("set-max", "2").err
    assert "max 1 -> 3; the share of 50% is over" in json.loads(ctl("history", "--json").out)["events"][-2]["detail"]


def test_a_share_that_cannot_be_read_stops_nobody_and_is_ended_by_set_max(ctl, lock, group):
    lock.put(b"rubbish", keys.share_key(group))
    assert ctl("lock", "n1").status == 0
    assert json.loads(ctl("status", "--json").out)["share"] is None
    assert ctl("set-max", "2").err.startswith("a share that could not be read is gone\n")


def test_an_id_that_would_steer_the_terminal_is_spelt_out(ctl, lock):
    lock.put(semaphore.encode(Semaphore(1, ("n1\x1b[2J\n<&>",))))
    assert ctl("status").out.endswith("MACHINE ID\nn1\\x1b[2J\\n<&>\n")


@pytest.mark.parametrize("holder", ["rack 4", "n1; touch x", "$(touch x)", "it's", "-x", "--json"])
def test_a_command_that_names_an_odd_id_works_when_it_is_pasted(ctl, lock, holder):
    """Whoever can write to etcd chooses the ids that a message suggests to an operator's shell."""
    lock.put(semaphore.encode(Semaphore(1, (holder,))))
    said = ctl.fails("lock", "--", holder)
    [suggested] = re.findall("`(locksmithctl [^`]*unlock .*)` frees it", said)
    program, *words = shlex.split(suggested)
    assert (program, words[-1]) == ("locksmithctl", holder)
    assert ctl(*words).status == 0
    assert json.loads(ctl("status", "--json").out)["holders"] == []


@pytest.mark.parametrize("share", ["0%", "101%", "x%", "%"])
def test_what_is_no_share_is_bad_usage_and_changes_nothing(ctl, lock, share):
    assert "a share is more than 0%" in ctl.fails("set-max", share, status=2)
    assert lock.raw() is None


def test_the_history_tells_who_did_what_and_why(ctl, lock, group):
    assert "nothing has happened here" in ctl("history").err
    ctl("set-max", "2", "--reason", "two racks")
    ctl("lock", "n1", "--reason", "disk swap")
    lock.take(reboot_claim("n2"), commit=True)
    ctl("unlock", "n1", "--reason", "disk is new")
    ended = ctl("history")
    assert (ended.status, ended.err) == (0, f"(group {group})\n")
    head, *lines = ended.out.splitlines()
    assert head.split() == ["WHEN", "WHAT", "MACHINE", "FOR", "BY,", "WHY"]
    assert [line.split()[2] for line in lines] == ["set-max", "lock", "unlock", "still"]
    host = read_hostname(Paths.from_environment())
    assert f"alice@{host}: two racks; max 1 -> 2" in lines[0]
    assert f"alice@{host}: disk swap" in lines[1]
    assert lines[1].split()[3] == lines[2].split()[3] == "n1"
    assert f"alice@{host}: disk is new" in lines[2]
    assert "node-2" in lines[3]
    assert "\x1b" not in ended.out


def test_the_history_since_a_moment_and_of_one_machine(ctl, lock):
    ctl("set-max", "3")
    lock.take(reboot_claim("n2"), commit=True)
    ctl("lock", "n1", "--reason", "disk swap")
    ctl("unlock", "n1")

    def acts(*flags):
        found = json.loads(ctl("history", "--json", *flags).out)
        return [event["act"] for event in found["events"]], len(found["holds"])

    assert acts("--since", "1h") == (["set-max", "lock", "unlock"], 1)
    assert acts("--since", "1h", "--limit", "1") == (["unlock"], 1)
    assert "--since is about what was, and 2100-01-01 is to come" in ctl.fails(
        "history", "--since", "2100-01-01", status=2
    )
    assert acts("--machine", "N1") == (["lock", "unlock"], 0)
    assert acts("--machine", "node-2") == ([], 1)
    assert "no machine is called n3" in ctl.fails("history", "--machine", "n3")
    assert "--since must be a while like 2d, or a time like 18:30" in ctl.fails("history", "--since", "x", status=2)


def test_the_history_as_json(ctl, group):
    ctl("lock", "n1", "--reason", "disk swap")
    ctl("unlock", "n1")
    fields = json.loads(ctl("history", "--json").out)
    assert (fields["schema"], fields["group"], fields["holds"]) == (1, group, [])
    assert [event["act"] for event in fields["events"]] == ["lock", "unlock"]
    undone = fields["events"][1]
    assert (undone["id"], undone["who"], undone["kind"], undone["reason"]) == ("n1", "alice", "manual", "")
    assert undone["host"] == read_hostname(Paths.from_environment())
    assert "was held manually by alice" in undone["detail"]
    assert undone["held_seconds"] >= 0
    assert [event["act"] for event in json.loads(ctl("history", "--json", "--limit", "1").out)["events"]] == ["unlock"]


def test_the_history_tells_what_a_repair_found(ctl, lock):
    lock.put(b"{\x1b[31m" + b"x" * 5000)
    ctl("repair", "--max=3", "--yes", "--reason=a bad script")
    [event] = json.loads(ctl("history", "--json").out)["events"]
    assert (event["act"], event["who"], event["reason"]) == ("repair", "alice", "a bad script")
    assert event["detail"].startswith(r"max is 3; there was {\x1b[31mxxx")
    assert len(event["detail"]) < 500


def test_the_history_names_who_holds_a_slot_without_a_record_too(ctl, lock):
    lock.put(semaphore.encode(Semaphore(1, ("go-1",))))
    assert "still held  go-1" in ctl("history").out
    assert "a legacy node" in ctl("history").out
    holds = json.loads(ctl("history", "--json").out)["holds"]
    assert holds == [{"id": "go-1", "claim": None, "held_seconds": None}]


def test_a_semaphore_that_cannot_be_read_hides_no_history(ctl, lock):
    ctl("set-max", "2")
    lock.put(b"garbage")
    ended = ctl("history")
    assert ended.status == 0
    assert "max 1 -> 2" in ended.out
    assert "who holds a slot cannot be read: " in ended.err
    assert "`locksmithctl repair --max 1`" in plain(ended.err)
    assert lock.key in json.loads(ctl("history", "--json").out)["problem"]


def test_a_history_with_rubbish_in_it_steers_no_terminal(ctl):
    ctl("lock", "n1", "--reason", "bell \x07 and \x1b[31mred")
    out = ctl("history").out
    assert "bell" in out
    assert all(line.isprintable() for line in out.splitlines())

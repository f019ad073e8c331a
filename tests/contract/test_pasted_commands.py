"""Commands that the tool suggests are pasted into a shell, as they stand, and do what was said of them.

The caller names the lock with flags, and the group has an odd name: a suggestion has to repeat both.
"""

import contextlib
import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Callable

import pytest

from locksmith.host.paths import Paths
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.semaphore import Semaphore
from tests.contract.fleets import NEED, TOOL, Fleet, ctl, root
from tests.harness.asked import asked
from tests.harness.ctl import Ctl, Ended
from tests.harness.suggested import commands_in, shape, suggestions

__all__ = ["ctl", "root"]

ELSEWHERE = {
    "check": "needs a bus: test_dry_run.py",
    "enroll": "needs a locksmith-server: test_enroll.py",
    "enroll X": "as the one before",
    "forget X": "needs a machine that vanished: test_why.py",
    "forget-claim": "needs a store that is gone: test_wrong_endpoint.py",
    "thaw --all-groups": "is about all groups of this etcd: test_groups_in_use.py",
    "unlock X --force": "needs a terminal: test_unlock.py",
    "unlock X --manual": "in addition to --force: test_unlock.py",
    "cancel": "needs a bus: the next test",
    "import-airlock X": "needs groups of airlock: test_import_airlock.py",
    "reboot": "reboots this machine: test_locksmithctl_group.py",
    "recheck": "needs a daemon: test_locksmithd_bus.py",
    "resume --replaces": "needs two clusters: test_two_clusters.py",
    "status": "after an answer that was lost: tests/unit/lock/test_reboot_lock.py",
    "unlock": "for a reboot journal that cannot be read: test_locksmithctl_machine.py",
    "unlock --stale": "needs a semaphore of a megabyte: test_many_holders.py",
    "why": "needs a bus: the next test",
    "why X": "of a notification: tests/unit/fleet/test_notices.py; test_why.py runs it",
}
"""Shapes of commands that no situation here suggests."""


@pytest.fixture
def fleet(wheel_etcd):
    return Fleet(wheel_etcd, 3, f"it's {uuid.uuid4()}")


def put(fleet: Fleet, key: str, value: bytes = b"rubbish") -> None:
    async def story(store):
        await store.swap(key, value, (await store.get(key)).version)

    fleet(story)


def legacy(fleet, ctl):
    put(fleet, keys.semaphore_key(fleet.group), semaphore.encode(Semaphore(3, ("a go node",))))
    return [ctl("lock", "a go node"), ctl("freeze", "--reason", "it's time")]


def held_back(fleet, ctl):
    fleet.present("n1", **NEED)
    return [ctl("hold", "n1", "--reason", "a demo"), ctl("freeze", "--reason", "x"), ctl("why", "n1")]


def no_such_machine(_fleet, ctl):
    return [ctl("why", f"nobody-{uuid.uuid4()}"), ctl("hold", "nobody", "--reason", "x"), ctl("window")]


def halted(fleet, ctl):
    fleet.present("n1")
    claim = fleet.claim("n1")
    fleet.holds(claim, committed=True)
    fleet(lambda store: RebootLock(store, fleet.group).report_failure(claim, UNHEALTHY, "web.service has failed"))
    return [ctl("why", "n1"), ctl("why", "n1", "--json")]


def corrupt_semaphore(fleet, ctl):
    ctl("lock", "n1")
    put(fleet, keys.semaphore_key(fleet.group))
    return [ctl("status"), ctl("history")]


def repaired(fleet, ctl):
    ctl("lock", "n1")
    put(fleet, keys.semaphore_key(fleet.group))
    return [ctl("repair", "--max", "1", "--yes")]


def corrupt_orders(fleet, ctl):
    found = fleet.present("n1", **NEED)
    for key in (keys.freeze_key(fleet.group), keys.hold_key(fleet.group, found.machine_id)):
        put(fleet, key)
    for key in (keys.share_key(fleet.group), keys.incidents_key(fleet.group)):
        put(fleet, key)
    return [ctl("why", "n1"), ctl("nodes")]


def no_slots(fleet, ctl):
    put(fleet, keys.semaphore_key(fleet.group), semaphore.encode(Semaphore(0)))
    fleet.present("n1", state="waiting", code="queue", **NEED)
    fleet.stands("n1")
    return [ctl("why", "n1"), ctl("set-max", "10%")]


def no_zero(fleet, ctl):
    fleet.present("n1")
    return [ctl("set-max", "0")]


def void_share(fleet, ctl):
    ctl("set-max", "10%")
    fleet.present("n1")
    put(fleet, keys.semaphore_key(fleet.group), semaphore.encode(Semaphore(5)))
    return [ctl("why", "n1")]


@contextlib.contextmanager
def without_group(ctl):
    own, ctl.flags = ctl.flags, tuple(flag for flag in ctl.flags if not flag.startswith("-group"))
    yield
    ctl.flags = own


def frozen_elsewhere(fleet, ctl):
    put(fleet, keys.semaphore_key(fleet.group), semaphore.encode(Semaphore(1)))
    frozen = ctl("freeze", "--reason", "x")
    with without_group(ctl):
        missed = ctl("thaw")
    assert (missed.status, missed.out) == (1, "")
    assert "the default group is not frozen, and nothing was ended: `locksmithctl" in missed.err
    return [frozen, missed]


def window_sets(_fleet, ctl):
    name = f"set {uuid.uuid4()}"
    config = Paths.from_environment().config
    config.parent.mkdir(parents=True)
    config.write_text(f'window.sets = ["{name}"]')
    with without_group(ctl):
        missing = ctl("window")
    return [missing, ctl("window", "--set", f"{name} too"), ctl("window", "set", name), ctl("window", "show")]


def on_v2(fleet, ctl):
    there = Fleet(fleet.etcd, 2, fleet.group)
    put(there, keys.semaphore_key(fleet.group), semaphore.encode(Semaphore(1)))
    return [ctl("status")]


SITUATIONS: list[Callable[[Fleet, Ctl], list[Ended]]] = [
    legacy,
    held_back,
    no_such_machine,
    halted,
    corrupt_semaphore,
    repaired,
    corrupt_orders,
    no_slots,
    no_zero,
    void_share,
    frozen_elsewhere,
    window_sets,
    on_v2,
]

ASKS = {"repair", "unlock --stale"}


def pasted(command: str) -> tuple[int, str]:
    """Run a command as a shell reads it, in a terminal if it asks."""
    if shape(command).partition(" --")[0] in ASKS:
        with asked([], *shlex.split(command)[1:]) as call:
            call.asks("Make it new")
            call.answer("y")
            return call.ends(), call.said
    environ = {**os.environ, "PATH": f"{TOOL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=environ, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def written(out: str) -> list[str]:
    """Give what stands on standard output; of JSON its sentences."""
    return json.loads(out)["why"] if out.startswith("{") else [out]


tried: set[str] = set()
executed: set[str] = set()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.__name__)
def test_every_command_that_is_suggested_works_when_it_is_pasted(situation, fleet, ctl):
    said = [text for ended in situation(fleet, ctl) for text in (*written(ended.out), ended.err)]
    found = list(dict.fromkeys(command for text in said for command in commands_in(text)))
    assert found, said
    tried.add(situation.__name__)
    for command in found:
        status, told = pasted(command)
        if shape(command) not in REPEATED or "holds no slot" not in told:
            assert status == 0, (command, told)
        executed.add(shape(command))


REPEATED = {"unlock X"}
"""Commands that two messages suggest, of which only the first has anything left to do."""


def test_every_kind_of_command_that_the_sources_suggest_was_pasted():
    """It needs the tests above, of the same process."""
    if len(tried) < len(SITUATIONS):
        pytest.skip("only some of the situations were tried")
    assert {shape(command) for _, command in suggestions()} - executed == set(ELSEWHERE)


def test_what_a_request_suggests_works_on_its_machine(site):
    async def story(node):
        await node.says("idle")
        _, said = await node.tool("request", "--reason=a new kernel")
        found = commands_in(said)
        assert [shape(command) for command in found] == ["why", "cancel"]
        for command in found:
            status, told = await node.tool(*shlex.split(command)[1:])
            assert status == 0, (command, told)
            assert "Warning" not in told

    site.play(story, dry_run=True)

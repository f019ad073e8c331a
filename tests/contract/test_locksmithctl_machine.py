"""`locksmithctl reboot`, `send-need-reboot` and `cancel`: a real bus with doubles of logind, systemd and update_engine,
a real etcd, and the real journal between them."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import JournalEntry, Phase
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import Match, Signal
from locksmith.host.journal import JournalFile
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.paths import Paths
from locksmith.lock import places
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, MANUAL, REBOOT, Claim
from locksmith.store.connect import open_store
from locksmith.triggers.operator_request import OperatorRequest
from tests.contract.daemons import QUICK
from tests.harness import dead_endpoints
from tests.harness.bus import PrivateBus
from tests.harness.ctl import flags_for
from tests.harness.engine import NEED_REBOOT, Engine
from tests.harness.logind import LOGIND, LogindAndSystemd, RebootMode
from tests.harness.ports import free_ports
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the tool's D-Bus policy is root's")

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
BOOT = Boot("11111111-1111-1111-1111-111111111111", 5_000_000)
TOOL = Path(sys.executable).with_name("locksmithctl")
LIMIT = 20.0


class Called:
    """One call of the tool that runs beside the test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def end(self) -> tuple[int, str, str]:
        out, err = await asyncio.wait_for(self.process.communicate(), LIMIT)
        assert "Traceback" not in err.decode()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


class Node:
    """A machine: its files, its bus with the doubles, its group's lock. No daemon."""

    def __init__(self, folder: Path, etcd, bus: PrivateBus) -> None:
        self.paths = Paths(folder)
        self.bus = bus
        self.group = str(uuid.uuid4())
        self.flags = flags_for(etcd, group=self.group)
        self.settings = etcd.settings()
        self.environment = {
            **os.environ,
            "LOCKSMITH_ROOT": str(folder),
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
            "SUDO_USER": "alice",
        }
        self.write(self.paths.machine_id, MACHINE)
        self.write(self.paths.boot_id, BOOT.boot_id)
        self.configure()
        self.journal = JournalFile(self.paths, MACHINE)
        self.need = OperatorRequest(self.paths)

    def configure(self, **keys: str) -> None:
        lines = [f'{key} = "{value}"' for key, value in keys.items()]
        self.write(self.paths.config, "\n".join([*lines, "[reboot]", 'settle = "300ms"']))

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def call(self, *args: str, flags: list[str] | None = None) -> Called:
        pipe = asyncio.subprocess.PIPE
        command = [str(TOOL), *(self.flags if flags is None else flags), *args]
        return Called(await asyncio.create_subprocess_exec(*command, env=self.environment, stdout=pipe, stderr=pipe))

    async def run(self, *args: str, flags: list[str] | None = None) -> tuple[int, str, str]:
        return await (await self.call(*args, flags=flags)).end()

    @contextlib.asynccontextmanager
    async def lock(self):
        store = open_store(self.settings)
        try:
            yield RebootLock(store, self.group)
        finally:
            await store.close()

    async def holders(self) -> tuple[str, ...]:
        async with self.lock() as lock:
            holders: tuple[str, ...] = (await lock.read()).semaphore.holders
            return holders

    def entry(self, *, by: str, boot: Boot = BOOT, phase: Phase = Phase.REQUESTED) -> JournalEntry:
        claim = Claim(MACHINE, REBOOT, f"of {by}", datetime(2026, 5, 1, tzinfo=UTC), who="bob")
        endpoints = self.settings.endpoints
        return JournalEntry(claim, "etcd-lock", self.group, 3, endpoints, phase, boot, by)


@pytest.fixture
def node(tmp_path, wheel_etcd):
    with PrivateBus() as bus:
        yield Node(tmp_path, wheel_etcd, bus)


def story(node, tell):
    """Run a story with logind and systemd on the node's bus."""

    async def scene():
        async with asyncio.timeout(30), LogindAndSystemd(node.bus.address) as doubles:
            await tell(doubles)

    asyncio.run(scene())


@pytest.mark.parametrize("strategy", ["etcd-lock", "reboot", "off"])
def test_a_reboot_takes_the_lock_and_leaves_what_the_daemon_needs_to_give_it_back(node, strategy):
    async def tell(doubles):
        node.configure(strategy=strategy)
        status, out, _ = await node.run("reboot", "--reason", "new kernel")
        assert (status, out, doubles.machine.reboots) == (0, "", 1)
        entry = node.journal.read().entry
        assert (entry.phase, entry.boot, entry.by, entry.strategy) == (
            Phase.COMMITTED,
            BOOT,
            "locksmithctl",
            "etcd-lock",
        )
        async with node.lock() as lock:
            claim = (await lock.read()).claims[MACHINE]
        assert (claim.kind, claim.who, claim.state, claim.reason) == (REBOOT, "alice", COMMITTED, "new kernel")
        assert claim.nonce == entry.claim.nonce
        assert not OperatorLock(node.paths).is_held()

    story(node, tell)


def test_a_reboot_as_json(node):
    async def tell(_doubles):
        _, out, _ = await node.run("reboot", "--json")
        assert json.loads(out) == {"schema": 1, "group": node.group, "id": MACHINE, "rebooting": True}

    story(node, tell)


def test_a_machine_that_goes_down_slowly_keeps_the_lock(node):
    async def tell(doubles):
        doubles.machine.mode = RebootMode.DELAY
        assert (await node.run("reboot"))[0] == 0
        assert await node.holders() == (MACHINE,)
        assert node.journal.read().entry.phase is Phase.COMMITTED

    story(node, tell)


def test_a_machine_of_which_nobody_knows_whether_it_goes_down_keeps_the_lock(node):
    async def tell(doubles):
        doubles.machine.mode = RebootMode.VANISH
        status, _, err = await node.run("reboot")
        assert status == 1
        assert "does not say whether this machine is going down: it keeps the lock" in err
        assert await node.holders() == (MACHINE,)
        assert node.journal.read().entry.phase is Phase.COMMITTED

    story(node, tell)


def test_a_refused_reboot_gives_the_lock_back(node):
    async def tell(doubles):
        doubles.machine.mode = RebootMode.REFUSE
        status, out, err = await node.run("reboot")
        assert (status, out) == (1, "")
        assert "Error: logind refused the reboot" in err
        assert "weekly backup runs" in err
        assert await node.holders() == ()
        assert node.journal.read().entry is None

    story(node, tell)


def test_a_reboot_that_comes_to_nothing_gives_the_lock_back(node):
    async def tell(doubles):
        doubles.machine.mode = RebootMode.FIZZLE
        doubles.logind._prepare = lambda _start: None  # what it prepared came to its end at once
        status, _, err = await node.run("reboot")
        assert status == 1
        assert "Error: logind took the reboot, and after 0.3 s nothing is shutting down" in err
        assert await node.holders() == ()
        assert node.journal.read().entry is None

    story(node, tell)


def test_without_a_free_slot_there_is_no_reboot(node):
    async def tell(doubles):
        await node.run("lock", "n1", "--reason", "disk swap")
        status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (1, 0)
        assert "Error: not rebooting: no slot is free: max is 1, held by n1 since " in err
        assert ": disk swap)" in err
        assert node.journal.read().entry is None

    story(node, tell)


def test_a_manual_lock_of_this_very_machine_is_no_permission(node):
    async def tell(doubles):
        await node.run("lock", "--reason", "disk swap")
        status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (1, 0)
        assert "held manually by alice" in err
        assert await node.holders() == (MACHINE,)

    story(node, tell)


def test_without_the_store_there_is_no_reboot(node):
    async def tell(doubles):
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        status, _, err = await node.run("reboot", flags=["-endpoint", url])
        assert (status, doubles.machine.reboots) == (1, 0)
        assert f"{url}: " in err
        assert "`systemctl reboot` reboots without the lock" in err
        assert node.journal.read().entry is None

    story(node, tell)


def test_without_logind_nothing_is_taken(node):
    async def tell(doubles):
        await doubles.leave(LOGIND)
        status, _, err = await node.run("reboot")
        assert status == 1
        assert "logind or systemd does not answer" in err
        assert await node.holders() == ()
        assert node.journal.read().entry is None

    story(node, tell)


def test_without_a_bus_nothing_is_taken(node):
    node.bus.kill()

    async def tell():
        status, _, err = await node.run("reboot")
        assert status == 1
        assert "Error: " in err
        assert await node.holders() == ()

    asyncio.run(tell())


def test_a_machine_that_goes_down_already_takes_nothing(node):
    async def tell(doubles):
        doubles.machine.preparing = True
        status, _, err = await node.run("reboot")
        assert status == 1
        assert "this machine is going down already" in err
        assert await node.holders() == ()

    story(node, tell)


def test_a_daemons_claim_is_left_alone(node):
    async def tell(doubles):
        node.journal.begin(node.entry(by="locksmithd"))
        status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (1, 0)
        assert "locksmithd has a claim on the lock for this machine already, since 2026-05-01T00:00:00Z" in err
        assert node.journal.read().entry == node.entry(by="locksmithd")

    story(node, tell)


def test_what_an_earlier_boot_left_is_the_daemons_to_give_back(node):
    async def tell(doubles):
        entry = node.entry(by="locksmithctl", boot=Boot("an earlier one"))
        node.journal.begin(entry)
        status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (1, 0)
        assert "locksmithd has yet to release the slot of this machine's last reboot" in err
        assert node.journal.read().entry == entry

    story(node, tell)


@pytest.mark.parametrize("phase", list(Phase))
def test_what_a_reboot_left_that_was_killed_is_given_back_first(node, phase):
    async def tell(doubles):
        entry = node.entry(by="locksmithctl")
        node.journal.begin(entry)
        async with node.lock() as lock:
            await lock.take(entry.claim)
            if phase is Phase.COMMITTED:
                node.journal.commit(entry.claim.nonce)
                await lock.commit(entry.claim)
        status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (0, 1), err
        async with node.lock() as lock:
            state = await lock.read()
        assert state.semaphore.holders == (MACHINE,)
        assert state.claims[MACHINE].nonce != entry.claim.nonce

    story(node, tell)


def test_two_at_once_exclude_each_other(node):
    async def tell(doubles):
        with OperatorLock(node.paths).held():
            status, _, err = await node.run("reboot")
        assert (status, doubles.machine.reboots) == (1, 0)
        assert "operator.lock is held by another program" in err

    story(node, tell)


@contextlib.contextmanager
def holding_back(upstream: str, when):
    """Give a URL behind which is etcd, but for the first request that comes once `when` holds: that is never passed on.

    Gives an event too, which is set when it has come.
    """
    at, held = urlsplit(upstream), threading.Event()

    def handle(connection):
        with socket.create_connection((at.hostname, at.port), dead_endpoints.LIMIT) as server:
            back = threading.Thread(target=pump, args=[server, connection])
            back.start()
            with contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    data = dead_endpoints.only(data) if data.startswith(b"POST ") else data  # each comes by itself
                    if when() and not held.is_set():
                        held.set()
                        while connection.recv(65536):  # until the client goes: a request may come in pieces
                            pass
                        break
                    server.sendall(data)
            dead_endpoints._shut(server)
            back.join()

    def pump(server, connection):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                connection.sendall(data)

    with dead_endpoints.endpoint(handle) as url:
        yield url, held


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 1), (signal.SIGHUP, 1)], ids=str)
def test_called_off_before_the_point_of_no_return_the_lock_is_given_back(node, wheel_etcd, number, status):
    async def tell(doubles):
        def begun():
            return node.journal.path.exists()

        with holding_back(wheel_etcd.endpoints[0], begun) as (url, held):
            call = await node.call("reboot", flags=["-endpoint", url, "-group", node.group])
            await until(held.is_set, "the lock is asked for", LIMIT)
            call.process.send_signal(number)
            ended, _, err = await call.end()
        assert (ended, doubles.machine.reboots) == (status, 0), err
        assert await node.holders() == ()
        assert node.journal.read().entry is None, err

    story(node, tell)


def test_interrupted_past_the_point_of_no_return_the_claim_is_left_to_the_daemon(node):
    async def tell(doubles):
        doubles.machine.mode = RebootMode.SILENT
        call = await node.call("reboot")
        await until(lambda: doubles.machine.reboots, "logind is asked", LIMIT)
        call.process.send_signal(signal.SIGINT)
        status, _, err = await call.end()
        assert status == 130
        assert "too late: the reboot may have been asked for" in err
        assert await node.holders() == (MACHINE,)
        assert node.journal.read().entry.phase is Phase.COMMITTED

    story(node, tell)


async def test_a_wish_that_no_daemon_hears_is_sent_all_the_same(node):
    status, out, err = await node.run("send-need-reboot")
    assert (status, out) == (0, "")
    assert "no locksmithd has noted it" in err


async def test_a_wish_is_the_originals_signal_and_its_sender_stays_until_it_is_noted(node):
    heard: list[Signal] = []
    async with contextlib.AsyncExitStack() as stack:
        bus = SystemBus(node.bus.address)
        bus.subscribe(Match("com.coreos.update1.Manager", "StatusUpdate", "/com/coreos/update1"), heard.append)
        await stack.enter_async_context(bus)
        call = await node.call("send-need-reboot", "--json")
        await until(lambda: heard, "the signal comes", LIMIT)
        assert await bus.unix_user(heard[0].sender) == 0
        node.need.note("", datetime.now(UTC), BOOT)
        status, out, _ = await call.end()
    assert (status, json.loads(out)) == (0, {"schema": 1, "sent": True, "noted": True})
    assert (heard[0].signature, heard[0].body) == (
        "xdssx",
        (0, 0.0, "UPDATE_STATUS_UPDATED_NEED_REBOOT", "", 0),
    )


def test_a_wish_without_a_bus_is_an_error(node):
    node.bus.kill()
    status, _, err = asyncio.run(node.run("send-need-reboot"))
    assert status == 1
    assert "Error: the system bus cannot be reached" in err


async def test_a_wish_is_taken_back(node):
    node.need.note("", datetime.now(UTC), BOOT)
    assert await node.run("cancel") == (0, "cancelled: the request for a reboot is removed\n", "")
    assert not node.need.path.exists()
    assert await node.run("cancel") == (0, "nothing to cancel\n", "")


async def test_cancel_names_the_way_out_where_update_engine_itself_wants_the_reboot(node):
    async with Engine(node.bus.address) as engine:
        engine.set(NEED_REBOOT, "4459.2.0")
        status, out, err = await node.run("cancel")
        assert (status, out) == (0, "nothing to cancel\n")
        assert "update_engine itself needs a reboot into 4459.2.0" in err
        assert "-reset_status" in err
        _, out, _ = await node.run("cancel", "-json")
        assert json.loads(out) == {"schema": 1, "cancelled": False, "update_engine": "4459.2.0"}


async def test_past_the_point_of_no_return_it_is_too_late_to_cancel(node):
    node.need.note("", datetime.now(UTC), BOOT)
    entry = node.entry(by="locksmithd")
    node.journal.begin(entry)
    node.journal.commit(entry.claim.nonce)
    status, out, err = await node.run("cancel")
    assert (status, out) == (1, "")
    assert "Error: too late" in err
    assert node.need.path.exists()


def test_cancel_and_reboot_say_what_is_wrong_with_the_journal(node):
    async def tell(doubles):
        node.write(node.journal.path, '{"torn')
        for command in ("cancel", "reboot"):
            status, _, err = await node.run(command)
            assert status == 1
            assert f"{node.journal.path}: not a reboot journal" in err
        assert doubles.machine.reboots == 0
        assert await node.holders() == ()

    story(node, tell)


def test_a_daemon_notes_the_wish_at_once_and_looks_again_when_it_is_taken_back(site):
    async def story(node):
        await node.says("idle")
        assert await node.tool("send-need-reboot") == (0, "")
        await node.says("DRY RUN: waiting (dry_run): would ask the strategy etcd-lock now")
        assert await node.tool("send-need-reboot") == (0, "")
        assert await node.tool("cancel") == (0, "cancelled: the request for a reboot is removed\n")
        await node.says("idle", times=2)

    site.play(story, dry_run=True)


async def line(node) -> list[str]:
    """Who stands in line."""
    store = open_store(node.settings)
    try:
        entries = (await store.list(keys.waiters_prefix(node.group))).entries
        return [places.name_in(entry.key) for entry in entries]
    finally:
        await store.close()


async def stands(node, *names: str) -> None:
    async with asyncio.timeout(LIMIT):
        while await line(node) != [*names]:
            pass


@contextlib.asynccontextmanager
async def held_by(node, holder: str):
    """Have somebody hold the only slot."""
    claim = Claim(holder, MANUAL, f"of {holder}", datetime(2026, 5, 1, tzinfo=UTC), who="bob", reason="disk swap")
    async with node.lock() as lock:
        await lock.take(claim)
        yield lock


async def test_an_operator_waits_in_line_for_a_lock_by_hand(node):
    async with held_by(node, "rack") as lock:
        call = await node.call("lock", "n9", "--wait", "--reason", "new disk")
        said = await call.process.stderr.readline()
        assert b"waiting: no slot is free: max is 1, held by rack" in said
        assert await line(node) == ["manual:n9"]
        await LockAdmin(lock.guarded).unlock("rack")
    status, out, err = await call.end()
    assert (status, out) == (0, ""), err
    assert "n9 is held manually by alice" in err
    assert await node.holders() == ("n9",)
    assert await line(node) == []


async def test_an_operator_waits_for_a_machine_that_reboots_and_locks_it_then(node):
    async with node.lock() as lock:
        rebooting = Claim("n9", REBOOT, "of n9", datetime(2026, 5, 1, tzinfo=UTC), hostname="n9")
        await lock.take(rebooting)
        call = await node.call("lock", "n9", "--wait")
        said = await call.process.stderr.readline()
        assert b"waiting: n9 is held by n9 for its reboot" in said
        assert await line(node) == []
        await lock.release(rebooting)
    status, _, err = await call.end()
    assert status == 0, err
    async with node.lock() as lock:
        claim = (await lock.read()).claims["n9"]
        assert isinstance(claim, Claim)
        assert claim.kind == MANUAL


async def test_an_operator_who_waits_too_long_leaves_nothing_behind(node):
    async with held_by(node, "rack"):
        status, out, err = await node.run("lock", "n9", "--wait", "--timeout", "300ms")
        assert (status, out) == (1, "")
        assert "the wait ended after 0.3 s: no slot is free: max is 1, held by rack" in err
        assert await line(node) == []
        assert await node.holders() == ("rack",)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)], ids=str)
async def test_an_operator_who_stops_waiting_leaves_nothing_behind(node, number, status):
    async with held_by(node, "rack"):
        call = await node.call("lock", "n9", "--wait")
        await stands(node, "manual:n9")
        call.process.send_signal(number)
        ended, _, err = await call.end()
        assert ended == status, err
        assert await line(node) == []
        assert await node.holders() == ("rack",)


async def test_a_time_limit_needs_something_to_wait_for(node):
    for args in (["--timeout", "1s"], ["--wait", "--timeout", "soon"], ["--wait", "--timeout", "-1s"]):
        status, _, err = await node.run("lock", "n9", *args)
        assert status == 2, err
        assert "--timeout" in err


def test_an_operators_reboot_waits_in_line(node):
    async def tell(doubles):
        async with held_by(node, "rack") as lock:
            call = await node.call("reboot", "--wait")
            await stands(node, MACHINE)
            assert doubles.machine.reboots == 0
            await LockAdmin(lock.guarded).unlock("rack")
            status, _, err = await call.end()
        assert (status, doubles.machine.reboots) == (0, 1), err
        assert await node.holders() == (MACHINE,)
        assert await line(node) == []

    story(node, tell)


def test_an_operators_reboot_that_waits_too_long_leaves_nothing_behind(node):
    async def tell(doubles):
        async with held_by(node, "rack"):
            status, _, err = await node.run("reboot", "--wait", "--timeout", "300ms")
            assert (status, doubles.machine.reboots) == (1, 0)
            assert "not rebooting: the wait ended after 0.3 s" in err
            assert await line(node) == []
            assert node.journal.read().entry is None

    story(node, tell)


@pytest.mark.parametrize("args", [("recheck",), ("triggers",)], ids=" ".join)
def test_a_machine_without_a_daemon_is_told_so_and_what_starts_it(site, args):
    async def story(node):
        code, said = await node.tool(*args)
        assert code == 1
        assert said.startswith("Error: locksmithd does not run on this machine: ")
        assert "systemctl" in said

    site.play_stopped(story)


def test_a_reboot_without_a_daemon_warns_before_it_takes_a_slot(site):
    async def story(node):
        _, said = await node.tool("reboot")
        warned, holding = (
            said.index("Until it runs, no program releases the slot of a reboot"),
            said.index("holding the lock"),
        )
        assert warned < holding

    site.play_stopped(story, reboot=QUICK)

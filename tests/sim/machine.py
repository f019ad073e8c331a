"""A machine that is made up: its power, its boots, its logind, its update engine, its disk and its clock."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, TriggerResult
from locksmith.agent.fleet_server import API
from locksmith.errors import HostError, RebootRefusedError, RebootUnknownError, StoreUnavailableError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.util import jsonread
from tests.sim.plan import STORMY, Faults
from tests.sim.story import Story

MIDNIGHT = datetime(2026, 5, 1, tzinfo=UTC)
DAEMON, PERSON, POWER = "its daemon", "a person", "a power cut"


INSATIABLE: dict[str, Callable[[int], tuple[str, str]]] = {
    "the same": lambda _boot: ("needs-restarting", "needs-restarting"),
    "nothing": lambda _boot: ("max-uptime", ""),
    "two things": lambda boot: ("packages", "ab"[boot % 2]),
    "another thing": lambda boot: ("packages", f"digest-{boot}"),
    "two triggers": lambda boot: (("packages", "kernel")[boot % 2], ""),
}
"""What triggers name that are never content, by the number of the boot."""


@dataclass
class Engine:
    """The update engine. `wish` is the version it wants a reboot for; it is forgotten by a reboot, or by a reset."""

    need: str | None = None
    needed_until: float = float("-inf")
    must_release: bool = False
    done: int = 0

    def wants(self, version: str) -> None:
        """Finish an update."""
        self.need, self.must_release = version, False

    def reset(self, *, must_release: bool = False) -> None:
        """Drop the wish; `called_off`: in a way that no reboot may follow, not even one that is being prepared."""
        if self.need is not None:
            self.need, self.needed_until = None, asyncio.get_running_loop().time()
            self.must_release = must_release


@dataclass
class Disk:
    """What survives a crash and a reboot."""

    raw: bytes | None = None
    boots: list[str] = field(default_factory=list)
    seen: bytes | None = None

    def known(self) -> list[str]:
        """Give the runs in which the machine has shown itself."""
        return self.boots

    def add(self, run: str) -> None:
        """Remember a run."""
        self.boots.append(run)


class SimJournal(JournalFile):
    """The real journal on a disk in memory. `moment` is called before and after each write: the process may die."""

    def __init__(
        self,
        machine_id: str,
        disk: Disk,
        moment: Callable[[str], None],
        hardware: str = "",
        seen: "SimSeen | None" = None,
    ) -> None:
        if seen is None:
            super().__init__(Paths(), machine_id, hardware)
        else:
            super().__init__(Paths(), machine_id, hardware, cluster=seen.cluster_of, silent=seen.is_silent)
            seen.asks = lambda: self.asking(seen.is_of)
        self._disk = disk
        self._moment = moment

    def _load(self) -> bytes | None:
        return self._disk.raw

    def _store(self, raw: bytes) -> None:
        self._moment("before a write of the journal")
        self._disk.raw = raw
        self._moment("after a write of the journal")

    def _set_aside(self) -> None:
        self._disk.raw = None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        yield  # one process, and nothing awaits while it writes


class SimSeen(SeenRevision):
    """What was seen of the store, on a disk in memory."""

    def __init__(
        self, disk: Disk, clock: Callable[[], datetime], endpoints: tuple[str, ...] = ("memory",), api: int = 3
    ) -> None:
        self._disk = disk
        super().__init__(Paths(), api, endpoints, clock)

    @property
    def revision(self) -> int:
        """The highest revision that it has noted."""
        return self._seen.revision

    @property
    def version(self) -> int:
        """The version of the entry that it has noted."""
        return self._seen.entry.version if self._seen.entry else 0

    def _load_raw(self) -> bytes:
        return self._disk.seen or b""

    def _store_raw(self, raw: bytes) -> None:
        self._disk.seen = raw


@dataclass
class SimMachine:
    """One machine. `down_by` says who made it go down; from then until it has booted again, nothing runs to the end.

    `name` is its id; `host` what it is called, where that is something else.
    """

    name: str
    rng: Random
    story: Story
    faults: Callable[[], Faults]
    engine: Engine = field(default_factory=Engine)
    packages: Engine = field(default_factory=Engine)
    disk: Disk = field(default_factory=Disk)
    boots: int = 1
    booted_at: float = 0.0
    soft_boots: int = 0
    ordered_for: str | None = None
    """What its engine wanted when its daemon last brought it down."""
    tried: set[str] = field(default_factory=set)
    """The versions that its own daemon has rebooted it for."""
    insatiable: str = ""
    """In which way a trigger wants a reboot for ever; empty: there is none."""
    met: set[tuple[str, str]] = field(default_factory=set)
    """What that trigger wanted when its own daemon rebooted it."""
    meets: tuple[str, str] | None = None
    """What it wanted when its daemon last brought it down."""
    caused: list[datetime] = field(default_factory=list)
    """When its own daemon rebooted it, by its clock."""
    host: str = ""
    offset: timedelta = timedelta()
    snapshots: list[Disk] = field(default_factory=list)
    """The disk as it was before the last writes of its journal."""
    forgot: str = ""
    """The nonce of the claim whose commits its disk does not all know any more; `remembers`: how many it knows."""
    remembers: int = 0
    forgot_at: float = float("-inf")
    full_until: float = 0.0
    no_bus_until: float = 0.0
    hardware: str = ""
    was_behind: bool = False
    """Whether its clock has ever been behind."""
    on: bool = True
    runs: int = 0
    """How many runs of its daemon there were."""
    saw: int = 0
    """The youngest version of the semaphore in an answer to this run of its daemon."""
    down_by: str | None = None
    going_down: bool = False
    silent_until: float = 0.0
    sick_until: float = 0.0
    blocked_since: float | None = None
    unable_until: float = 0.0
    """Until when its look at the other keyspace fails."""
    astray_until: float = 0.0
    """Until when its endpoints lead to another cluster."""
    endpoints: tuple[str, ...] = ("memory",)
    """What its configuration names."""
    wrong_until: float = math.inf
    """Until when no endpoint answers that is wrong; from then on it leads to the store, until it is corrected."""
    is_served: bool = False
    """Whether it has no etcd, and asks servers."""
    is_ahead: bool = False
    """Whether it believes to have seen more of the store than that knows, until an operator's `resume`."""
    halt_after: HaltAfter = FIRST
    off_for: float = 0.0
    """Seconds more for which it stays off when it loses its power the next time."""
    drained: bool = False
    users: dict[str, float] = field(default_factory=dict)
    """Who is logged in, and until when."""
    down: dict[str, "SimMachine"] = field(default_factory=dict)
    """Shared by the fleet: those that their own daemon brought down, until they have booted."""
    lost_power: Callable[[], None] = lambda: None
    booted: Callable[[], None] = lambda: None

    @property
    def boot(self) -> Boot:
        """This boot."""
        return Boot(f"{self.host or self.name}-boot-{self.boots}", self.soft_boots)

    @property
    def knows_its_cluster(self) -> bool:
        """Whether it has noted which cluster its store is: one that has not would believe another."""
        return bool(self.noted().clusters.own)

    def noted(self) -> "SimSeen":
        """Read what it has noted of the store."""
        return SimSeen(self.disk, self.clock, (), API) if self.is_served else SimSeen(self.disk, self.clock)

    @property
    def claims(self) -> bool:
        """Whether its journal names a claim."""
        return b'"claim"' in (self.disk.raw or b"")

    @property
    def is_committed(self) -> bool:
        """Whether its journal says that it is past the point of no return, in this boot."""
        entry = jsonread.load_object(self.disk.raw).get("entry") if self.disk.raw else None
        return entry is not None and (entry["phase"], entry["boot_id"]) == ("committed", self.boot.boot_id)

    def set_clock(self, step: timedelta) -> None:
        """Step its clock."""
        self.offset += step
        self.was_behind = self.was_behind or self.offset < timedelta()

    @property
    def nonce(self) -> str:
        """The nonce of the claim that its journal names; empty: it names none."""
        entry = jsonread.load_object(self.disk.raw).get("entry") if self.disk.raw else None
        return str(entry["claim"]["nonce"]) if entry is not None else ""

    @property
    def commits(self) -> int:
        """How many commits of its claim its journal knows."""
        entry = self.disk.raw and jsonread.load_object(self.disk.raw).get("entry")
        return entry["claim"].get("commits", 0) if entry else 0

    def clock(self) -> datetime:
        """What the machine takes for the time."""
        return MIDNIGHT + timedelta(seconds=asyncio.get_running_loop().time()) + self.offset

    def shutdown_state(self) -> ShutdownState:
        """What logind and systemd say."""
        now, rng = asyncio.get_running_loop().time(), self.rng
        if rng.random() < self.faults().silent_logind:
            self.silent_until = now + rng.uniform(1, 60)
        if now < self.silent_until:
            return ShutdownState.UNKNOWN
        return ShutdownState.GOING_DOWN if self.going_down else ShutdownState.RUNNING

    def cancel(self) -> bool:
        """Call the reboot off, as the journal allows; False where nothing wants one. `HostError`: it is too late."""

        def call_off() -> bool:
            wanted = self.engine.need is not None
            self.engine.reset(must_release=True)
            return wanted

        return self.on and SimJournal(self.name, self.disk, lambda _moment: None).unless_committed(
            self.boot.boot_id, call_off
        )

    def check(self) -> TriggerResult:
        """What the engine says."""
        if self.rng.random() < self.faults().engine_error:
            return TriggerResult(error="update_engine does not answer")
        version = self.engine.need
        return TriggerResult(RebootNeed("update_engine", version, self.clock()) if version else None)

    @property
    def is_wanted(self) -> bool:
        """Whether anything wants it to reboot."""
        return self.engine.need is not None or self.packages.need is not None

    def look_at_packages(self) -> TriggerResult:
        """What the packages say."""
        version = self.packages.need
        return TriggerResult(RebootNeed("reboot-required", version, self.clock()) if version else None)

    def wants_for_ever(self) -> tuple[str, str] | None:
        """Name the trigger that is never content, and the version that it names in this boot."""
        if not self.insatiable or not self.faults().insatiable:
            return None
        return INSATIABLE[self.insatiable](self.boots)

    def look_at_insatiable(self) -> TriggerResult:
        """What the trigger says that is never content."""
        wants = self.wants_for_ever()
        if wants is None:
            return TriggerResult()
        trigger, version = wants
        return TriggerResult(RebootNeed(trigger, version, self.clock(), judges=False))

    def forget_reboots(self) -> None:
        """Forget what it has rebooted for: no memory of it is left, or an operator allows more."""
        self.tried.clear()
        self.met.clear()
        self.caused.clear()

    def order_reboot(self) -> None:
        """Take the daemon's order as logind does, with all that can go wrong."""
        faults, rng = self.faults(), self.rng
        if self.down_by is not None:
            raise RebootRefusedError("there is a shutdown in progress already")
        if asyncio.get_running_loop().time() < self.silent_until:
            raise HostError("logind is not on the bus")
        if rng.random() < faults.refused:
            self.story.tell(self.name, "logind refuses")
            raise RebootRefusedError("access denied")
        lost = rng.random() < faults.lost_reply
        if rng.random() < faults.nothing_happens:
            self.story.tell(self.name, f"logind {'is not reached' if lost else 'says yes and does nothing'}")
        else:
            self.go_down(DAEMON)
        if lost:
            raise RebootUnknownError("no reply to the reboot")

    def go_down(self, by: str) -> None:
        """Begin a shutdown; it may be seen at once or a little later, and may be delayed for minutes."""
        if self.down_by is not None:
            return
        loop, rng = asyncio.get_running_loop(), self.rng
        self.down_by = by
        if by == DAEMON:
            self.down[self.name], self.ordered_for = self, self.engine.need
            self.meets = self.wants_for_ever()
        seen = rng.choice((0.0, 0.0, rng.uniform(0.1, 10)))
        delay = rng.uniform(30, 200) if rng.random() < self.faults().inhibited else rng.uniform(0.1, 5)
        self.story.tell(self.name, f"goes down by {by} in {seen + delay:.1f} s")
        boot = self.boots
        loop.call_later(seen, self._show_going_down, boot)
        loop.call_later(seen + delay, self._power_off, boot)

    def reboot_softly(self) -> None:
        """Start userspace anew, as `systemctl soft-reboot` does: the kernel stays, and its boot id with it."""
        if self.down_by is not None:
            return
        self.story.tell(self.name, "reboots softly by a person")
        self.soft_boots += 1
        self.drained = False
        self.lost_power()
        asyncio.get_running_loop().call_later(self.rng.uniform(0.5, 5), self.booted)

    def keep_a_snapshot(self) -> None:
        """Remember the disk as it is now, where it may come back."""
        if self.faults().disk_rollback:
            self.snapshots = [*self.snapshots[-7:], replace(self.disk, boots=[*self.disk.boots])]

    def fill_disk(self, seconds: float) -> None:
        """Let the disk take no writes for a while."""
        self.story.tell(self.name, f"has a full disk for {seconds:.0f} s")
        self.full_until = asyncio.get_running_loop().time() + seconds

    def _change_disk(self) -> bool:
        """Come up with an older disk, or with an empty one; True: the update is not there either."""
        faults, rng = self.faults(), self.rng
        rolled_back = bool(self.snapshots) and rng.random() < faults.disk_rollback
        if not rolled_back and rng.random() >= faults.disk_lost:
            return False
        nonce, commits, disk = self.nonce, self.commits, rng.choice(self.snapshots) if rolled_back else Disk()
        self.story.tell(self.name, f"comes up with {'the disk of some time ago' if rolled_back else 'an empty state'}")
        self.disk.raw, self.disk.boots, self.disk.seen = disk.raw, [*disk.boots], disk.seen
        self.forgot_at = asyncio.get_running_loop().time()
        if not self.knows_its_cluster:
            self.astray_until = 0.0  # without memory it would believe the other cluster
        known = self.commits if self.nonce == nonce else -1
        if nonce and known < commits:
            self.forgot, self.remembers = nonce, known
        return rolled_back

    async def look_at_other_keyspace(self) -> None:
        """Look whether the group is in use on v2."""
        await asyncio.sleep(0)
        if asyncio.get_running_loop().time() < self.unable_until:
            raise StoreUnavailableError("an endpoint of its own does not answer")

    def problems(self) -> tuple[Blocker, ...]:
        """What a look at its health finds."""
        sick = asyncio.get_running_loop().time() < self.sick_until
        return (Blocker("health", "web.service has failed"),) if sick else ()

    def blockers(self) -> tuple[Blocker, ...]:
        """Who blocks its shutdown."""
        return () if self.blocked_since is None else (Blocker("inhibitor", "backup runs"),)

    def logged_in(self, rng: Random) -> frozenset[str]:
        """Who is logged in; another user may have come."""
        now = asyncio.get_running_loop().time()
        self.users = {user: until for user, until in self.users.items() if until > now}
        if rng.random() < self.faults().logins:
            user = f"user{len(self.users)}-{now:.0f}"
            self.users[user] = now + rng.uniform(60, 300)
            self.story.tell(self.name, f"has {user} logged in")
        return frozenset(self.users)

    async def block(self, seconds: float) -> None:
        """Block its shutdown for a while."""
        if self.blocked_since is None:
            self.story.tell(self.name, f"has its shutdown blocked for {seconds:.1f} s")
            self.blocked_since = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            self.blocked_since = None

    def cut_power(self) -> None:
        """Go down at once, whatever was under way."""
        if not self.on:
            return
        self.story.tell(self.name, "loses its power")
        self.down_by = self.down_by or POWER
        self._power_off(self.boots)

    def _show_going_down(self, boot: int) -> None:
        self.going_down = self.going_down or boot == self.boots

    def _power_off(self, boot: int) -> None:
        if boot != self.boots:
            return
        self.boots += 1
        self.on, self.going_down = False, True
        self.lost_power()
        loop, gone = asyncio.get_running_loop(), self.rng.uniform(5, 40)
        if self.rng.random() < self.faults().dead:
            self.story.tell(self.name, "does not come back")
            gone += max(0.0, STORMY - loop.time()) + self.rng.uniform(0, 1200)
        loop.call_later(gone + self.off_for, self._boot)
        self.off_for = 0.0

    def _boot(self) -> None:
        if self.down_by == DAEMON:
            self.tried |= {self.ordered_for} if self.ordered_for is not None else set()
            self.met |= {self.meets} if self.meets is not None else set()
            self.caused.append(self.clock())
        self.on, self.down_by, self.going_down, self.silent_until = True, None, False, 0.0
        self.booted_at = asyncio.get_running_loop().time()
        self.down.pop(self.name, None)
        older = self._change_disk()
        if older and self.engine.need is None and self.ordered_for is not None:
            self.engine.wants(self.ordered_for)
        rolled_back = self.engine.need is not None and (older or self.rng.random() < self.faults().rollback)
        if rolled_back:
            self.story.tell(self.name, f"comes up without update {self.engine.need}, and wants it again")
        for source in () if older else (self.packages,) if rolled_back else (self.engine, self.packages):
            if source.need is not None:
                source.done += 1
                source.need = None
        if self.rng.random() < self.faults().no_bus:
            self.no_bus_until = asyncio.get_running_loop().time() + self.rng.uniform(5, 400)
            self.story.tell(self.name, f"comes up without a bus, until {self.no_bus_until:.1f}")
        if self.rng.random() < self.faults().sick:
            self.sick_until = asyncio.get_running_loop().time() + self.rng.uniform(5, 300)
            self.story.tell(self.name, f"comes up sick, until {self.sick_until:.1f}")
        self.story.tell(self.name, f"has booted, {self.boot.boot_id}")
        self.booted()

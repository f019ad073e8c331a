"""What may never happen, checked at every write of the store, at every order to reboot and after every turn.

Nothing here asks the code under test: the rules read the store's values, the machines and what the people did.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from locksmith import fleet, jsonread, keys, semaphore, share
from locksmith.config_windows import WindowSettings
from locksmith.errors import CorruptValueError
from locksmith.fleet import BLAMED, COMMITTED, HELD, MANUAL, Claim
from locksmith.operator_orders import Ordered
from locksmith.semaphore import Semaphore
from locksmith.window import window_set
from locksmith.window.blackout import Blackout
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows
from tests.sim.daemon import GROUP
from tests.sim.machine import DAEMON, SimMachine
from tests.sim.network import SimServer, Values
from tests.sim.story import Story

KEY = keys.semaphore_key(GROUP)
WINDOWS = keys.window_key("fleet")
NEVER = Windows(blackouts=(Blackout.parse("Mon..Sun"),))
FRESH = 10.0
"""Seconds the last look may be old at the reboot, and a little for the order itself."""
OPERATOR = "operator"
LINE = keys.waiters_prefix(GROUP)
SHARE = keys.share_key(GROUP)
LATE = 120.0
"""Seconds after which no write is on its way any more: the longest the network keeps one, and some tries."""
HAND_OVER = 1.0
"""Seconds of made-up time, in which a call takes up to 40 ms, for a slot to find the first in line."""


@dataclass
class Rules:
    """The rules of one simulation; `windows` are those of its machines, `bare` the ids taken without a record."""

    story: Story
    server: SimServer
    machines: dict[str, SimMachine]
    windows: dict[str, WindowSettings]
    dry: set[str]
    hooks: bool = False
    calm: bool = False
    """No fault of any kind will happen, so nothing excuses a free slot while somebody waits."""
    unlocked: dict[str, int] = field(default_factory=dict)
    """For each id that an operator unlocked past its point of no return: in which boot of the machine."""
    left_line: dict[str, float] = field(default_factory=dict)
    """For each id whose place in line was given up, or has expired: when."""
    free_since: float | None = None
    frozen: set[str] | None = None
    """While the group is frozen, as the operator was told: who is past the point of no return all the same."""
    halted: set[str] | None = None
    """While a reboot went wrong and nobody has seen that: who was past the point of no return before."""
    version: int = 0
    """The semaphore's, at the last write."""
    sets: list[tuple[float, WindowSet | None]] = field(default_factory=list)
    """The set of windows in the store: since when it is what."""

    def wrote(self, author: str, before: Values) -> None:
        """Judge one write."""
        after = self.server.values()
        old, new = _semaphore(before), _semaphore(after)
        added, removed = set(new.holders) - set(old.holders), set(old.holders) - set(new.holders)
        if added and len(new.holders) > new.max:
            self.story.breaks(f"{author} took a slot although {len(old.holders)} of {new.max} were held")
        if new.max != old.max and author != OPERATOR and not self._is_shares(before, old.max, new.max):
            self.story.breaks(f"{author} changed max from {old.max} to {new.max}")
        for holder in sorted(added | removed):
            self.story.tell(author, f"{'takes' if holder in added else 'gives back'} {holder}: {_text(new)}")
        for holder in sorted(removed):
            self._gave_back(author, holder, _record(before, holder))
        for holder in sorted(added):
            if holder == author:
                self.unlocked.pop(holder, None)
                self._in_turn(author)
            elif author != OPERATOR:
                self.story.breaks(f"{author} took a slot for {holder}")
        for holder in sorted(set(old.holders) & set(new.holders)):
            self._kept(author, _record(before, holder), _record(after, holder))
        self._note_who_left_the_line(before.keys() - after.keys())
        if before.get(WINDOWS) != after.get(WINDOWS) or not self.sets:
            now = window_set.decode(after[WINDOWS], WINDOWS) if WINDOWS in after else None
            self.sets.append((asyncio.get_running_loop().time(), now))
        self._note_halt(before, after)

    def _gave_back(self, author: str, holder: str, record: Claim | None) -> None:
        machine = self.machines.get(holder)
        if author == OPERATOR:
            if record is not None and record.state == COMMITTED and machine is not None:
                self.unlocked[holder] = _boot_in_question(machine)
            return
        if holder != author:
            self.story.breaks(f"{author} gave back the slot of {holder}")
        elif record is None and machine is not None:
            self.story.breaks(f"{author} gave back a slot without a record")
        elif record is not None and record.kind == MANUAL:
            self.story.breaks(f"{author} undid the manual claim of {record.who}")
        elif machine is not None and machine.down_by == DAEMON:
            self.story.breaks(f"{author} gave its slot back before it had rebooted")
        elif machine is not None and record is not None and record.boot_id != machine.boot.boot_id:
            if machine.problems():
                self.story.breaks(f"{author} gave its slot back before it was healthy")
            elif machine.drained:
                self.story.breaks(f"{author} gave its slot back before its hooks had brought it back")

    def ordered(self, what: str, done: object) -> None:
        """Take note of an operator's order: what holds from now on, or no longer."""
        self.frozen = {claim.holder for claim in done.too_late} if isinstance(done, Ordered) else None
        if what == "thaw":
            self.frozen = None

    def _note_halt(self, before: Values, after: Values) -> None:
        """A reboot that went wrong halts from the touch of the semaphore on that follows its record."""
        version = self.server.read(KEY).version
        touched, self.version = version != self.version, version
        if not any(self._is_wrong(_record(after, name)) for name in _semaphore(after).holders):
            self.halted = None
        elif touched and self.halted is None:
            records = {name: _record(before, name) for name in _semaphore(before).holders}
            self.halted = {name for name, claim in records.items() if claim is not None and claim.state != HELD}

    def _is_wrong(self, claim: Claim | None) -> bool:
        return claim is not None and claim.state in BLAMED and not claim.acknowledged

    def _is_shares(self, before: Values, was: int, slots: int) -> bool:
        """Whether a share that stands makes this number, of as many machines as may be present."""
        try:
            found = share.decode(before[SHARE], SHARE) if SHARE in before else None
        except CorruptValueError:
            return False
        if found is None or found.is_void(was):
            return False
        return slots in {found.of(machines) for machines in range(len(self.machines) + 1)}

    def _note_who_left_the_line(self, gone: set[str]) -> None:
        for key in gone:
            if key.startswith(LINE):
                self.left_line[keys.unsegment(key.removeprefix(LINE))] = asyncio.get_running_loop().time()

    def _in_turn(self, author: str) -> None:
        """Judge the order: the first in line takes. A take sent from a place that is gone by now may win late."""
        gone = asyncio.get_running_loop().time() - self.left_line.get(author, float("-inf"))
        line = self.server.line_before
        if author in self.machines and line[:1] != [author] and gone > LATE:
            self.story.breaks(f"{author} takes a slot out of turn: in line stand {', '.join(line) or 'none'}")

    def _kept(self, author: str, before: Claim | None, after: Claim | None) -> None:
        if before is not None and before.kind == MANUAL and author != OPERATOR and before != after:
            self.story.breaks(f"{author} wrote over the manual claim of {before.who}")

    def windows_of(self, name: str, ago: float = 0.0) -> list[Windows | None]:
        """Give a machine's windows as they were at some time in the last seconds, and (the last) as they are.

        One whose set is not there has none at all.
        """
        settings, since = self.windows[name], asyncio.get_running_loop().time() - ago
        if not settings.sets:
            return [window_set.union([settings.own])]
        ended = [*(time for time, _ in self.sets[1:]), float("inf")]
        stood = [one for (_, one), end in zip(self.sets, ended, strict=True) if end >= since]
        return [NEVER if one is None else window_set.union([settings.own, one]) for one in stood]

    def began(self, machine: SimMachine) -> None:
        """Judge the beginning of the hooks before a reboot."""
        now, least = machine.clock(), self.windows[machine.name].least
        if not any(_has_left(windows, now, least) for windows in self.windows_of(machine.name, LATE)):
            self.story.breaks(f"{machine.name} begins its reboot with too little of its window left")

    def asked(self, machine: SimMachine) -> None:
        """Judge an order to reboot at the moment it is given."""
        name, engine, packages = machine.name, machine.engine, machine.packages
        windows = self.windows_of(name, FRESH + 5.0)
        self.story.tell(name, "orders its reboot")
        if name in self.dry:
            self.story.breaks(f"{name} reboots in a dry run")
        if not any(one is None or one.contains(machine.clock()) for one in windows):
            self.story.breaks(f"{name} reboots outside its window")
        since = asyncio.get_running_loop().time() - max(engine.wished_until, packages.wished_until)
        called_off = engine.called_off and packages.wish is None and packages.wished_until < engine.wished_until
        if not machine.is_wanted and (called_off or since > FRESH + 0.1):
            self.story.breaks(f"{name} reboots and nothing wants it to")
        blocked = asyncio.get_running_loop().time() - (machine.blocked_since or float("inf"))
        if blocked > FRESH + 0.1:
            self.story.breaks(f"{name} reboots although its shutdown is blocked")
        if self.hooks and not machine.drained:
            self.story.breaks(f"{name} reboots and is not drained")
        frozen = self._freeze_stands() and self.frozen is not None and name not in self.frozen
        if frozen and not self._excused(machine):
            self.story.breaks(f"{name} reboots although the group is frozen, and nobody was told")
        if self.halted is not None and name not in self.halted and not self._excused(machine):
            self.story.breaks(f"{name} reboots although the group is halted")
        if not self._excused(machine) and not self._committed(name):
            self.story.breaks(f"{name} reboots without holding a slot past its point of no return")
        down = [other.name for other in self.machines.values() if other is machine or self._counts(other)]
        now = self.semaphore()
        if len(down) > max(now.max, len(now.holders)) and not self._excused(machine):
            self.story.breaks(f"{', '.join(down)} are down at once")

    def _freeze_stands(self) -> bool:
        return self.server.read(keys.freeze_key(GROUP)).entry is not None

    def turn(self) -> None:
        """Judge the state of the fleet after a turn."""
        going = [machine.name for machine in self.machines.values() if self._counts(machine)]
        if going:
            holders = self.semaphore().holders
            for name in going:
                if name not in holders:
                    self.story.breaks(f"{name} goes down and holds no slot")
        if self.calm:
            self._hand_over()

    def _hand_over(self) -> None:
        """Judge whether a free slot is taken at once by whoever waits for one."""
        time = asyncio.get_running_loop().time()
        line = self.server.line()
        if not line or self.semaphore().available <= 0:
            self.free_since = None
        elif self.free_since is None:
            self.free_since = time
        elif time - self.free_since > HAND_OVER:
            self.story.breaks(f"a slot stays free for {HAND_OVER:.0f} s, and {line[0]} is first in line")

    def semaphore(self) -> Semaphore:
        """The semaphore as it stands."""
        entry = self.server.read(KEY).entry
        return semaphore.decode(entry.value, KEY) if entry else Semaphore()

    def _counts(self, machine: SimMachine) -> bool:
        return machine.down_by == DAEMON and not self._excused(machine)

    def _excused(self, machine: SimMachine) -> bool:
        """Whether an operator took its slot away when it could no longer be stopped, in this boot."""
        return self.unlocked.get(machine.name) == _boot_in_question(machine)

    def _committed(self, name: str) -> bool:
        record = _record(self.server.values(), name)
        claim = self._journal_nonce(name)
        held = name in self.semaphore().holders and record is not None
        return held and record is not None and record.state == COMMITTED and record.nonce == claim

    def _journal_nonce(self, name: str) -> str:
        raw = self.machines[name].disk.raw
        entry = raw and jsonread.load_object(raw).get("entry")
        return entry["claim"]["nonce"] if entry else ""


def _boot_in_question(machine: SimMachine) -> int:
    """The boot that runs, or has just ended while the machine is off."""
    return machine.boots if machine.on else machine.boots - 1


def _semaphore(values: Values) -> Semaphore:
    return semaphore.decode(values[KEY], KEY) if KEY in values else Semaphore()


def _record(values: Values, holder: str) -> Claim | None:
    key = keys.holder_key(GROUP, holder)
    try:
        return fleet.decode(values[key], key, holder) if key in values else None
    except CorruptValueError:
        return None


def _text(now: Semaphore) -> str:
    return f"{len(now.holders)} of {now.max} held by {', '.join(now.holders) or 'nobody'}"


def _has_left(windows: Windows | None, now: datetime, least: timedelta) -> bool:
    opening = windows.opening(now) if windows is not None else None
    return windows is None or (opening is not None and opening.left(now) >= least)

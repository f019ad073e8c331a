"""The trigger `needs-restarting`: a command that says whether a reboot is needed.

If no command is configured, the package manager's own is used: `needs-restarting -r` or `dnf needs-restarting -r` of
Fedora and RHEL, `dnf5 needs-restarting`, `zypper needs-rebooting` of SUSE (102: a reboot is needed, 0: none is). dnf
exits with 1 if a reboot is needed, and with 1 if it fails: its mirrors are away, or it ends in a traceback. So its 1
counts only with its word on standard output: the JSON of dnf5, or the sentence "Reboot is required". Every other end,
and a missing command, is an error that is shown, never a need.
"""

import asyncio
import hashlib
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from locksmith.agent.facts import BEING_ASKED, Boot, RebootNeed, TriggerResult
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.programs import Outcome, Programs
from locksmith.triggers.settings import TriggerSettings
from locksmith.util import jsonread
from locksmith.util.words import listed

if TYPE_CHECKING:
    from locksmith.triggers.plugin import TriggerContext

JITTER = 0.1
"""The share of the period by which periods may differ, between machines and on a machine."""
NOT_RUN = 10.0
"""Seconds after which a command that could not run is tried again, for example before there is a bus to systemd."""
FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin", "usr/local/sbin")

UNKNOWN = 2
"""The exit status of dnf5 if it does not know an option."""
REQUIRED = "Reboot is required"
_PACKAGE = re.compile(r"^ +\* (\S+)")
"""A line of dnf's list of packages that were updated since the boot."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the meaning of its exit statuses, and the file that shows that it is installed (a pattern)."""

    words: tuple[str, ...]
    needed: tuple[int, ...] = (1,)
    not_needed: tuple[int, ...] = (0,)
    shown_by: str = ""
    says: str = ""
    """How a line of its output begins if a reboot is needed. Without that line, its status is an error."""
    json: bool = False
    """Whether its output is the JSON of dnf5, which must agree with its status."""
    older: "Command | None" = None
    """The command to ask if this is unknown there (exit status 2)."""


KNOWN = (
    Command(("needs-restarting", "-r"), shown_by="usr/bin/needs-restarting", says=REQUIRED),
    Command(
        ("dnf5", "--cacheonly", "needs-restarting", "--json"),
        shown_by="usr/lib*/dnf5/plugins/needs_restarting_cmd_plugin.so",
        json=True,
        older=Command(("dnf5", "--cacheonly", "needs-restarting"), says=REQUIRED),
    ),
    Command(
        ("dnf", "needs-restarting", "-r"),
        shown_by="usr/lib/python3*/site-packages/dnf-plugins/needs_restarting.py",
        says=REQUIRED,
    ),
    Command(("zypper", "--non-interactive", "needs-rebooting"), (102,), shown_by="usr/bin/zypper"),
)


class NeedsRestarting:
    """Runs the command in the background, every period; a check gives the last answer."""

    name = "needs-restarting"

    def __init__(self, settings: TriggerSettings, paths: Paths, programs: Programs) -> None:
        self._settings = settings
        self._paths = paths
        self._programs = programs
        self._command = self._find()
        self._last = TriggerResult(says=BEING_ASKED)
        self._was_run = False
        self._asking: asyncio.Task[None] | None = None
        self._rng = Random()  # noqa: S311 - it must only differ from other machines

    @classmethod
    def make(cls, context: "TriggerContext") -> "NeedsRestarting":
        """Give the trigger of this machine."""
        settings = context.settings
        return cls(settings, context.paths, Programs(context.paths, context.bus, settings.limit.total_seconds()))

    def found(self) -> bool:
        """Whether a command is configured, or a package manager here has one."""
        return self._command is not None

    def listen(self, wake: Callable[[], None]) -> None:
        """Begin to run the command; have `wake` called when the answer changes."""
        self._asking = asyncio.ensure_future(self._ask_for_ever(wake))

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Give the last answer."""
        return self._last

    async def close(self) -> None:
        """Stop; a running command goes on by itself, within its limit."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def ask(self) -> TriggerResult:
        """Run the command and read its answer."""
        command, asked = self._command, datetime.now(UTC)
        self._was_run = False
        if command is None:
            return self._doubt("no package manager here has such a command, and none is configured", asked)
        return await self._ask(command, asked)

    async def _ask(self, command: Command, asked: datetime) -> TriggerResult:
        words = shlex.join(command.words)
        try:
            if not self._is_installed(command.words[0]):
                return self._doubt(f"{command.words[0]} is not installed", asked)
            # Another name: the first of two commands may have answered, and not have ended yet.
            name = self.name if command is self._command else f"{self.name}-older"
            outcome = await self._programs.command("trigger", name, self._located(command))
        except (HostError, OSError) as error:
            return self._doubt(f"`{words}` cannot be run: {error}", asked)
        self._was_run = True
        if outcome.code == UNKNOWN and command.older is not None:
            return await self._ask(command.older, asked)
        return self._read(command, words, outcome, asked)

    def _read(self, command: Command, words: str, outcome: Outcome, asked: datetime) -> TriggerResult:
        if outcome.late:
            return self._doubt(f"`{words}`: {outcome.reason}", asked)
        needed, packages = _said(command, outcome.said)
        if outcome.code in command.not_needed and not (command.json and needed is not False):
            return TriggerResult(says=f"`{words}` says that no reboot is needed", looked=asked)
        if outcome.code in command.needed and needed:
            return TriggerResult(self._need(words, packages, asked), looked=asked)
        told = f": {outcome.reason}" if outcome.reason else ""
        return self._doubt(f"`{words}` failed with exit status {outcome.code}{told}", asked)

    def _doubt(self, text: str, asked: datetime) -> TriggerResult:
        return TriggerResult(error=f"{self.name}: {text}", looked=asked)

    def _need(self, words: str, packages: list[str], asked: datetime) -> RebootNeed:
        """Give the need. The named packages are the version: the same packages after a reboot are no new reason.

        Other output is none: it may name progress, a time, or anything else that differs each time. The same version
        after a reboot is no failed reboot either, because some commands always say yes.
        """
        digest = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:12]
        version = f"{self.name}-{digest}" if packages else self.name
        before = self._last.need
        since = before.since if before is not None and before.version == version else asked
        what = f": {listed(packages)}" if packages else ""
        return RebootNeed(self.name, version, since, f"`{words}` says that a reboot is needed{what}", judges=False)

    async def _ask_for_ever(self, wake: Callable[[], None]) -> None:
        period = self._settings.period.total_seconds()
        while True:
            before, self._last = self._last, await self.ask()
            # The first answer wakes too: until then, the triggers' results say that it is still being asked.
            changed = (before.need, before.error) != (self._last.need, self._last.error)
            if changed or before.says == BEING_ASKED:
                wake()
            pause = period if self._was_run else min(period, NOT_RUN)
            await asyncio.sleep(pause * self._rng.uniform(1 - JITTER, 1 + JITTER))

    def _find(self) -> Command | None:
        settings = self._settings
        if settings.command:
            return Command(settings.command, settings.needed, settings.not_needed)
        return next((known for known in KNOWN if any(self._paths.root.glob(known.shown_by))), None)

    def _located(self, command: Command) -> tuple[str, ...]:
        """Name the program by its path, because its supervisor may search other folders."""
        program, *arguments = command.words
        return (str(next(self._places(program))), *arguments)

    def _is_installed(self, program: str) -> bool:
        return any(self._places(program))

    def _places(self, program: str) -> Iterator[Path]:
        """Give the path of a program: its own, or in the folders of programs."""
        folders = ("",) if "/" in program else FOLDERS
        places = (self._paths.root / folder / program.lstrip("/") for folder in folders)
        return (place for place in places if place.is_file())


def _said(command: Command, text: str) -> tuple[bool | None, list[str]]:
    """Give whether the output says that a reboot is needed (None: it says nothing), and the packages that it names."""
    if command.json:
        return _read_json(text)
    lines = text.splitlines()
    says_so = not command.says or any(line.startswith(command.says) for line in lines)
    return says_so, [found[1] for line in lines if (found := _PACKAGE.match(line))]


def _read_json(text: str) -> tuple[bool | None, list[str]]:
    """Read dnf5's answer: a list with one object."""
    try:
        [answer] = jsonread.load_object(f'{{"answers": {text}}}')["answers"]
        needed, packages = answer["reboot_required"], answer["packages"]
    except (jsonread.BadJsonError, LookupError, TypeError, ValueError):
        return None, []
    if not isinstance(needed, bool) or not isinstance(packages, list):
        return None, []
    return needed, [name for name in packages if isinstance(name, str)]

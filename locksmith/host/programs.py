"""The operator's programs: checks and hooks. Each folder runs in the order of its names, each program in its own unit.

In the container image they are children of the daemon, and end with the container.

If a program still runs after a restart of the daemon, the daemon finds it by its name and waits for it. If a program
cannot run, that is a failure, also if a file is not executable. Otherwise a forgotten `chmod` would reboot a machine
that was not drained.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.container import in_image
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError
from locksmith.host.dbus.library import Variant
from locksmith.host.dbus.messages import Call
from locksmith.host.flock import is_locked
from locksmith.host.logind import SYSTEMD
from locksmith.host.paths import Paths
from locksmith.host.program_files import program_files, understands_dry_run, why_unusable
from locksmith.host.trust import refuse_changeable
from locksmith.util import jsonread, limits

DRY_RUN = "--dry-run"

LOOK_EVERY = 0.05
"""Seconds between two checks whether a program has ended."""
START_LIMIT = 20.0
"""Seconds for a program's unit to start."""
CLOSE_LIMIT = 2.0
"""Seconds to wait for the end of children at the end."""
SPARE = 15.0
"""Seconds of a unit's RuntimeMaxSec beyond the program's own limit, at which its supervisor ends it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a program: its exit status (negative: a signal), the last line it printed, whether it ran too long.

    `said` is the beginning of what it printed to standard output.
    """

    code: int
    reason: str = ""
    late: bool = False
    said: str = ""


class Programs:
    """Runs the programs of checks and hooks. `limit` is in seconds, for each program.

    With a `run` folder of its own, `locksmith-server` has them as children also where systemd runs: it has no right to
    start units, and what its hooks do is done elsewhere.
    """

    def __init__(self, paths: Paths, bus: SystemBus, limit: float, run: Path | None = None) -> None:
        self._paths = paths
        self._bus = bus
        self._units = run is None
        self._folder = (run or paths.run) / "programs"
        self._limit = limit
        self._children: list[subprocess.Popen[bytes]] = []

    def of(self, stage: str) -> list[Path]:
        """Name the programs of a stage in their order."""
        return program_files(self._paths, stage)

    def unusable(self, stage: str) -> list[str]:
        """Say of each program of a stage why it cannot be run."""
        said = ((program, why_unusable(program)) for program in self.of(stage))
        return [f"{stage}.d/{program.name}: {sentence}" for program, sentence in said if sentence]

    async def run(self, stage: str, name: str, environ: Mapping[str, str], *, every: bool = False) -> list[str]:
        """Run a stage's programs, and give their failures, as sentences: the first, or with `every` all.

        `name` tells this run from every other; a second call with the same name continues the run.
        """
        failed = []
        for program in self.of(stage):
            sentence = await self._run(program, self._place(stage, program, name), environ)
            if sentence:
                failed.append(f"{stage}.d/{program.name}: {sentence}")
                if not every:
                    break
        return failed

    async def rehearse(self, stage: str, name: str, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Run a stage's programs with `--dry-run`: the failures, as sentences, and the programs that were left out."""
        failed, left_out, rehearsal = [], [], f"rehearsal-{stage}"
        for program in self.of(stage):
            sentence = why_unusable(program)
            if not sentence and not understands_dry_run(program):
                left_out.append(f"{stage}.d/{program.name}")
                continue
            sentence = sentence or await self._run(program, self._place(rehearsal, program, name), environ, DRY_RUN)
            if sentence:
                failed.append(f"{stage}.d/{program.name}: {sentence}")
        self.forget(rehearsal, name)
        return failed, left_out

    async def command(self, stage: str, name: str, words: Sequence[str]) -> Outcome:
        """Give the end of a command; if it runs already, wait for it. `HostError`: its end is not known."""
        place = self._folder / f"{stage}-{name}"
        if not is_locked(place.with_suffix(".lock")):
            place.with_suffix(".json").unlink(missing_ok=True)
            if Path(words[0]).is_absolute():
                refuse_changeable(Path(words[0]), "the program")
            await self._start(words, place, {"LC_ALL": "C.UTF-8"})
        if not await self._ended(place):
            raise HostError("it left no result, as after a kill")
        return read_outcome(place.with_suffix(".json"))

    def forget(self, stage: str, name: str) -> None:
        """Remove the leftovers of a run that is over."""
        for left in self._folder.glob(f"{stage}-*-{name}.*"):
            with contextlib.suppress(OSError):
                left.unlink()

    async def stop(self, stage: str, name: str) -> None:
        """End the running programs of a run, wait for their end, within a limit, and forget the run."""
        for lock in self._folder.glob(f"{stage}-*-{name}.lock"):
            place = lock.with_suffix("")
            if not is_locked(lock):
                continue
            if self._has_units:
                await self._bus.call(Call(*SYSTEMD, "StopUnit", "ss", (_unit(place), "replace")))
            else:
                with contextlib.suppress(OSError, ValueError):
                    os.kill(int(lock.read_text()), signal.SIGTERM)
            await self._until(partial(_is_over, place))
        self.forget(stage, name)

    async def close(self) -> None:
        """Take note of the end of children that have ended, or are about to; within a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT):
                await self._until(lambda: not self._running_children())

    def _running_children(self) -> list[subprocess.Popen[bytes]]:
        self._children = [child for child in self._children if child.poll() is None]
        return self._children

    @property
    def _has_units(self) -> bool:
        """Whether systemd runs the programs: in its units they would have the machine's files, not the image's."""
        return self._units and self._paths.systemd_booted.exists() and not in_image(self._paths)

    def _place(self, stage: str, program: Path, name: str) -> Path:
        """Give the path, without a suffix, of the files of a program's run. Its last part is also the unit's name."""
        return self._folder / f"{stage}-{program.name.replace('.', '_')}-{name}"

    async def _run(self, program: Path, place: Path, environ: Mapping[str, str], *words: str) -> str:
        result = place.with_suffix(".json")
        if not result.exists() and not is_locked(place.with_suffix(".lock")):
            if sentence := why_unusable(program):
                return sentence
            await self._start([str(program), *words], place, environ)
        if not await self._ended(place):
            return "it left no result, as after a kill"
        return _read(result)

    async def _start(self, words: Sequence[str], place: Path, environ: Mapping[str, str]) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        command = [*_supervisor(), str(place), f"{self._limit:g}", *words]
        if self._has_units:
            await self._start_unit(Path(words[0]), place, command, environ)
        else:
            self._start_child(command, environ)
        await self._until(lambda: place.with_suffix(".json").exists() or is_locked(place.with_suffix(".lock")))

    async def _start_unit(self, program: Path, place: Path, command: list[str], environ: Mapping[str, str]) -> None:
        unit = _unit(place)
        with contextlib.suppress(AnsweredError):  # no unit of that name has failed before
            await self._bus.call(Call(*SYSTEMD, "ResetFailedUnit", "s", (unit,)))
        properties = [
            ("Description", Variant("s", f"locksmith runs {program}")),
            ("Type", Variant("s", "exec")),
            ("ExecStart", Variant("a(sasb)", [[command[0], command, False]])),
            ("Environment", Variant("as", [f"{name}={value}" for name, value in environ.items()])),
            ("RuntimeMaxUSec", Variant("t", int((self._limit + SPARE) * 1e6))),
            ("TimeoutStopUSec", Variant("t", 10_000_000)),
            ("CollectMode", Variant("s", "inactive-or-failed")),
            ("SyslogIdentifier", Variant("s", program.name)),
            ("TasksMax", Variant("t", 4096)),
        ]
        await self._bus.call(
            Call(*SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []), reply="o")
        )

    async def _ended(self, place: Path) -> bool:
        """Wait for the program's end; False: it left no result."""
        result, lock = place.with_suffix(".json"), place.with_suffix(".lock")
        # Not the loop's time: a program's limit does not count a suspend, as systemd's does not either.
        ends = time.monotonic() + self._limit + 2 * SPARE
        while not result.exists():
            if not is_locked(lock) or time.monotonic() > ends:
                return result.exists()
            await asyncio.sleep(LOOK_EVERY)
        return True

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait for a supervisor's start or end; `HostError`: it did not come."""
        ends = asyncio.get_running_loop().time() + START_LIMIT
        while not holds():
            if asyncio.get_running_loop().time() > ends:
                raise HostError(f"a program of {self._folder} neither starts nor ends within {START_LIMIT:g} s")
            await asyncio.sleep(LOOK_EVERY)

    def _start_child(self, command: list[str], environ: Mapping[str, str]) -> None:
        """Start the supervisor without systemd, as a child that outlives this process."""
        self._running_children()
        child = subprocess.Popen(  # noqa: S603 - this program itself
            command,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output is the tool's own: it may be JSON
            start_new_session=True,
        )
        self._children.append(child)


def _supervisor() -> list[str]:
    """Give the command that supervises a program. In the self-contained build it is a program of its own there."""
    if getattr(sys, "frozen", False):
        return [str(Path(sys.executable).with_name("locksmith-supervise"))]
    return [sys.executable, "-P", "-m", "locksmith.host.supervise"]


def _is_over(place: Path) -> bool:
    return not is_locked(place.with_suffix(".lock"))


def _unit(place: Path) -> str:
    return f"locksmith-{re.sub(r'[^A-Za-z0-9_.-]', '_', place.name)}.service"


def _read(result: Path) -> str:
    """Say in a sentence what went wrong with a program that has ended; empty: nothing did."""
    try:
        ended = read_outcome(result)
    except HostError as error:
        return str(error)
    if ended.late:
        return ended.reason
    if ended.code == 0:
        return ""
    how = f"it was ended by signal {-ended.code}" if ended.code < 0 else f"it failed with exit status {ended.code}"
    return ended.reason or how


def read_outcome(result: Path) -> Outcome:
    """Read the end of a program. `HostError`: the file does not say."""
    try:
        fields = jsonread.load_record(result.read_bytes(), limits.LOCAL)
        return Outcome(
            code=jsonread.read(fields, "code", int),
            reason=jsonread.read(fields, "reason", str),
            late=jsonread.read(fields, "late", bool),
            said=jsonread.read(fields, "said", str, ""),
        )
    except (OSError, jsonread.BadJsonError) as error:
        raise HostError(f"what became of it cannot be read: {error}") from None

"""Real machines: systemd containers with their own PID 1, bus and logind, that really reboot.

They share the host's network, so a server on its loopback is theirs too, unless they get another (`network.py`).
systemd-nspawn gives each boot a boot id of its own, ends with status 133 where the machine asked for a reboot (with
`--keep-unit`), and is then started again.
"""

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.harness.image import mount
from tests.harness.machine_pool import cgroups, killed, wait_until

REBOOTED = 133
"""The exit status of systemd-nspawn where the machine wants to boot again."""
BOOT_LIMIT = 60.0
"""Seconds until a machine has booted; one takes about one second alone on two cores."""
COMMAND_LIMIT = 30.0
"""Seconds for one command in a machine."""
GOES_DOWN = "98268866d1d54a499c4e98921d93bc40"
"""The journal's message id of logind's last word before a shutdown (sd-messages.h: SD_MESSAGE_SHUTDOWN)."""
HAS_BOOTED = "eed00a68ffd84e31882105fd973abdd1"
"""The journal's message id of a finished boot in a container (sd-messages.h: SD_MESSAGE_USER_STARTUP_FINISHED)."""
STARTS_A_UNIT = "7d4958e842da4a758f6c1cdc7b36dcc5"
"""The journal's message id of PID 1 before it starts a `UNIT` (sd-messages.h: SD_MESSAGE_UNIT_STARTING)."""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


class MachineError(Exception):
    """A machine did not do what a test asked of it."""


@dataclass(frozen=True)
class Boot:
    """One life of a machine as its supervisor sees it: wall-clock seconds, nspawn's exit status."""

    began: float
    ended: float | None = None
    status: int | None = None


@dataclass(frozen=True)
class Outage:
    """From logind's last word before a shutdown to the end of the next boot, wall-clock seconds."""

    machine: str
    begins: float
    ends: float


class Machine:
    """One machine in a pool: an overlay of its own over the layers, the topmost first.

    `network` is the file of a network namespace; without it the machine has the host's network.
    """

    def __init__(self, pool: Path, name: str, layers: Sequence[Path], options: Sequence[str] = ()) -> None:
        self.name = name
        self.network: Path | None = None
        self.options = options
        """More of systemd-nspawn's options."""
        self.id = uuid.uuid4().hex
        self.root = pool / name / "root"
        self.boots: list[Boot] = []
        self._groups = cgroups(pool, name)
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        mount(layers, pool / name / "upper", self.root)
        self.write("etc/machine-id", f"{self.id}\n")
        self.write("etc/hostname", f"{name}\n")

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine, running or not; `path` from its root, without the leading slash."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def start(self) -> None:
        """Switch the machine on; `wait_booted` for the rest."""
        self._boot()
        self._supervisor = threading.Thread(target=self._supervise, name=f"supervisor of {self.name}", daemon=True)
        self._supervisor.start()

    def kill(self) -> None:
        """Pull the plug. `start` switches it on again, with what it had on disk."""
        supervisor, self._supervisor = self._supervisor, None
        with suppress(MachineError, ProcessLookupError):
            # PID 1 takes all others with it; if they ended before it, it would live to act on that.
            os.kill(self._leader(), signal.SIGKILL)
        wait_until(
            lambda: killed(self._groups) and not (supervisor and supervisor.is_alive()),
            limit=COMMAND_LIMIT,
            what=f"the processes of {self.name} end",
        )

    def run(self, *argv: str, limit: float = COMMAND_LIMIT, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as its root; with `check`, a failure is a `MachineError`."""
        enter = ("nsenter", "--target", str(self._leader()), "--all", "--wd=/")
        process = subprocess.Popen(
            [*enter, *argv],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = _communicate(process, limit)
        finally:
            _end_group(process)
        if check and process.returncode != 0:
            raise MachineError(f"{self.name}: {' '.join(argv)}: exit {process.returncode}: {errors or output}")
        return subprocess.CompletedProcess(argv, process.returncode, output, errors)

    def wait_booted(self, *, boots: int = 1, limit: float = BOOT_LIMIT) -> None:
        """Wait until the machine's `boots`th boot has come to its end (a failed unit is no hindrance)."""
        wait_until(lambda: len(self.boots) >= boots, limit=limit, what=f"{self.name} starts boot {boots}")
        wait_until(self._is_up, limit=limit, what=f"{self.name} is up in boot {boots}")

    def boot_id(self) -> str:
        """The id of the boot the machine is in."""
        return self.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip()

    def journal(self, *matches: str) -> str:
        """Give the text of the journal, of all boots, also while the machine is down."""
        return self._journalctl("--output=short-precise", *matches)

    def records(self, *matches: str) -> list[dict[str, Any]]:
        """Give the journal's records that match (`FIELD=value`), of all boots."""
        return [json.loads(line) for line in self._journalctl("--output=json", *matches).splitlines()]

    def boot_ids(self) -> list[str]:
        """Give the id of every boot that came to its end, in order, from the journal."""
        return [record["_BOOT_ID"] for record in self.records(f"MESSAGE_ID={HAS_BOOTED}")]

    def outages(self, *back: str) -> list[Outage]:
        """Give the times in which the machine was not there; one that has not ended counts to infinity.

        The machine is back with the first record that matches `back`, else with the end of its boot.
        """
        downs = [_seconds(record) for record in self.records(f"MESSAGE_ID={GOES_DOWN}")]
        ups = [_seconds(record) for record in self.records(*back or (f"MESSAGE_ID={HAS_BOOTED}",))]
        return [Outage(self.name, down, min((up for up in ups if up > down), default=float("inf"))) for down in downs]

    def _boot(self) -> None:
        nspawn = (
            "systemd-nspawn --quiet --boot --register=no --keep-unit --settings=no --link-journal=no "
            "--resolv-conf=off --timezone=off --console=pipe"
        )
        placed = [f"--machine={self.name}", f"--directory={self.root}"]
        if self.network is not None:
            placed.append(f"--network-namespace-path={self.network}")
        join = ("setpriv", "--pdeathsig", "TERM", "sh", "-c", _JOIN, "sh", *map(str, self._groups), "--")
        self.boots.append(Boot(time.time()))
        with (self.root.parent / "console").open("ab") as console:
            self._process = subprocess.Popen(
                [*join, *nspawn.split(), *placed, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def _supervise(self) -> None:
        """Boot again as often as the machine asks for it."""
        while self._process:
            status = self._process.wait()
            self.boots[-1] = replace(self.boots[-1], ended=time.time(), status=status)
            if status != REBOOTED or self._supervisor is None:
                return
            self._boot()

    def _leader(self) -> int:
        """The machine's PID 1, as the host numbers it."""
        if self._process is None:
            raise MachineError(f"{self.name} was never started")
        parent = self._process.pid
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return next(int(child) for child in children if _is_init(int(child)))
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            raise MachineError(f"{self.name} is down") from None

    def _is_up(self) -> bool:
        try:
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        except MachineError:
            return False
        return state in {"running", "degraded"}

    def _journalctl(self, *arguments: str) -> str:
        place = f"--directory={self.root}/var/log/journal"
        done = subprocess.run(
            ["journalctl", place, "--quiet", "--no-pager", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            env=_ENVIRONMENT,
        )
        return done.stdout


def _is_init(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in status if line.startswith("NSpid:")).split()[-1] == "1"


def _communicate(process: subprocess.Popen[str], limit: float) -> tuple[str, str]:
    """Wait for a command's end, at most `limit` seconds.

    The last act of a shutdown stops every process, then ends and continues it. nsenter stops itself when it sees its
    child stopped, and sits outside, where nobody continues it: the child could not be reaped and the shutdown would
    wait for it.
    """
    ends = time.monotonic() + limit
    while True:
        try:
            return process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            if time.monotonic() > ends:
                raise
            os.killpg(process.pid, signal.SIGCONT)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of a command: nsenter forks into the machine's PID namespace."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _seconds(record: dict[str, Any]) -> float:
    return int(record["__REALTIME_TIMESTAMP"]) / 1e6

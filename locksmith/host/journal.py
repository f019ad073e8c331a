"""The reboot journal: the machine's memory across crashes and reboots (`/var/lib/locksmith/journal.json`).

This machine writes its claim here before it asks the store for a slot, and the point of no return before the reboot.
Only a machine whose reboot journal has a claim's nonce releases that claim. Each write is durable (durable.py). A lock
file next to the reboot journal orders the writes of `locksmithd` and `locksmithctl`.

Above 300 lines, in one piece: every method is one guarded write of the same file.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from locksmith.agent.journal import TAKEN_OVER, FailedAttempt, Hooks, Journal, JournalEntry, Phase, PreRebootState
from locksmith.errors import CorruptValueError, HostError
from locksmith.host import journal_json
from locksmith.host.durable import write_durably
from locksmith.host.flock import locked
from locksmith.host.hardware import read_hardware
from locksmith.host.paths import Paths
from locksmith.lock.records.past import LastReboot, Past
from locksmith.util import jsonread, limits, records

SCHEMA = 1
LOCK_LIMIT = 0.5
"""Seconds to wait for the other program's write; the loop is blocked for so long."""


class TakenOverError(HostError):
    """Not done: the claim was removed from the reboot journal before the point of no return."""


class JournalFile:
    """The reboot journal of one machine. Every write raises `HostError` if it did not reach the disk.

    `failed_writes` counts the last writes in a row that failed. `hardware` is the digest of hardware.py (empty:
    unknown). `by` is the program that writes its own claims only; for that program a claim that the daemon has taken
    over is gone. `cluster` names the etcd cluster of an API and endpoints (empty: not known yet). `silent` says whether
    these have given no answer yet to this program.
    """

    def __init__(
        self,
        paths: Paths,
        machine_id: str,
        hardware: str | None = None,
        *,
        by: str | None = None,
        cluster: Callable[[int, Sequence[str]], str] = lambda _api, _endpoints: "",
        silent: Callable[[int, Sequence[str]], bool] = lambda _api, _endpoints: False,
    ) -> None:
        self.path = paths.state / "journal.json"
        self.failed_writes = 0
        self._machine_id = machine_id
        self._hardware = read_hardware(paths, machine_id) if hardware is None else hardware
        self._by = by
        self._cluster = cluster
        self._silent = silent
        self._may_be_unsent = True
        # The file seldom changes: the same bytes are not parsed twice.
        self._read: tuple[bytes, Journal | None] | None = None

    def read(self) -> Journal:
        """Read the reboot journal; a missing file is empty. `CorruptValueError`: it is unreadable, and left as it is.

        If it is of another machine id or hardware (a copied image or disk), the file is moved aside. Its claim may be
        that of the copied machine, which releases it.
        """
        found = self._own()
        if found is not None:
            return found
        with self._locked():
            return self._own_or_none_yet()

    def begin(self, entry: JournalEntry) -> None:
        """Write down a claim before it is made. `HostError`: there is another claim."""
        with self._locked():
            found = self._own_or_none_yet()
            if found.entry is None:
                self._may_be_unsent = self._silent(entry.api, entry.endpoints)
                self._write(replace(found, entry=replace(entry, unsent=self._may_be_unsent)))
            elif found.entry.claim.nonce != entry.claim.nonce:
                raise HostError(
                    f"{found.entry.by} has a claim on the lock for this machine already, since "
                    f"{records.moment(found.entry.claim.since)}; see {self.path}"
                )

    def asking(self, is_of: Callable[[int, Sequence[str]], bool]) -> None:
        """Write down that a slot may be asked for, before the semaphore is written; `is_of` knows its store.

        `HostError`: it was not written down, so the semaphore must not be written. If nothing is to be written down,
        the disk may be read-only: a slot is released, and a sick machine reported, all the same.
        """
        if not self._may_be_unsent:
            return

        def unsent(found: Journal | None) -> JournalEntry | None:
            entry = found.entry if found else None
            return entry if entry is not None and entry.unsent and is_of(entry.api, entry.endpoints) else None

        if unsent(self._own()) is not None:
            with self._locked():
                found = self._own_or_none_yet()
                if (entry := unsent(found)) is not None:
                    self._write(replace(found, entry=replace(entry, unsent=False)))
        self._may_be_unsent = False

    def commit(self, nonce: str, before: PreRebootState | None = None) -> None:
        """Write down the point of no return, and the machine's state then. `TakenOverError`: the claim is gone."""
        with self._locked():
            found = self._own_or_none_yet()
            entry = self._claimed(found, nonce)
            if entry is None:
                raise self._cancelled()
            before = before or entry.before
            committed = replace(entry, phase=Phase.COMMITTED, claim=entry.claim.committed(), before=before)
            self._write(replace(found, entry=committed))

    def reopen(self, nonce: str) -> None:
        """Remove the point of no return: no reboot was asked for, or certainly none will happen."""
        with self._locked():
            found = self._own_or_none_yet()
            if (entry := self._claimed(found, nonce)) is not None:
                reopened = replace(entry, phase=Phase.REQUESTED, claim=entry.claim.reopened())
                self._write(replace(found, entry=reopened))

    def owns(self, nonce: str) -> bool:
        """Whether the claim is there, and still belongs to this program."""
        return self._claimed(self.read(), nonce) is not None

    @contextlib.contextmanager
    def holding(self, nonce: str) -> Iterator[None]:
        """Keep every other program from writing while a committed claim's reboot is ordered.

        `TakenOverError`: the claim is not there, is not committed, or belongs to another program by now.
        """
        with self._locked():
            entry = self._claimed(self._own_or_none_yet(), nonce)
            if entry is None or entry.phase is not Phase.COMMITTED:
                raise self._cancelled()
            yield

    def take_over(self, nonce: str, goes_on: Callable[[], bool]) -> None:
        """Let the daemon take over another program's claim, to release it, unless that program `goes_on` after all.

        After that the other program can neither commit nor order the reboot.
        """
        with self._locked():
            found = self._own_or_none_yet()
            if (entry := self._claimed(found, nonce)) is not None and not goes_on():
                self._write(replace(found, entry=replace(entry, by=TAKEN_OVER)))

    def hooks(self, nonce: str, hooks: Hooks, taken: datetime | None = None) -> None:
        """Write down how far the hooks of a claim have come, before the first begins. The claim then has its slot.

        `TakenOverError`: the claim belongs to another program by now.
        """
        written = self._change(
            nonce,
            lambda entry: replace(entry, hooks=hooks, claim=replace(entry.claim, taken=entry.claim.taken or taken)),
        )
        if not written and self._by is not None:
            raise self._cancelled()

    def report_failure(self, nonce: str, state: str, failure: str) -> None:
        """Write down what went wrong with the reboot of a claim."""
        self._change(nonce, lambda entry: replace(entry, claim=entry.claim.gone_wrong(state, failure)))

    def fail(self, nonce: str, failure: FailedAttempt) -> None:
        """Write down that the reboot of a claim did not happen; the claim stays until it is released."""
        with self._locked():
            found = self._own_or_none_yet()
            if self._claimed(found, nonce) is not None:
                self._write(replace(found, failure=failure))

    def clear(self, nonce: str, *, done: LastReboot | None = None, past: Past = ()) -> None:
        """Forget a claim that is released; after a reboot that is `done`, also earlier failures.

        The `past` is what the group remembers and this machine does not. If the claim is not there, nothing is written.
        """
        with self._locked():
            found = self._own_or_none_yet()
            if self._claimed(found, nonce) is not None:
                self._write(found.after(done, past))

    def forget(self, nonce: str, boot_id: str) -> None:
        """Forget a claim that is not released, as an operator has said. `HostError`: its reboot may be under way."""
        with self._locked():
            found = self._own_or_none_yet()
            entry = found.entry
            if entry is None or entry.claim.nonce != nonce:
                raise HostError("the claim is no longer in the reboot journal: nothing was forgotten")
            if entry.phase is Phase.COMMITTED and entry.boot.boot_id == boot_id:
                raise HostError("this machine is past the point of no return, it is rebooting: nothing was forgotten")
            self._write(replace(found, entry=None))

    def forgive(self, now: datetime) -> None:
        """Forget the failures and the last reboot, so that the next need is tried at once.

        The group's memory of the last reboot does not count either, also for a claim that waits for its slot.
        """
        with self._locked():
            entry = self._own_or_none_yet().entry
            if entry is not None and entry.phase is Phase.REQUESTED:
                entry = replace(entry, claim=replace(entry.claim, rechecked=now))
            self._write(Journal(entry, rechecked=now))

    def unless_committed(self, boot_id: str, call_off: Callable[[], bool]) -> bool:
        """Run `call_off` while no program can commit. `HostError`: a claim is committed, in this boot.

        A program that commits afterwards checks the triggers again, and so finds the need gone.
        """
        with self._locked():
            entry = self._own_or_none_yet().entry
            if entry is not None and entry.phase is Phase.COMMITTED and entry.boot.boot_id == boot_id:
                raise HostError("too late: this machine is past the point of no return, it is rebooting")
            return call_off()

    def _change(self, nonce: str, change: Callable[[JournalEntry], JournalEntry]) -> bool:
        with self._locked():
            found = self._own_or_none_yet()
            if (entry := self._claimed(found, nonce)) is not None:
                self._write(replace(found, entry=change(entry)))
            return entry is not None

    def _claimed(self, found: Journal, nonce: str) -> JournalEntry | None:
        """Give the entry of a claim; None: it is not there, or belongs to another program by now."""
        entry = found.entry
        gone = entry is None or entry.claim.nonce != nonce or self._by not in (None, entry.by)
        return None if gone else entry

    def _cancelled(self) -> TakenOverError:
        return TakenOverError(f"the claim is no longer in the reboot journal {self.path}: the reboot was cancelled")

    def _own(self) -> Journal | None:
        """Read the file; None: it is of another machine."""
        raw = self._load()
        if raw is None:
            return Journal()
        if self._read is not None and self._read[0] == raw:
            return self._read[1]
        found = self._parsed(raw)
        self._read = (raw, found)
        return found

    def _parsed(self, raw: bytes) -> Journal | None:
        try:
            fields = jsonread.load_record(raw, limits.JOURNAL)
            if jsonread.read(fields, "machine_id", str) != self._machine_id:
                return None
            written_on = jsonread.read(fields, "hardware", str, "")
            if written_on and self._hardware and written_on != self._hardware:
                return None
            return journal_json.parse(fields, self._machine_id)
        except (jsonread.BadJsonError, CorruptValueError) as error:
            raise CorruptValueError(
                str(self.path),
                f"not a reboot journal ({error}); run `locksmithctl status`. If this machine holds a slot, free it "
                "with `locksmithctl unlock`, then move the file away",
            ) from None

    def _own_or_none_yet(self) -> Journal:
        """Read the file under its lock, so that no new reboot journal is moved aside in place of a copied file."""
        found = self._own()
        if found is None:
            self._set_aside()
        return found or Journal()

    def _write(self, journal: Journal) -> None:
        entry = journal.entry
        if entry is not None and not entry.cluster:
            journal = replace(journal, entry=replace(entry, cluster=self._cluster(entry.api, entry.endpoints)))
        whose = {"schema": SCHEMA, "machine_id": self._machine_id, "hardware": self._hardware}
        self.failed_writes += 1
        self._store(json.dumps({**whose, **journal_json.encode(journal)}, indent=1).encode())
        self.failed_writes = 0

    def _load(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"the reboot journal {self.path} cannot be read: {error.strerror}") from None

    def _store(self, raw: bytes) -> None:
        try:
            write_durably(self.path, raw)
        except OSError as error:
            raise HostError(f"the reboot journal {self.path} cannot be written: {error.strerror}") from None

    def _set_aside(self) -> None:
        aside = self.path.with_name("journal.of-another-machine.json")
        try:
            self.path.rename(aside)
        except OSError as error:
            raise HostError(
                f"the reboot journal {self.path} is of another machine and cannot be moved aside: {error.strerror}"
            ) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(holding(self.path.with_suffix(".lock"), f"the reboot journal {self.path}"))
            except HostError:
                self.failed_writes += 1  # a disk that takes no writes takes no lock file either
                raise
            yield


@contextlib.contextmanager
def holding(path: Path, what: str) -> Iterator[int]:
    """Hold a lock file, and give its descriptor; errors inside the block pass unchanged."""
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(locked(path, limit=LOCK_LIMIT))
        except BlockingIOError:
            raise HostError(f"{path} is held by another program for more than {LOCK_LIMIT:g} s") from None
        except OSError as error:
            raise HostError(f"{what} cannot be locked: {error.strerror}") from None
        yield fd

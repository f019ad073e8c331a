"""The machine's memory across crashes and reboots: `/var/lib/locksmith/journal.json`.

It names the claim this machine made, before the store is asked for it, and the point of no return, before the reboot.
Only a machine whose journal has a claim's nonce gives that claim back. Each write is a new file, synced, renamed over
the old one, and its folder synced; a lock beside it orders `locksmithd` and `locksmithctl`.
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
from locksmith.lock.answer import LastReboot
from locksmith.util import jsonread, limits, records

SCHEMA = 1
LOCK_LIMIT = 0.5
"""Seconds to wait for the other program's write, in which the loop stands still."""


class TakenOverError(HostError):
    """The claim was taken out of the journal before the point of no return."""


class JournalFile:
    """The journal of one machine. Every write raises `HostError` when it did not reach the disk.

    `failed_writes` counts those in a row that did not, or could not begin. `hardware` is what a copied
    disk finds another of (host/hardware.py); empty: this machine has nothing that a copy has not. `by`: the program
    that writes claims of its own alone. One that the daemon has taken over counts as gone for it. `cluster` names the
    etcd cluster of an API and endpoints (empty: it is not known yet).
    """

    def __init__(
        self,
        paths: Paths,
        machine_id: str,
        hardware: str | None = None,
        *,
        by: str | None = None,
        cluster: Callable[[int, Sequence[str]], str] = lambda _api, _endpoints: "",
    ) -> None:
        self.path = paths.state / "journal.json"
        self.failed_writes = 0
        self._machine_id = machine_id
        self._hardware = read_hardware(paths, machine_id) if hardware is None else hardware
        self._by = by
        self._cluster = cluster
        # What stands there seldom changes: the same bytes are not read twice.
        self._read: tuple[bytes, Journal | None] | None = None

    def read(self) -> Journal:
        """Read it; a missing one is empty. `CorruptValueError`: torn or not one; it is left as it is.

        A journal of another machine id, or written on other hardware (a copied image, a copied disk), is moved aside:
        the claim that it names may be the original's, which releases it.
        """
        found = self._own()
        if found is not None:
            return found
        with self._locked():
            return self._own_or_none_yet()

    def begin(self, entry: JournalEntry) -> None:
        """Write down a claim before it is made. `HostError`: another claim stands there."""
        with self._locked():
            found = self._own_or_none_yet()
            if found.entry is None:
                self._write(replace(found, entry=entry))
            elif found.entry.claim.nonce != entry.claim.nonce:
                raise HostError(
                    f"{found.entry.by} has a claim on the lock for this machine already, since "
                    f"{records.moment(found.entry.claim.since)}; see {self.path}"
                )

    def commit(self, nonce: str, before: PreRebootState | None = None) -> None:
        """Write down the point of no return, and how the machine was then. `CalledOffError`: the claim is gone."""
        with self._locked():
            found = self._own_or_none_yet()
            entry = self._claimed(found, nonce)
            if entry is None:
                raise self._called_off()
            before = before or entry.before
            committed = replace(entry, phase=Phase.COMMITTED, claim=entry.claim.committed(), before=before)
            self._write(replace(found, entry=committed))

    def reopen(self, nonce: str) -> None:
        """Go back before the point of no return: no reboot was asked for, or it is known that none will happen."""
        with self._locked():
            found = self._own_or_none_yet()
            if (entry := self._claimed(found, nonce)) is not None:
                reopened = replace(entry, phase=Phase.REQUESTED, claim=entry.claim.reopened())
                self._write(replace(found, entry=reopened))

    def owns(self, nonce: str) -> bool:
        """Whether the claim stands there, and is this program's still."""
        return self._claimed(self.read(), nonce) is not None

    @contextlib.contextmanager
    def holding(self, nonce: str) -> Iterator[None]:
        """Keep every other program from writing while a reboot is ordered for a claim past its point of no return.

        `CalledOffError`: it is not there, not past that, or another program's by now.
        """
        with self._locked():
            entry = self._claimed(self._own_or_none_yet(), nonce)
            if entry is None or entry.phase is not Phase.COMMITTED:
                raise self._called_off()
            yield

    def take_over(self, nonce: str, goes_on: Callable[[], bool]) -> None:
        """Make another program's claim the daemon's to give back, unless that program `goes_on` after all.

        From then on that program can neither pass the point of no return nor order the reboot.
        """
        with self._locked():
            found = self._own_or_none_yet()
            if (entry := self._claimed(found, nonce)) is not None and not goes_on():
                self._write(replace(found, entry=replace(entry, by=TAKEN_OVER)))

    def hooks(self, nonce: str, hooks: Hooks, taken: datetime | None = None) -> None:
        """Write down how far the hooks of a claim have come, before the first of them begins: it has its slot then.

        `CalledOffError`: the claim is another program's by now.
        """
        written = self._change(
            nonce,
            lambda entry: replace(entry, hooks=hooks, claim=replace(entry.claim, taken=entry.claim.taken or taken)),
        )
        if not written and self._by is not None:
            raise self._called_off()

    def report_failure(self, nonce: str, state: str, failure: str) -> None:
        """Write down what went wrong with the reboot of a claim."""
        self._change(nonce, lambda entry: replace(entry, claim=entry.claim.gone_wrong(state, failure)))

    def fail(self, nonce: str, failure: FailedAttempt) -> None:
        """Write down that the reboot of a claim did not happen; the claim stays until it is given back."""
        with self._locked():
            found = self._own_or_none_yet()
            if self._claimed(found, nonce) is not None:
                self._write(replace(found, failure=failure))

    def clear(self, nonce: str, *, done: LastReboot | None = None) -> None:
        """Forget a claim that is given back, and with a reboot that is `done` earlier failures.

        Nothing is written where the claim isn't there.
        """
        with self._locked():
            found = self._own_or_none_yet()
            if self._claimed(found, nonce) is not None:
                self._write(Journal(done=done) if done else replace(found, entry=None))

    def forgive(self, now: datetime) -> None:
        """Forget the failures and the last reboot, and that the group remembers it: the next wish is tried at once.

        It counts for a claim that waits for its slot as well.
        """
        with self._locked():
            entry = self._own_or_none_yet().entry
            if entry is not None and entry.phase is Phase.REQUESTED:
                entry = replace(entry, claim=replace(entry.claim, rechecked=now))
            self._write(Journal(entry, rechecked=now))

    def unless_committed(self, boot_id: str, call_off: Callable[[], bool]) -> bool:
        """Run `call_off` while nobody can pass the point of no return. `HostError`: it is passed, in this boot.

        Whoever passes it afterwards looks at the triggers once more, and so finds the wish gone.
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
        """Give the entry of a claim; None: it is not there, or it is another program's by now."""
        entry = found.entry
        gone = entry is None or entry.claim.nonce != nonce or self._by not in (None, entry.by)
        return None if gone else entry

    def _called_off(self) -> TakenOverError:
        return TakenOverError(f"the claim is no longer in the journal {self.path}: the reboot was called off")

    def _own(self) -> Journal | None:
        """Read it as it stands; None: it is another machine's."""
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
                f"not a journal ({error}); look at `locksmithctl status`: if this machine holds the lock, free it with "
                "`locksmithctl unlock`, then move the journal away",
            ) from None

    def _own_or_none_yet(self) -> Journal:
        """Read it where nobody else writes it, so that nobody's new journal is moved aside for another machine's."""
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
            raise HostError(f"the journal {self.path} cannot be read: {error.strerror}") from None

    def _store(self, raw: bytes) -> None:
        try:
            write_durably(self.path, raw)
        except OSError as error:
            raise HostError(f"the journal {self.path} cannot be written: {error.strerror}") from None

    def _set_aside(self) -> None:
        aside = self.path.with_name("journal.of-another-machine.json")
        try:
            self.path.rename(aside)
        except OSError as error:
            raise HostError(
                f"the journal {self.path} is of another machine and cannot be moved aside: {error.strerror}"
            ) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(holding(self.path.with_suffix(".lock"), f"the journal {self.path}"))
            except HostError:
                self.failed_writes += 1  # a disk that takes no writes takes no lock file either
                raise
            yield


@contextlib.contextmanager
def holding(path: Path, what: str) -> Iterator[int]:
    """Hold a lock file, and give its descriptor; what fails while it is held is no affair of the lock's."""
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(locked(path, limit=LOCK_LIMIT))
        except BlockingIOError:
            raise HostError(f"{path} is held by another program for more than {LOCK_LIMIT:g} s") from None
        except OSError as error:
            raise HostError(f"{what} cannot be locked: {error.strerror}") from None
        yield fd

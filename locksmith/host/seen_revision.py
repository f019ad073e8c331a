"""How far this machine has seen the store come, so that one that went back in time (a restored backup) is noticed.

The mark is this machine's own: `/var/lib/locksmith/seen.json`, written before it goes down. It belongs to the endpoints
it was seen at; another store has another count.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from locksmith import fleet, jsonread, limits
from locksmith.errors import HostError
from locksmith.host.durable import write_durably
from locksmith.host.paths import Paths


class SeenRevision:
    """The highest revision seen, when that was, and the last `resume` that was known then.

    A file that cannot be read counts as none: it says nothing about who holds the lock.
    """

    def __init__(
        self,
        paths: Paths,
        api: int,
        endpoints: Sequence[str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = paths.state / "seen.json"
        self._clock = clock
        self._store = _named(api, endpoints)
        self._revision, self._resumed, self._at = self._read()
        self._kept: int | None = self._revision

    def went_back(self, revision: int, resumed: datetime | None) -> bool:
        """Whether the store has seen less than this machine; where not, or after a new `resume`, it is noted.

        A `resume` is written down at once: forgotten by a crash, it would count as a new one. `HostError`: it was not.
        """
        if revision < self._revision and not self._is_new(resumed):
            return True
        self._note(revision)
        if resumed is not None and resumed != self._resumed:
            self._resumed, self._kept = resumed, None
            self.keep()
        return False

    def is_of(self, api: int, endpoints: Sequence[str]) -> bool:
        """Whether it is the mark of this very store."""
        return self._store == _named(api, endpoints)

    def seen(self, revision: int) -> None:
        """Note a revision that an answer of the store had, where it is the highest."""
        if revision > self._revision:
            self._note(revision)

    def _note(self, revision: int) -> None:
        self._revision, self._at = revision, self._clock().replace(microsecond=0)

    def _is_new(self, resumed: datetime | None) -> bool:
        """Whether a `resume` was said after the store went back: none that the backup has was.

        It may be one that this machine never read, as it does so at a take alone; but it had seen the store since.
        """
        before = [moment for moment in (self._resumed, self._at) if moment is not None]
        return resumed is not None and all(resumed > moment for moment in before)

    def keep(self) -> None:
        """Write it down; `HostError`: it did not reach the disk."""
        if self._kept == self._revision:
            return
        fields = {
            "schema": fleet.SCHEMA,
            "store": self._store,
            "revision": self._revision,
            "resumed": fleet.optional_moment(self._resumed),
            "at": fleet.optional_moment(self._at),
        }
        try:
            self._store_raw(json.dumps(fields).encode())
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None
        self._kept = self._revision

    def _load_raw(self) -> bytes:
        return self.path.read_bytes()

    def _store_raw(self, raw: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, raw)

    def _read(self) -> tuple[int, datetime | None, datetime | None]:
        try:
            fields = jsonread.load_record(self._load_raw(), limits.LOCAL)
            if jsonread.read(fields, "store", str) != self._store:
                return 0, None, None
            resumed, at = (fleet.read_optional_moment(fields, name) for name in ("resumed", "at"))
            return jsonread.read(fields, "revision", int), resumed, at
        except (OSError, jsonread.BadJsonError):
            return 0, None, None


def _named(api: int, endpoints: Sequence[str]) -> str:
    return f"{api} {' '.join(sorted(endpoints))}"

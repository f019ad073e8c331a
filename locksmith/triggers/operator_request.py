"""The trigger `operator`: a request of `locksmithctl request` or `send-need-reboot`.

CoreOS locksmith's `send-need-reboot` sends update_engine's signal. The request is kept in /run/locksmith until a reboot
or `locksmithctl cancel`, independently of update_engine.
"""

import json
from collections.abc import Callable
from datetime import datetime

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.util import jsonread, limits, records

SCHEMA = 1


class OperatorRequest:
    """The request in its file, below the machine's paths."""

    name = "operator"

    def __init__(self, paths: Paths) -> None:
        self.path = paths.run / "need-reboot.json"

    def note(self, version: str, now: datetime, boot: Boot, reason: str = "") -> None:
        """Keep a request; an earlier request keeps its beginning. `HostError`: it could not be written.

        A file that cannot be read is replaced: the operator has just made the request again.
        """
        stands = self._read(boot).need
        if stands is not None and version in {"", stands.version} and (not reason or _because(reason) == stands.reason):
            return
        fields = {
            "schema": SCHEMA,
            "version": version,
            "reason": reason,
            "since": records.moment(stands.since if stands is not None else now),
            "boot_id": boot.boot_id,
            "userspace": boot.userspace,
        }
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(fields))
            new.rename(self.path)
        except OSError as error:
            raise HostError(f"the request for a reboot cannot be kept in {self.path}: {error.strerror}") from None

    def found(self) -> bool:
        """Say yes: every machine has operators."""
        return True

    def listen(self, wake: Callable[[], None]) -> None:
        """Do nothing: a request wakes the daemon."""

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Give the request. A request of an earlier boot is fulfilled and removed (a soft reboot keeps /run)."""
        return self._read(boot)

    async def close(self) -> None:
        """Do nothing."""

    def cancel(self) -> bool:
        """Cancel the request; False: there was none. `HostError`: it cannot be removed."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HostError(f"{self.path} cannot be removed: {error.strerror}") from None
        return True

    def _read(self, boot: Boot) -> TriggerResult:
        try:
            fields = jsonread.load_record(self.path.read_bytes(), limits.LOCAL)
            made_in = Boot(jsonread.read(fields, "boot_id", str), jsonread.read(fields, "userspace", int))
            since = jsonread.convert("since", jsonread.read(fields, "since", str), records.parse_moment)
            version = jsonread.read(fields, "version", str)
            reason = jsonread.read(fields, "reason", str, "")
        except FileNotFoundError:
            return TriggerResult(says="no operator has requested one")
        except (OSError, jsonread.BadJsonError) as error:
            return TriggerResult(error=f"{self.path} cannot be read ({error}); `locksmithctl cancel` removes it")
        if not _is_this(made_in, boot):
            return self._fulfilled()
        return TriggerResult(RebootNeed(self.name, version, since, _because(reason)))

    def _fulfilled(self) -> TriggerResult:
        try:
            self.cancel()
        except HostError as error:
            return TriggerResult(error=str(error))
        return TriggerResult(says="no operator has requested one")


def _because(reason: str) -> str:
    return f"an operator asked for it: {reason}" if reason else "an operator asked for it"


def _is_this(made_in: Boot, boot: Boot) -> bool:
    """Whether both are the same boot, as far as is known; an empty boot id is unknown."""
    known = "" not in {made_in.boot_id, boot.boot_id}
    return made_in.userspace == boot.userspace and (not known or made_in.boot_id == boot.boot_id)

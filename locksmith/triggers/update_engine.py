"""The trigger `update-engine`, over D-Bus: name, path, interface and operations are those of its source.

Its signals only wake the loop. Each check asks `GetStatus`, because `ResetStatus` sends no signal. Only signals of the
name's owner are believed: a stock bus policy lets every local user send them. If another sender is root, the signal is
an operator's request (`send-need-reboot`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import NobodyError
from locksmith.host.dbus.messages import Call, Match, Signal
from locksmith.triggers.untrusted import OnOperator, UntrustedSenders

if TYPE_CHECKING:
    from locksmith.triggers.plugin import TriggerContext

NAME = "com.coreos.update1"
PATH = "/com/coreos/update1"
INTERFACE = "com.coreos.update1.Manager"
STATUS = "xdssx"
"""Last checked (epoch s), progress (0 to 1), operation, new version, new size (bytes)."""

GET_STATUS = Call(NAME, PATH, INTERFACE, "GetStatus", reply=STATUS, autostart=False)
STATUS_UPDATE = Match(INTERFACE, "StatusUpdate", PATH)
OF_ENGINE = Match(INTERFACE, "StatusUpdate", PATH, NAME)

ANSWER_LIMIT = 5.0
"""Seconds for the answer of update_engine."""

NEED_REBOOT = "UPDATE_STATUS_UPDATED_NEED_REBOOT"
OPERATIONS = {
    NEED_REBOOT,
    "UPDATE_STATUS_IDLE",
    "UPDATE_STATUS_CHECKING_FOR_UPDATE",
    "UPDATE_STATUS_UPDATE_AVAILABLE",
    "UPDATE_STATUS_DOWNLOADING",
    "UPDATE_STATUS_VERIFYING",
    "UPDATE_STATUS_FINALIZING",
    "UPDATE_STATUS_REPORTING_ERROR_EVENT",
}


class UpdateEngine:
    """update_engine on the bus, which may be absent, late, restarted or silent."""

    name = "update-engine"

    def __init__(self, bus: SystemBus, on_operator: OnOperator, public: SystemBus | None = None) -> None:
        self._bus = bus
        self._public = public or bus
        self._on_operator = on_operator
        self._need: RebootNeed | None = None
        self._untrusted = UntrustedSenders(self._public.unix_user)

    @classmethod
    def make(cls, context: "TriggerContext") -> "UpdateEngine":
        """Give the trigger of this machine."""
        return cls(context.bus, context.on_operator, context.public)

    def found(self) -> bool:
        """Say yes: update_engine may come onto the bus at any time, and root's requests are heard in its place."""
        return True

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a new check is useful, and `on_operator` with the version that root requests.

        Call this before the bus is started. The bus knows the user of a connection only while the connection exists. So
        a sender must stay on the bus until its request is noted.
        """
        bus, public = self._bus, self._public
        bus.watch_name(NAME, wake)
        bus.on_change(lambda _connected: wake())
        bus.subscribe(OF_ENGINE, lambda signal: self._hear_engine(signal, wake))
        public.watch_name(NAME, lambda: None)
        public.on_change(lambda _connected: self._untrusted.forget())
        public.subscribe(STATUS_UPDATE, self._hear_stranger)

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Ask update_engine. If it is absent, there is no need. A missing answer, or a missing bus, is an error."""
        try:
            _, _, operation, version, _ = await self._bus.call(GET_STATUS, limit=ANSWER_LIMIT)
        except NobodyError:
            return TriggerResult(says="update_engine is not on the bus")
        except HostError as error:
            return TriggerResult(error=f"update_engine: {error}")
        if operation not in OPERATIONS:
            return TriggerResult(error=f"update_engine is in a state that is unknown here: {operation!r}")
        self._need = self._needed(version, now) if operation == NEED_REBOOT else None
        return TriggerResult(self._need, says=f"it is in the state {operation.removeprefix('UPDATE_STATUS_')}")

    def _needed(self, version: str, now: datetime) -> RebootNeed:
        """Keep the beginning of a need: update_engine repeats it every 45 minutes, and a restart loses the version."""
        if self._need is not None and (self._need.version == version or version in {"", "0.0.0"}):
            return self._need
        return RebootNeed(
            self.name, version, now, f"update {version} is installed" if version else "an update is installed"
        )

    async def close(self) -> None:
        """Do nothing: the bus ends with the daemon."""

    def _hear_engine(self, signal: Signal, wake: Callable[[], None]) -> None:
        if signal.signature == STATUS:
            wake()
        else:
            self._complain_of_signature(signal)

    def _hear_stranger(self, signal: Signal) -> None:
        """Hear other senders, on the connection that any user of this machine may flood."""
        if signal.sender == self._public.owner(NAME):
            return
        if signal.signature != STATUS:
            self._complain_of_signature(signal)
        elif signal.body[2] == NEED_REBOOT:
            self._untrusted.hear(signal.sender, signal.body[3], self._on_operator)
        else:
            self._untrusted.complain(f"a StatusUpdate of {signal.sender}, which is not update_engine")

    def _complain_of_signature(self, signal: Signal) -> None:
        self._untrusted.complain(f"a StatusUpdate of {signal.sender} with the signature {signal.signature!r}")

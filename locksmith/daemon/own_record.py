"""What this machine says of itself, for those who ask on the bus: the record that its group would see.

It needs no store. So `locksmithctl why` has an answer on a machine that coordinates with no store, or whose etcd is
away.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from locksmith.agent.identity import Member, Target
from locksmith.agent.node_status import describe, describe_unobserved
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import state_of
from locksmith.agent.steps import Step, Wait
from locksmith.daemon.bus_settings import INTERFACE, NAME, PATH
from locksmith.errors import CorruptValueError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError, NobodyError, StrangeAnswerError
from locksmith.host.dbus.messages import Call
from locksmith.lock.records import node

STATUS = Call(NAME, PATH, INTERFACE, "Status", reply="s", autostart=False)


class OwnRecord:
    """A reporter that keeps the last step of the loop, and since when the machine is in that state."""

    def __init__(self, member: Member, target: Target, clock: Callable[[], datetime]) -> None:
        self._member = member
        self._target = target
        self._clock = clock
        self._last: tuple[Step, Snapshot | None] | None = None
        self._since: tuple[tuple[str, str], datetime] | None = None

    def show(self, step: Step, snapshot: Snapshot | None) -> None:
        """Keep the step."""
        self._last = (step, snapshot)
        state = (state_of(step), step.code if isinstance(step, Wait) else "")
        if self._since is None or self._since[0] != state:
            self._since = (state, self._clock())

    def performed(self, step: Step) -> None:
        """Do nothing."""

    def read(self) -> str:
        """Give the record as JSON; empty: the loop has made no step yet."""
        if self._last is None or self._since is None:
            return ""
        (step, snapshot), (_, since) = self._last, self._since
        if snapshot is None:
            shown = describe_unobserved(step, self._clock(), self._member, self._target, claim=None)
        else:
            shown = describe(step, snapshot, self._member, self._target)
        return node.encode(replace(shown, since=since.replace(microsecond=0))).decode()


async def read_record(bus: SystemBus, machine_id: str) -> node.Node | None:
    """Give what the daemon says of this machine; None: a daemon that has just started, or of an earlier version.

    `HostError`: it is not on the bus, or does not answer.
    """
    try:
        [record] = await bus.call(STATUS)
    except NobodyError:
        raise
    except AnsweredError:  # an earlier version has no such method
        return None
    try:
        return node.decode(record.encode(errors="replace"), str(STATUS), machine_id) if record else None
    except CorruptValueError as error:
        raise StrangeAnswerError(str(error)) from None

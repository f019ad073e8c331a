"""The daemon on the bus, as `org.locksmith1`: its state and reason, and three requests (docs/dbus.md).

Every user may read. Root may make requests. For other users polkit decides; without polkit they are refused.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from locksmith import __version__
from locksmith.agent.facts import TriggerResult
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import state_of
from locksmith.agent.steps import Step, Wait
from locksmith.config.model import Config
from locksmith.config.shown import shown
from locksmith.daemon.bus_settings import GET_ALL, INTERFACE, NAME, PATH, PROPERTIES
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import StrangeAnswerError
from locksmith.host.dbus.library import Variant
from locksmith.host.dbus.messages import Call, Incoming, Outgoing, RefusedError, Signal
from locksmith.host.polkit import Polkit
from locksmith.lock.records import states
from locksmith.util.commands import naming_group
from locksmith.util.secret import redact

SHIELD = "org.locksmith1.Private"
"""The name of the connection that reaches logind and systemd: the bus policy lets no user send it anything."""

RECHECK = Call(NAME, PATH, INTERFACE, "Recheck", reply="", autostart=False)
TRIGGERS = Call(NAME, PATH, INTERFACE, "Triggers", reply="a(ssts)", autostart=False)
CANCEL = Call(NAME, PATH, INTERFACE, "Cancel", reply="b", autostart=False)


def request(reason: str) -> Call:
    """Give the call that requests a reboot."""
    return Call(NAME, PATH, INTERFACE, "Request", "s", (reason,), "", autostart=False)


YES, NO, ERROR, UNUSED = "yes", "no", "error", "unused"
"""Whether a reboot is needed, as a trigger says in one word."""

INTROSPECTION = """<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
 <interface name="org.locksmith1.Manager">
  <method name="Request"><arg name="reason" type="s" direction="in"/></method>
  <method name="Cancel"><arg name="cancelled" type="b" direction="out"/></method>
  <method name="Recheck"/>
  <method name="Status"><arg name="record" type="s" direction="out"/></method>
  <method name="Triggers"><arg name="triggers" type="a(ssts)" direction="out"/></method>
  <property name="State" type="s" access="read"/>
  <property name="Code" type="s" access="read"/>
  <property name="Reason" type="s" access="read"/>
  <property name="Until" type="t" access="read"/>
  <property name="Group" type="s" access="read"/>
  <property name="Strategy" type="s" access="read"/>
  <property name="Version" type="s" access="read"/>
  <property name="Settings" type="a{ss}" access="read"/>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="out"/>
  </method>
  <method name="GetAll"><arg type="s" direction="in"/><arg type="a{sv}" direction="out"/></method>
  <signal name="PropertiesChanged"><arg type="s"/><arg type="a{sv}"/><arg type="as"/></signal>
 </interface>
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect"><arg type="s" direction="out"/></method>
 </interface>
</node>
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orders:
    """The requests to the daemon. `HostError`: the request failed."""

    request: Callable[[str], Awaitable[None]]
    cancel: Callable[[], bool]
    recheck: Callable[[], None]


class BusService:
    """A reporter that shows the loop on the bus, and takes requests there."""

    def __init__(
        self,
        bus: SystemBus,
        orders: Orders,
        config: Config,
        results: Callable[[], Mapping[str, TriggerResult | None]] = dict,
        *,
        record: Callable[[], str] = str,
    ) -> None:
        self._bus = bus
        self._polkit = Polkit(bus)
        self._orders = orders
        self._results = results
        self._record = record
        self._group = config.group
        self._fixed: dict[str, Any] = {
            "Group": config.group,
            "Strategy": config.strategy,
            "Version": __version__,
            "Settings": shown(config),
        }
        self._shown: dict[str, Any] = {"State": states.IDLE, "Code": "", "Reason": "", "Until": 0}

    def listen(self) -> None:
        """Take the name whenever there is a bus. Call this before the bus is started."""
        self._bus.serve(NAME, PATH, self._answer)

    def show(self, step: Step, snapshot: Snapshot | None) -> None:  # noqa: ARG002 - part of the interface
        """Show the step; if it is another step, emit a signal."""
        code, reason, until = (step.code, step.text, step.until) if isinstance(step, Wait) else ("", "", None)
        reason = redact(naming_group(reason, self._group))
        now = {"State": state_of(step), "Code": code, "Reason": reason, "Until": _micros(until)}
        changed = {name: value for name, value in now.items() if self._shown[name] != value}
        self._shown = now
        if changed:
            body: tuple[Any, ...] = (INTERFACE, {name: _variant(value) for name, value in changed.items()}, [])
            self._bus.emit(Signal("", PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))

    def performed(self, step: Step) -> None:
        """Do nothing."""

    async def _answer(self, call: Incoming) -> Outgoing:
        if (told := self._tell(call)) is not None:
            return told
        wanted = (call.member, call.signature)
        if wanted not in {("Request", "s"), ("Cancel", ""), ("Recheck", "")}:
            raise RefusedError("org.freedesktop.DBus.Error.UnknownMethod", f"there is no {call.member} here")
        await self._allowed(call)
        if call.member == "Cancel":
            return Outgoing("b", [self._orders.cancel()])
        if call.member == "Request":
            await self._orders.request(str(call.body[0]))
        else:
            self._orders.recheck()
        return Outgoing()

    def _tell(self, call: Incoming) -> Outgoing | None:
        """Answer a call that every user may make; None: it is another call."""
        match (call.member, call.signature):
            case ("Introspect", ""):
                return Outgoing("s", [INTROSPECTION])
            case ("Ping", ""):
                return Outgoing()
            case ("Status" | "Triggers", ""):
                return self._said(call.member)
            case ("GetAll", "s"):
                return Outgoing("a{sv}", [{name: _variant(value) for name, value in self._all.items()}])
            case ("Get", "ss") if call.body[1] in self._all:
                return Outgoing("v", [_variant(self._all[call.body[1]])])
            case _:
                return None

    def _said(self, what: str) -> Outgoing:
        if what == "Status":
            return Outgoing("s", [self._record()])
        return Outgoing("a(ssts)", [[_trigger(name, seen) for name, seen in self._results().items()]])

    @property
    def _all(self) -> dict[str, Any]:
        return {**self._shown, **self._fixed}

    async def _allowed(self, call: Incoming) -> None:
        """Return if the caller is root, or polkit allows the call. Fail closed: any failure refuses the call."""
        if (user := await self._bus.unix_user(call.sender)) != 0:
            await self._polkit.allows(call.sender, user)


def _trigger(name: str, seen: TriggerResult | None) -> list[Any]:
    """Give a trigger as the bus has it: its name, a word, the time of the check, and a sentence."""
    if seen is None:
        return [name, UNUSED, 0, "this machine has no use for it, or triggers.use leaves it out"]
    looked = _micros(seen.looked)
    if seen.error is not None:
        return [name, ERROR, looked, redact(seen.error.removeprefix(f"{name}: "))]
    if seen.need is not None:
        return [name, YES, looked, redact(seen.need.reason or seen.need.version)]
    return [name, NO, looked, redact(seen.says)]


def _micros(when: datetime | None) -> int:
    return int(when.timestamp() * 1e6) if when else 0


def _variant(value: Any) -> Variant:
    kinds: dict[type, str] = {int: "t", str: "s", dict: "a{ss}"}
    return Variant(kinds[type(value)], value)


@dataclass(frozen=True, slots=True)
class Local:
    """The state of this machine's daemon, by the bus."""

    state: str
    code: str
    reason: str


async def read_local(bus: SystemBus) -> Local:
    """Give the state of this machine's daemon. `HostError`: it is not on the bus, or does not answer."""
    [properties] = await bus.call(GET_ALL)
    shown = [properties.get(name) for name in ("State", "Code", "Reason")]
    if not all(one is not None and one.signature == "s" for one in shown):
        raise StrangeAnswerError(f"{GET_ALL} was answered without its state")
    return Local(*(one.value for one in shown))


async def read_triggers(bus: SystemBus) -> list[tuple[str, str, int, str]]:
    """Give the results of the daemon's triggers, as `_trigger` has them. `HostError` as in `read_local`."""
    [said] = await bus.call(TRIGGERS)
    if any(looked > _LAST for _, _, looked, _ in said):
        raise StrangeAnswerError(f"{TRIGGERS} was answered with a time that no calendar has")
    return [(str(name), str(word), int(looked), str(text)) for name, word, looked, text in said]


_LAST = _micros(datetime.max.replace(tzinfo=UTC, microsecond=0))

"""One connection to a message bus, from its start to its end; `bus.py` then makes a new connection.

The replies are matched with their calls here and not by the library, which waits for ever for an answer that does not
come, also after the connection has ended, and remembers each such call for as long as it lives.

Above 300 lines, in one piece: one connection has one reader, and calls, matches and the end all depend on it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from locksmith.agent.permit import Permit
from locksmith.errors import HostError
from locksmith.host.dbus.callers import TOO_MANY, TooManyError, Verdict
from locksmith.host.dbus.errors import AnsweredError, BusGoneError, NoAnswerError, NobodyError, StrangeAnswerError
from locksmith.host.dbus.frames import CALL, LONGEST, NO_REPLY_EXPECTED, SIGNAL, Frame, Head
from locksmith.host.dbus.library import ErrorType, Message, MessageFlag, MessageType, Variant, read, written
from locksmith.host.dbus.messages import BUS_NAME, BUS_PATH, Call, Incoming, Outgoing, RefusedError, Signal
from locksmith.host.dbus.wire import MOST_UNSENT_ANSWERS, Wire

CONNECT_LIMIT = 5.0
"""Seconds for connection, authentication and the bus's greeting."""

MOST_OVERDUE = 64
"""Calls without an answer after which the connection is ended.

dbus-daemon remembers every call that waits for its answer. It refuses further calls of a connection that has 128 of
them (`max_replies_per_connection`): a service that hangs for hours would block the calls to all others.
"""

HELLO = Call(BUS_NAME, BUS_PATH, BUS_NAME, "Hello", reply="s")
LIMITS_EXCEEDED = ErrorType.LIMITS_EXCEEDED.value

Answer = Callable[[Incoming], Awaitable[Outgoing]]
"""Answers a call to this program. `RefusedError`, `HostError`: the answer is an error."""

_NOBODY = {ErrorType.SERVICE_UNKNOWN.value, ErrorType.NAME_HAS_NO_OWNER.value}
_LOST = {
    ErrorType.NO_REPLY.value,
    ErrorType.DISCONNECTED.value,
    ErrorType.TIMEOUT.value,
    "org.freedesktop.DBus.Error.TimedOut",
}
"""Errors of the bus, or of a library, for a callee that left without an answer."""


async def _answers_nothing(call: Incoming) -> Outgoing:
    raise RefusedError("org.freedesktop.DBus.Error.UnknownObject", f"there is no {call.path} here")


async def _anybody(_sender: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Ears:
    """The handlers of the messages of others.

    `wants` decides by its head whether a signal is read, `enter` decides about a call. A call that is taken is read and
    answered after `identify` has told its user, and `leave` follows.
    """

    hear: Callable[[Signal], None] = lambda _signal: None
    wants: Callable[[Head], bool] = lambda _head: True
    answer: Answer = _answers_nothing
    enter: Callable[[str], Verdict] = lambda _sender: Verdict.TAKE
    identify: Callable[[str], Awaitable[object]] = _anybody
    leave: Callable[[str], None] = lambda _sender: None


class Link:
    """A connection. It ends once: `ended` tells when and why."""

    def __init__(self, wire: Wire, ears: Ears) -> None:
        self._wire = wire
        self._ears = ears
        self._answering: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, asyncio.Future[Frame | None]] = {}
        self._overdue: set[int] = set()
        self.unique_name = ""
        wire.listen(self._take)

    @classmethod
    async def open(cls, address: str | None, ears: Ears) -> Self:
        """Connect to the bus at `address` (None: the system bus by D-Bus' specification)."""
        link: Self | None = None
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                link = cls(await Wire.open(address), ears)
                [link.unique_name] = await link.call(HELLO, CONNECT_LIMIT)
        except TimeoutError:
            raise BusGoneError(f"the system bus does not answer within {CONNECT_LIMIT:g} s") from None
        except OSError as error:
            raise BusGoneError(f"the system bus cannot be reached ({error.strerror or error})") from None
        finally:
            if link is not None and not link.unique_name:
                await link.close()
        return link

    async def call(self, call: Call, limit: float, permit: Permit | None = None) -> list[Any]:
        """Call a method, and give the answer's body within `limit` seconds. Raises the errors of errors.py.

        With a `permit` the message is sent while the permit is held, or never.
        """
        return read_reply(call, await self._exchange(call, limit, permit))

    async def emit(self, signal: Signal) -> None:
        """Emit a signal, and wait until the bus has it. The bus writes its sender. Raises the errors of errors.py."""
        if not self.send(signal):
            raise BusGoneError(f"{signal.member} was not sent: the system bus went away")
        # An answer of the bus proves that the bus took everything before.
        await self.call(Call(BUS_NAME, BUS_PATH, BUS_NAME, "GetId", reply="s"), CONNECT_LIMIT)

    async def close(self) -> None:
        """End the connection, and wait for its end."""
        self._wire.close()
        await self.ended()

    async def ended(self) -> str:
        """Wait for the end, and give the reason in a few words. Every call without an answer then fails."""
        try:
            return await self._wire.ended()
        finally:
            for answer in self._waiting.values():
                _settle(answer, None)

    def send(self, signal: Signal) -> bool:
        """Send a signal without waiting; False: the bus has gone, or takes no more for now."""
        return self._send(_emitted(signal))

    async def _exchange(self, call: Call, limit: float, permit: Permit | None) -> Message:
        serial = self._wire.next_serial()
        answer: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        message = written(_message(call, serial))
        with permit() if permit else contextlib.nullcontext():
            sent = self._wire.send_now(message) if permit else self._wire.send(message)
        if not sent:
            raise BusGoneError(f"{call} was not called: the system bus went away, or takes no more")
        self._waiting[serial] = answer
        try:
            async with asyncio.timeout(limit):
                frame = await answer
        except TimeoutError:
            raise NoAnswerError(f"{call} was not answered within {limit:g} s") from None
        finally:
            self._done_with(serial)
        if frame is None:
            raise NoAnswerError(f"{call} was not answered: the system bus went away")
        try:
            return read_message(frame)
        except UnreadableError as error:
            raise StrangeAnswerError(f"{call} was answered with what cannot be read: {error}") from None

    def _done_with(self, serial: int) -> None:
        if not self._waiting.pop(serial).done():
            self._overdue.add(serial)
        if len(self._overdue) >= MOST_OVERDUE and not self._waiting:
            self._wire.close()

    def _take(self, frame: Frame) -> None:
        head = frame.head
        if head.kind == CALL:
            self._take_call(frame)
        elif head.kind == SIGNAL:
            if frame.raw is not None and self._ears.wants(head):
                # A signal that cannot be read says nothing.
                with contextlib.suppress(UnreadableError):
                    self._ears.hear(_signal(frame))
        elif answer := self._waiting.get(head.reply_serial):
            _settle(answer, frame)
        else:
            self._overdue.discard(head.reply_serial)

    def _take_call(self, frame: Frame) -> None:
        """Have a call answered in its own task, or refuse the call at once, or drop it."""
        head = frame.head
        verdict = self._ears.enter(head.sender)
        if verdict is Verdict.TAKE:
            task = asyncio.ensure_future(self._reply_to(frame))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            task.add_done_callback(lambda _task: self._ears.leave(head.sender))
        elif verdict is Verdict.REFUSE:
            self._reply(head, _error_to(head, LIMITS_EXCEEDED, TOO_MANY))

    async def _reply_to(self, frame: Frame) -> None:
        head = frame.head
        try:
            await self._ears.identify(head.sender)
            given = await self._ears.answer(_incoming(frame))
            reply = Message(
                message_type=MessageType.METHOD_RETURN,
                destination=head.sender or None,
                reply_serial=head.serial,
                flags=MessageFlag.NO_REPLY_EXPECTED,
                signature=given.signature,
                body=sendable(list(given.body)),
            )
        except RefusedError as error:
            reply = _error_to(head, error.name, str(error))
        except TooManyError as error:
            reply = _error_to(head, LIMITS_EXCEEDED, str(error))
        except UnreadableError as error:
            reply = _error_to(head, ErrorType.INVALID_ARGS.value, f"the call cannot be read: {error}")
        except HostError as error:
            reply = _error_to(head, "org.freedesktop.DBus.Error.Failed", str(error))
        self._reply(head, reply)

    def _reply(self, head: Head, reply: Message) -> None:
        """Answer a call, if its sender waits and the bus takes the answer: no sender may fill our memory."""
        if not head.flags & NO_REPLY_EXPECTED:
            self._send(reply)

    def _send(self, message: Message) -> bool:
        message.serial = self._wire.next_serial()
        return self._wire.send(written(message), most_unsent=MOST_UNSENT_ANSWERS)


class UnreadableError(Exception):
    """Cannot be read: a message is too long, or its body is not what its signature says."""


def read_message(frame: Frame) -> Message:
    """Read a whole message. `UnreadableError`: it cannot be read."""
    if frame.raw is None:
        raise UnreadableError(f"it has {frame.head.size} bytes, and at most {LONGEST[frame.head.kind]} are read")
    try:
        message = read(frame.raw)
    except Exception as error:  # noqa: BLE001 - if it reads rubbish, the library raises errors of any type
        raise UnreadableError(str(error) or type(error).__name__) from None
    if message is None:
        raise UnreadableError("it is shorter than it says")
    return message


def read_reply(call: Call, reply: Message) -> list[Any]:
    """Give the body of an answer with the signature that the call wants. Raises the errors of errors.py."""
    if reply.message_type is MessageType.ERROR:
        raise _error(call, reply)
    if call.reply not in (None, reply.signature):
        raise StrangeAnswerError(f"{call} was answered with {reply.signature!r}, not with {call.reply!r}")
    return reply.body


def sendable(value: Any) -> Any:
    """Give a value that can be sent: texts of D-Bus have no NUL and are UTF-8.

    A reason in another program's file may have both.
    """
    match value:
        case str():
            return value.encode(errors="replace").decode().replace("\0", "?")
        case list() | tuple():
            return [sendable(one) for one in value]
        case dict():
            return {sendable(name): sendable(held) for name, held in value.items()}
        case Variant():
            return Variant(value.signature, sendable(value.value))
        case _:
            return value


def _settle(answer: asyncio.Future[Frame | None], frame: Frame | None) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        answer.set_result(frame)


def _message(call: Call, serial: int) -> Message:
    return Message(
        destination=call.destination,
        path=call.path,
        interface=call.interface,
        member=call.member,
        signature=call.signature,
        body=sendable(list(call.body)),
        flags=MessageFlag.NONE if call.autostart else MessageFlag.NO_AUTOSTART,
        serial=serial,
    )


def _emitted(signal: Signal) -> Message:
    body = sendable([*signal.body])
    return Message.new_signal(signal.path, signal.interface, signal.member, signal.signature, body)


def _error_to(head: Head, name: str, text: str) -> Message:
    return Message(
        message_type=MessageType.ERROR,
        destination=head.sender or None,
        reply_serial=head.serial,
        flags=MessageFlag.NO_REPLY_EXPECTED,
        error_name=name,
        signature="s",
        body=[sendable(text)],
    )


def _incoming(frame: Frame) -> Incoming:
    message, head = read_message(frame), frame.head
    return Incoming(head.sender, head.path, head.interface, head.member, message.signature, tuple(message.body))


def _signal(frame: Frame) -> Signal:
    message, head = read_message(frame), frame.head
    return Signal(head.sender, head.path, head.interface, head.member, message.signature, tuple(message.body))


def _error(call: Call, reply: Message) -> AnsweredError | NoAnswerError:
    name = reply.error_name or ""
    text = str(reply.body[0]) if reply.signature.startswith("s") else name
    if name in _LOST:
        return NoAnswerError(f"{call} was not answered: {text}")
    kind = NobodyError if name in _NOBODY else AnsweredError
    return kind(f"{call} was answered with an error: {text}", name, text)

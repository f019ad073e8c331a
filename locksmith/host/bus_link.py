"""One connection to a message bus, from its making to its end; `bus.py` makes a new one after each.

The replies are matched with their calls here and not by `MessageBus.call`, which waits for ever for an answer that
does not come, also after the connection has ended, and remembers each such call for as long as it lives.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Self

from dbus_fast import BusType, ErrorType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from locksmith.errors import HostError
from locksmith.host.bus_errors import AnsweredError, BusGoneError, NoAnswerError, NobodyError, StrangeAnswerError
from locksmith.host.bus_messages import BUS_NAME, BUS_PATH, Call, Incoming, Outgoing, RefusedError, Signal
from locksmith.permit import Permit

CONNECT_LIMIT = 5.0
"""Seconds for connecting, authenticating and being greeted."""

MOST_OVERDUE = 64
"""Calls left unanswered before the connection is given up.

dbus-daemon remembers every call that waits for its answer and refuses further ones of a connection that has 128 of them
(`max_replies_per_connection`): a service that hangs for hours would cost us all others.
"""

Answer = Callable[[Incoming], Awaitable[Outgoing]]
"""Answers a call to this program; `RefusedError`, `HostError`: with an error."""

_NOBODY = {ErrorType.SERVICE_UNKNOWN.value, ErrorType.NAME_HAS_NO_OWNER.value}
_LOST = {
    ErrorType.NO_REPLY.value,
    ErrorType.DISCONNECTED.value,
    ErrorType.TIMEOUT.value,
    "org.freedesktop.DBus.Error.TimedOut",
}
"""Errors that the bus, or a library between, makes up when the callee left without an answer."""


class Link:
    """One connection. It ends once: `ended` tells when and why."""

    def __init__(self, messages: MessageBus, on_signal: Callable[[Signal], None], answer: Answer | None = None) -> None:
        self._messages = messages
        self._on_signal = on_signal
        self._answer = answer
        self._answering: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, asyncio.Future[Message | None]] = {}
        self._overdue: set[int] = set()
        messages.add_message_handler(self._take)

    @classmethod
    async def open(cls, address: str | None, on_signal: Callable[[Signal], None], answer: Answer | None = None) -> Self:
        """Connect to the bus at `address` (None: the system bus, as D-Bus' specification finds it)."""
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                messages = MessageBus(bus_address=address, bus_type=BusType.SYSTEM)
                return cls(await messages.connect(), on_signal, answer)
        except TimeoutError:
            raise BusGoneError(f"the system bus does not answer within {CONNECT_LIMIT:g} s") from None
        except Exception as error:  # noqa: BLE001 - as in `ended`
            raise BusGoneError(f"the system bus cannot be reached ({_words(error)})") from None

    async def call(self, call: Call, limit: float, permit: Permit | None = None) -> list[Any]:
        """Call a method, wait at most `limit` seconds, and give the answer's body. Errors: `bus_errors`.

        With a `permit` the message is sent while that is held, or never.
        """
        return read_reply(call, await self._exchange(call, limit, permit))

    async def emit(self, signal: Signal) -> None:
        """Emit a signal, whose sender the bus writes, and wait until the bus has it. Errors: `bus_errors`."""
        if not await self._is_alive():
            raise BusGoneError(f"{signal.member} was not sent: the system bus went away")
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                await self._messages.send(_emitted(signal))
        except (OSError, TimeoutError) as error:
            raise NoAnswerError(f"{signal.member} was not sent: the system bus went away ({_words(error)})") from None
        # An answer of the bus proves that it took everything before.
        await self.call(Call(BUS_NAME, BUS_PATH, BUS_NAME, "GetId", reply="s"), CONNECT_LIMIT)

    async def close(self) -> None:
        """End it, and wait for that."""
        self._messages.disconnect()
        await self.ended()

    async def ended(self) -> str:
        """Wait for its end; every call that still waits for its answer fails then. Gives the reason in a few words."""
        try:
            await self._messages.wait_for_disconnect()  # type: ignore[no-untyped-call]  # not annotated
        except Exception as error:  # noqa: BLE001 - dbus-fast passes on whatever its reading of rubbish has raised
            return _words(error)
        else:
            return "closed"
        finally:
            for answer in self._waiting.values():
                _settle(answer, None)

    async def _exchange(self, call: Call, limit: float, permit: Permit | None) -> Message:
        if not await self._is_alive():
            raise BusGoneError(f"{call} was not called: the system bus went away")
        serial = self._messages.next_serial()
        answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._waiting[serial] = answer
        try:
            async with asyncio.timeout(limit):
                sent = (
                    self._messages.send(_message(call, serial))
                    if permit is None
                    else self._send_now(call, serial, permit)
                )
                await sent
                reply = await answer
        except TimeoutError:
            raise NoAnswerError(f"{call} was not answered within {limit:g} s") from None
        except OSError as error:
            raise NoAnswerError(f"{call} was not answered: the system bus went away ({_words(error)})") from None
        finally:
            self._done_with(serial)
        if reply is None:
            raise NoAnswerError(f"{call} was not answered: the system bus went away")
        return reply

    def _send_now(self, call: Call, serial: int, permit: Permit) -> asyncio.Future[None]:
        """Hand a message to the kernel while the permit is held, or end the connection.

        A message that waits in this process for room in the socket could be sent hours later.
        """
        message, sent = _message(call, serial), None
        with permit(), contextlib.suppress(OSError):
            sent = self._messages.send(message)
        if sent is None or not sent.done() or sent.exception() is not None:
            # What the kernel has of it, if any, is no whole message: the bus drops that with the connection.
            self._messages.disconnect()
            raise BusGoneError(f"{call} was not called: the system bus takes no messages now")
        return sent

    async def _is_alive(self) -> bool:
        """Whether the connection stands, after the loop has read what came in: perhaps its end.

        Written to an end not yet read, dbus-fast leaves a broken future behind, and a traceback in the log.
        """
        for _ in range(2):
            await asyncio.sleep(0)
        return self._messages.connected

    def _done_with(self, serial: int) -> None:
        if not self._waiting.pop(serial).done():
            self._overdue.add(serial)
        if len(self._overdue) >= MOST_OVERDUE and not self._waiting:
            self._messages.disconnect()

    def send(self, signal: Signal) -> None:
        """Send a signal, and do not wait for anything."""
        if self._messages.connected:
            self._send(_emitted(signal))

    def _take(self, message: Message) -> bool | None:
        if message.message_type is MessageType.METHOD_CALL:
            return self._take_call(message)
        self._take_other(message)
        return None

    def _take_call(self, message: Message) -> bool | None:
        """Have a call answered beside the others; None: it is not for us, and the library refuses it."""
        if self._answer is None:
            return None
        task = asyncio.ensure_future(self._reply_to(message, self._answer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return True

    async def _reply_to(self, message: Message, answer: Answer) -> None:
        try:
            given = await answer(_incoming(message))
            reply = Message.new_method_return(message, given.signature, sendable(list(given.body)))
        except RefusedError as error:
            reply = Message.new_error(message, error.name, sendable(str(error)))
        except HostError as error:
            reply = Message.new_error(message, "org.freedesktop.DBus.Error.Failed", sendable(str(error)))
        if MessageFlag.NO_REPLY_EXPECTED not in message.flags and self._messages.connected:
            self._send(reply)

    def _send(self, message: Message) -> None:
        """Send what nobody waits for; that the bus goes away meanwhile is heard otherwise."""
        self._messages.send(message).add_done_callback(lambda sent: sent.cancelled() or sent.exception())

    def _take_other(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._on_signal(_signal(message))
        elif answer := self._waiting.get(message.reply_serial):
            _settle(answer, message)
        else:
            self._overdue.discard(message.reply_serial)


def read_reply(call: Call, reply: Message) -> list[Any]:
    """Give the body of the answer to a call, whose signature is the one that the call wants. Errors: `bus_errors`."""
    if reply.message_type is MessageType.ERROR:
        raise _error(call, reply)
    if call.reply not in (None, reply.signature):
        raise StrangeAnswerError(f"{call} was answered with {reply.signature!r}, not with {call.reply!r}")
    return reply.body


def sendable(value: Any) -> Any:
    """Make a value one that can be sent: no text of D-Bus has a NUL in it, or what is no UTF-8.

    A reason may have both, in a file that somebody else has written.
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


def _settle(answer: asyncio.Future[Message | None], message: Message | None) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        answer.set_result(message)


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


def _incoming(message: Message) -> Incoming:
    return Incoming(
        message.sender or "",
        message.path or "",
        message.interface or "",
        message.member or "",
        message.signature,
        tuple(message.body),
    )


def _signal(message: Message) -> Signal:
    return Signal(
        message.sender or "",
        message.path or "",
        message.interface or "",
        message.member or "",
        message.signature,
        tuple(message.body),
    )


def _error(call: Call, reply: Message) -> AnsweredError | NoAnswerError:
    name = reply.error_name or ""
    text = str(reply.body[0]) if reply.signature.startswith("s") else name
    if name in _LOST:
        return NoAnswerError(f"{call} was not answered: {text}")
    kind = NobodyError if name in _NOBODY else AnsweredError
    return kind(f"{call} was answered with an error: {text}", name, text)


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "connection closed"

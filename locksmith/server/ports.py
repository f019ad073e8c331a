"""What the HTTP side of the server asks: the rules of FleetLock, apart from its wire, and who calls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request

from locksmith.server.answers import Answer
from locksmith.server.identity import Identity
from locksmith.server.refusal import Refusal

if TYPE_CHECKING:
    import asyncio


class FleetLock(Protocol):
    """Both calls of FleetLock, for the clients of all groups. Idempotent; they end by themselves, and never raise."""

    async def pre_reboot(self, group: str, client: str) -> Refusal | None:
        """Take a slot for a client, or keep it; None: it has its slot, and may reboot now."""
        ...

    async def steady_state(self, group: str, client: str) -> Refusal | None:
        """Release what a client has; None: it has nothing any more."""
        ...

    async def close(self) -> None:
        """Let go of the store. What clients have stays."""
        ...


class Identifies(Protocol):
    """Tells who sends a request, by its client certificate, its token or its session."""

    async def identify(self, request: Request) -> Identity | Answer:
        """Give the caller; an `Answer` (401, 403, 429, 503) says why it is not known. Nothing is believed but proof."""
        ...


class MachineDesk(Protocol):
    """The calls of daemons with the strategy `server`, apart from their wire (lock/machine_wire.py).

    Nothing is kept between two calls that another server needs, so each call may come to any server, and again.
    """

    async def call(self, group: str, who: Identity, call: str, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Give the answer to a call of a caller whose credential was right, as JSON.

        An answer with a `kind` is an error of the store, with the position at which the store was found.
        `BadJsonError`: the call cannot be read. `ForbiddenError`: it is about another machine. Other errors are those
        of the lock and of the store.
        """
        ...

    async def wait(self, group: str, who: Identity, fields: dict[str, Any]) -> "asyncio.Future[bool]":
        """Begin the call `wait`: the future tells whether its machine is to ask again. Errors are those of `call`.

        It may be cancelled: no machine waits any more.
        """
        ...

    def size_of(self, group: str, call: str, fields: Mapping[str, Any]) -> int:
        """Say how many bytes the answer to a call will have, as far as that is known without the store."""
        ...

    def drain(self) -> None:
        """Answer all who wait, at once: this server stops."""
        ...

    async def close(self) -> None:
        """Let go of the store. What machines have stays."""
        ...

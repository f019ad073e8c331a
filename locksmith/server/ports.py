"""What the HTTP side of the server asks: the rules of FleetLock, apart from its wire, and who calls."""

from typing import Protocol

from starlette.requests import Request

from locksmith.server.answers import Answer
from locksmith.server.identity import Identity
from locksmith.server.refusal import Refusal


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

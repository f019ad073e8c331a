"""What the HTTP side of the server asks: the rules of FleetLock, apart from its wire."""

from typing import Protocol

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

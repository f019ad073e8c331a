"""The rules of FleetLock in memory, for tests of what is around them."""

import asyncio

from locksmith.server.refusal import Refusal, RefusalKind


class FewSlots:
    """So many slots for each group. `delay` is how long a call takes, `fails` what it raises, `refusal` its answer."""

    def __init__(self, slots=1):
        self.slots = slots
        self.held = {}
        self.calls = []
        self.delay = 0.0
        self.fails = None
        self.refusal = None
        self.closed = False

    async def pre_reboot(self, group: str, client: str) -> Refusal | None:
        """Take a slot."""
        await self._begin("pre-reboot", group, client)
        held = self.held.setdefault(group, set())
        if client not in held and len(held) >= self.slots:
            return Refusal(RefusalKind.NO_SLOT, f"{', '.join(sorted(held))} has it")
        held.add(client)
        return self.refusal

    async def steady_state(self, group: str, client: str) -> Refusal | None:
        """Give it back."""
        await self._begin("steady-state", group, client)
        self.held.setdefault(group, set()).discard(client)
        return self.refusal

    async def close(self) -> None:
        """Note it."""
        self.closed = True

    async def _begin(self, *call):
        self.calls.append(call)
        await asyncio.sleep(self.delay)
        if self.fails:
            raise self.fails

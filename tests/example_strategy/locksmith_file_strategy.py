"""`file`: this machine may reboot while /etc/may-reboot is there; each such file is good for one reboot."""

import asyncio

from locksmith.agent.strategy import StrategyContext
from locksmith.host.paths import Paths
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records.claim import Claim

LOOK_EVERY = 0.1
"""Seconds between two looks at the file."""


class File:
    """Permission by a file."""

    reboots = True
    present = False

    def __init__(self, context: StrategyContext) -> None:
        """Need neither a group nor a lock."""
        del context
        self._file = Paths.from_environment().root / "etc/may-reboot"

    async def request(self, claim: Claim) -> Answer:
        """Look whether the file is there."""
        del claim
        return Granted() if self._file.exists() else Denied("file", f"{self._file} is not there: make it")

    async def changed(self, limit: float) -> bool:
        """Wait for the file."""
        for _ in range(int(limit / LOOK_EVERY)):
            if self._file.exists():
                return True
            await asyncio.sleep(LOOK_EVERY)
        return False

    async def commit(self, claim: Claim) -> Answer:
        """Look again."""
        return await self.request(claim)

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Have nobody who could acknowledge it."""
        del claim, state, failure
        return True

    async def abort(self, claim: Claim, reason: str) -> None:
        """Leave the file for the next try."""

    async def complete(self, claim: Claim) -> None:
        """Use the file up."""
        del claim
        self._file.unlink(missing_ok=True)

    async def adopt(self, holder: str) -> bool:
        """Hold nothing."""
        del holder
        return False

    async def close(self) -> None:
        """Have no connection."""

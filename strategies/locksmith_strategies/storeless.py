"""What strategies have in common that ask nobody."""

from locksmith.agent.strategy import StrategyContext
from locksmith.lock.answer import Answer
from locksmith.lock.records.claim import Claim


class Storeless:
    """Always gives the same answer; holds nothing, touches no store."""

    present = False
    answer: Answer

    def __init__(self, context: StrategyContext) -> None:
        """Need nothing of the context."""

    async def request(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        """Give the answer."""
        return self.answer

    async def changed(self, limit: float) -> bool:  # noqa: ARG002 - part of the interface
        """Say at once that there is nothing to wait for."""
        return False

    async def commit(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        """Give the answer."""
        return self.answer

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:  # noqa: ARG002 - part of the interface
        """Have nobody who could acknowledge it."""
        return True

    async def abort(self, claim: Claim, reason: str) -> None:
        """Have nothing to take back."""

    async def complete(self, claim: Claim) -> None:
        """Have nothing to give back."""

    async def adopt(self, holder: str) -> bool:  # noqa: ARG002 - part of the interface
        """Hold nothing."""
        return False

    async def close(self) -> None:
        """Have no connection."""

"""The common part of the strategies without a store."""

from locksmith.agent.strategy import StrategyContext
from locksmith.lock.answer import Answer
from locksmith.lock.records.claim import Claim


class Storeless:
    """Always gives the same answer, holds no slot, and uses no store."""

    present = False
    answer: Answer

    def __init__(self, context: StrategyContext) -> None:
        """Ignore the context."""

    async def request(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        """Give the answer."""
        return self.answer

    async def changed(self, limit: float) -> bool:  # noqa: ARG002 - part of the interface
        """Return at once: there is nothing to wait for."""
        return False

    async def commit(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        """Give the answer."""
        return self.answer

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:  # noqa: ARG002 - part of the interface
        """Return True: there is no record that an operator must acknowledge."""
        return True

    async def abort(self, claim: Claim, reason: str) -> None:
        """Do nothing: there is no take to abort."""

    async def complete(self, claim: Claim) -> None:
        """Do nothing: there is no slot to release."""

    async def adopt(self, holder: str) -> bool:  # noqa: ARG002 - part of the interface
        """Hold no slot."""
        return False

    async def close(self) -> None:
        """Do nothing: there is no connection."""

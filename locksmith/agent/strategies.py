"""The strategies that a loop uses. A claim is released where it was made, even if another lock is configured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, target_of
from locksmith.agent.strategy import Strategy, asks_server
from locksmith.errors import StoreUnavailableError


class Strategies:
    """One strategy for each target, made when it is first needed."""

    def __init__(self, make: Callable[[Target], Strategy], configured: Target) -> None:
        self._make = make
        self._configured = configured
        self._made: dict[Target, Strategy] = {}
        self.watched = configured
        """The target that was asked last. A change there is a reason to ask again."""

    def at(self, target: Target) -> Strategy:
        """Give the strategy for this target."""
        if target not in self._made:
            self._made[target] = self._make(target)
        return self._made[target]

    def recheck(self) -> None:
        """Have the next request ask a strategy's own server, however recently it was asked."""
        for strategy in self._made.values():
            if (asks := asks_server(strategy)) is not None:
                asks.recheck()

    def made(self) -> tuple[Strategy, ...]:
        """Give those that were needed."""
        return tuple(self._made.values())

    @contextmanager
    def of_claim(self, entry: JournalEntry) -> Iterator[Strategy]:
        """Give the strategy of a claim.

        If its store does not answer, and another store is configured now, the error names the commands to run.
        """
        target = target_of(entry)
        try:
            yield self.at(target)
        except StoreUnavailableError as error:
            if target.endpoints == self._configured.endpoints:
                raise
            where = ", ".join(target.endpoints) or "a locksmith-server"
            raise type(error)(
                f"{error}; this machine's claim was made at {where}, and the configuration names "
                "other endpoints now: if those are gone for good, run `locksmithctl forget-claim` on this machine"
            ) from None

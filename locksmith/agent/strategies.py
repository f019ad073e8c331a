"""The strategies that a loop uses. A claim is released where it was made, even if another lock is configured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, target_of
from locksmith.agent.strategy import Strategy
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
            raise type(error)(
                f"{error}; this machine's claim was made there, the configuration names other endpoints now: if those "
                "are gone for good, see `locksmithctl status`, run `locksmithctl unlock` if this machine holds a "
                "slot, and remove its reboot journal"
            ) from None

"""One endpoint's part of a call that tries several."""

from dataclasses import dataclass

from locksmith.store.endpoints import Endpoint
from locksmith.store.exchange import Exchange, Limits


@dataclass(frozen=True, slots=True)
class Turn:
    """One endpoint's part of a call: the loop's times by which it must be connected, and must have answered."""

    exchange: Exchange
    connect_by: float
    answer_by: float

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint itself."""
        return self.exchange.endpoint

    @property
    def limits(self) -> Limits:
        """The times, as an exchange needs them."""
        return Limits(self.connect_by, self.answer_by)

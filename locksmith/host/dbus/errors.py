"""What can go wrong with a call on the system bus; each is a `BusError`.

What counts for the caller is what may have happened: `BusGoneError`, nothing was sent; `AnsweredError` and its kin, the
other side answered; `NoAnswerError`, the call was sent and may have had its effect, now or later.
"""

from locksmith.errors import HostError


class BusError(HostError):
    """A call on the system bus did not do what was asked."""

    component = "bus"


class BusGoneError(BusError):
    """There is no connection to the bus; nothing was sent."""


class NoAnswerError(BusError):
    """The call was sent and its answer did not come."""


class AnsweredError(BusError):
    """The call was answered with a D-Bus error; `name` is the error's, `text` what it says."""

    def __init__(self, sentence: str, name: str, text: str) -> None:
        super().__init__(sentence)
        self.name = name
        self.text = text


class NobodyError(AnsweredError):
    """Nobody has the name that was called, and nobody can be started for it."""


class StrangeAnswerError(BusError):
    """The answer has another signature than the protocol says."""

"""The errors of a call on the system bus; each says what may have happened."""

from locksmith.errors import HostError


class BusError(HostError):
    """A call on the system bus did not do what was asked."""

    component = "bus"


class BusGoneError(BusError):
    """Not done: there is no connection to the bus. Nothing was sent."""


class NoAnswerError(BusError):
    """May be done: the call was sent, and no answer came. The call may have its effect now or later."""


class AnsweredError(BusError):
    """Refused: the call was answered with a D-Bus error. `name` and `text` are the error's."""

    def __init__(self, sentence: str, name: str, text: str) -> None:
        super().__init__(sentence)
        self.name = name
        self.text = text


class NobodyError(AnsweredError):
    """Not done: the name that was called has no owner, and the bus can start no program for it."""


class StrangeAnswerError(BusError):
    """Cannot be read: the call was answered, and the answer has another signature than the protocol says."""

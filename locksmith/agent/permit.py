"""What an order to reboot needs at the very moment at which it is put on the wire.

Between the decision and the send a process may be stopped for hours, and its slot may go to another machine. So the
code that sends makes the last check, with no wait between check and send.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from locksmith.errors import RebootRefusedError

Permit = Callable[[], AbstractContextManager[None]]
"""Entered right before the order is sent, and left when it was. `RebootRefusedError`: the order must not be sent."""


def until(deadline: float) -> Permit:
    """Permit the order until then, by the clock of the running loop, which is boot time (boottime.py)."""

    @contextmanager
    def permit() -> Iterator[None]:
        late = asyncio.get_running_loop().time() - deadline
        if late > 0:
            raise RebootRefusedError(
                f"the order to reboot comes {late:.0f} s late, so it was not sent: this machine or locksmith stood "
                "still, and its slot may be another's by now"
            )
        yield

    return permit

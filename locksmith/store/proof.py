"""The proof that a kept connection carries a request: the server asks for its body (`100 Continue`, RFC 9110, 10.1.1).

Before that a server does not have the request. So a request without a proof was not done.
"""

import asyncio
from typing import Final

from locksmith.store.link import Link, LinkError, Request

UNPROVEN: Final = 600.0
"""Seconds for which no proof is asked for, after a server did not give it: such requests use new connections."""


class Proof:
    """What one server has shown of it."""

    def __init__(self) -> None:
        self._failed_until = float("-inf")

    def is_likely(self) -> bool:
        """Tell whether a request may be sent on a kept connection: no proof has failed lately."""
        return _now() >= self._failed_until

    async def send(self, link: Link, request: Request, by: float) -> None:
        """Send a request without its body, and wait for the proof. `LinkError`: none came by the loop's time `by`.

        After it `link.send_body` sends the body, and nothing bounds the peer's silence any more.
        """
        link.send(request, hold_body=True)
        try:
            async with asyncio.timeout_at(by):
                asked = await link.asked_for_body()
        except TimeoutError:
            asked = False
        if not asked:
            self._failed_until = _now() + UNPROVEN
            raise LinkError("it did not ask for the body")
        link.bound_silence(0)


def _now() -> float:
    return asyncio.get_running_loop().time()

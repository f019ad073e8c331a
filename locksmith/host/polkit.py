"""The requests that polkit lets users make of the daemon.

polkit may take minutes, because a user must type a password. If the user's agent never answers, polkit does not either.
The bus lets a connection wait for 128 answers and refuses all further calls. So few requests wait at a time.
"""

import contextlib
import secrets
from collections import Counter
from typing import Any

from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.library import Variant
from locksmith.host.dbus.messages import Call, RefusedError

ACTION = "org.locksmith1.manage"
ASK_LIMIT = 120.0
"""Seconds for an answer: a user may have to type a password."""
CANCEL_LIMIT = 2.0
"""Seconds to cancel a request."""
MOST_OF_ONE, MOST = 2, 8
"""Requests that wait at a time: of one user, and of all."""
ALLOW_INTERACTION = 1

_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
_LIMITS = "org.freedesktop.DBus.Error.LimitsExceeded"
_AUTHORITY = (
    "org.freedesktop.PolicyKit1",
    "/org/freedesktop/PolicyKit1/Authority",
    "org.freedesktop.PolicyKit1.Authority",
)


class Polkit:
    """polkit's authority, asked over a connection to the system bus."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus
        self._waiting: Counter[int] = Counter()

    async def allows(self, sender: str, user: int) -> None:
        """Return if the action is allowed. `RefusedError`: it is not, or too many requests wait already."""
        if self._waiting[user] >= MOST_OF_ONE:
            raise RefusedError(_LIMITS, f"polkit has not answered {MOST_OF_ONE} earlier requests of user {user} yet")
        if self._waiting.total() >= MOST:
            raise RefusedError(_LIMITS, f"polkit has not answered {MOST} earlier requests yet; try again later")
        self._waiting[user] += 1
        try:
            allowed = await self._ask(sender)
        finally:
            self._waiting[user] -= 1
            self._waiting += Counter()  # drops the zeros
        if not allowed:
            raise RefusedError(_DENIED, f"polkit does not allow {ACTION}; root may")

    async def _ask(self, sender: str) -> bool:
        cancellation = secrets.token_hex(8)
        subject = ("system-bus-name", {"name": Variant("s", sender)})
        body: tuple[Any, ...] = (subject, ACTION, {}, ALLOW_INTERACTION, cancellation)
        ask = Call(*_AUTHORITY, "CheckAuthorization", "(sa{sv})sa{ss}us", body, "(bba{ss})")
        try:
            [(allowed, _challenge, _details)] = await self._bus.call(ask, limit=ASK_LIMIT)
        except HostError as error:
            # Otherwise the user's agent would still ask for a password that has no use any more.
            with contextlib.suppress(HostError):
                cancel = Call(*_AUTHORITY, "CancelCheckAuthorization", "s", (cancellation,), autostart=False)
                await self._bus.call(cancel, limit=CANCEL_LIMIT)
            raise RefusedError(_DENIED, f"only root may ask this, as polkit does not answer: {error}") from None
        return bool(allowed)

"""Who may call for a group: by address, password or token, and certificate. Pure: files are read elsewhere.

Only the address of the connection counts. Headers that name another, as proxies add them, are never believed.
"""

import hmac
import itertools
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from locksmith.config.server_model import ServedGroup
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.requests import Call
from locksmith.util.ratelimit import RateLimit

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="locksmith", Bearer realm="locksmith"'}
WRONG_AT_ONCE: Final = 20
"""Wrong passwords that may come at once from one origin for a group."""
WRONG_PER_SECOND: Final = 0.1
"""And in the long run: 3 million in a year."""
OWN_WRONG_AT_ONCE: Final = 5
"""Wrong passwords that may come at once from one origin in the name of one client."""
OWN_WRONG_PER_SECOND: Final = 1 / 60
LONG: Final = 24
"""Characters of a password that no sender finds by guessing, however many it sends: see docs/server.md."""
MOST_REMEMBERED: Final = 10_000
"""Origins, and clients, that are remembered."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: its address and origin (docs: a /64 of IPv6 is one), what it sends, whether it shows a certificate."""

    address: str
    origin: str = ""
    secret: str = field(default="", repr=False)
    certificate: bool = False


def secret_in(header: str) -> str:
    """Give the password or token of a header `Authorization`; empty: it has none that can be read.

    The user of `Basic` may be any.
    """
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return rest
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(rest, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def refuse_place(call: Call, group: ServedGroup | None, caller: Caller) -> Answer | None:
    """Refuse a group that is not served, an address or a missing certificate; None: they are right.

    No answer to an untrusted sender has its own words in it: secrets are left out of each text, so a right guess would
    be seen.
    """
    if group is None:
        return unauthorized("this group is not served here: [server.groups] does not have it")
    if group.clients and not _is_in(group, caller.address):
        return unauthorized(f"{caller.address} is not among the clients of the group {call.group}")
    if group.certificates and not caller.certificate:
        return unauthorized(f"the group {call.group} needs a client certificate, and this connection has none")
    return None


def _is_in(group: ServedGroup, text: str) -> bool:
    try:
        address = plain_address(text)
    except ValueError:
        return False
    return any(address in network for network in group.clients)


def plain_address(text: str) -> Address:
    """Read an address of a connection: without its zone, and an IPv4 address that came over IPv6 as it is."""
    address = ip_address(text.partition("%")[0])
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def same_secret(given: str, right: str) -> bool:
    """Compare in a time that tells nothing about the right secret, also not its length."""
    digests = (sha256(text.encode(errors="surrogateescape")).digest() for text in (given, right))
    return hmac.compare_digest(*digests)


@dataclass(slots=True)
class _Recent:
    """The last so many keys and their values."""

    at_once: float = WRONG_AT_ONCE
    per_second: float = WRONG_PER_SECOND
    most: int = MOST_REMEMBERED
    _held: OrderedDict[tuple[str, ...], RateLimit] = field(default_factory=OrderedDict)

    def of(self, key: tuple[str, ...]) -> RateLimit:
        limit = self._held.setdefault(key, RateLimit(self.at_once, self.per_second))
        self._held.move_to_end(key)
        if len(self._held) > self.most:
            self._held.popitem(last=False)
        return limit

    def __contains__(self, key: tuple[str, ...]) -> bool:
        return key in self._held


class Guesses:
    """Limits how many passwords an origin can try for a group.

    Above the limit none is compared, right or wrong: a right one would be found out by its answer. A password of `LONG`
    characters is not found by guessing, so a right one is let in all the same.

    A client that had the right one before has a limit of its own, so others with its origin, as those of a proxy, do
    not lock it out. Each other client has one too: a client with a wrong password uses up its own first.
    """

    def __init__(self) -> None:
        self._wrong, self._known = _Recent(), _Recent()
        self._own = _Recent(OWN_WRONG_AT_ONCE, OWN_WRONG_PER_SECOND)

    def check(self, call: Call, caller: Caller, right: Sequence[str], now: float) -> Answer | None:
        """Compare the secret of a call with each right one, at a time in seconds; None: it is right."""
        if not caller.secret:
            return unauthorized(f"the group {call.group} needs a password or a token", 401, CHALLENGE)
        client = (caller.origin, call.group, call.client)
        if client in self._known:
            limits = [self._known.of(client)]
        else:
            limits = [self._own.of(client), self._wrong.of((caller.origin, call.group))]
        # Counted before it is compared: of a burst of calls each counts. Above its own, a client uses up no other.
        counted = list(itertools.takewhile(lambda limit: limit.allows(now), limits))
        allowed = len(counted) == len(limits)
        compared = [one for one in right if allowed or len(one) >= LONG]
        is_right = True in [same_secret(caller.secret, one) for one in compared]  # all, so the time tells nothing
        if is_right or not compared:
            for limit in counted:
                limit.refund()
        if is_right:
            self._known.of(client)
            return None
        if not allowed:
            wait = {"Retry-After": str(round(1 / limits[len(counted)].per_second))}
            return unauthorized(f"too many wrong passwords for the group {call.group} came from here", 429, wait)
        return unauthorized(f"the password or token is not that of the group {call.group}", 401, CHALLENGE)

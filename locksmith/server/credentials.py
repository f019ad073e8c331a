"""Who calls: by a token, a session of the page, or a client certificate. Implements `ports.Identifies`.

A token in `Authorization` decides alone if there is one, then the session's cookie, then the certificate. A wrong one
is refused, and no other way is tried: a caller shall not act as another than it says.
"""

import asyncio
import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request

from locksmith.errors import LocksmithError, StoreError
from locksmith.lock.credentials import Kept
from locksmith.lock.records import credential, keys
from locksmith.lock.records.credential import PEOPLE, SESSION, Credential
from locksmith.server.access import secret_in
from locksmith.server.answers import Answer, refused, unauthorized
from locksmith.server.identity import Identity, Role
from locksmith.server.kinds import refusal
from locksmith.server.known import FRESH, Get, KnownCredentials, Wrong
from locksmith.server.refusal import RefusalKind
from locksmith.store.protocol import Store, remove
from locksmith.util import tokens
from locksmith.util.ratelimit import RateLimit
from locksmith.util.records import moment
from locksmith.util.tokens import Kind, Token

log = logging.getLogger(__name__)

SESSION_LASTS: Final = 8 * 3600.0
"""Seconds: a working day. It is not prolonged."""
SIGN_INS_AT_ONCE, SIGN_INS_PER_SECOND = 20, 1 / 30
"""Of one token: each session is a record in etcd."""
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="locksmith"'}
REFUSALS_LOGGED: Final = 1 / 30
"""Warnings per second."""

NONE_SENT: Final = (
    "this needs a credential of a viewer, an operator or a machine: `locksmithctl enroll` shows how each is made"
)
_PREFIXES = {
    Kind.MACHINE: keys.machines_prefix(),
    Kind.VIEWER: keys.people_prefix(),
    Kind.OPERATOR: keys.people_prefix(),
}
_COOKIE, _HOST_COOKIE = "locksmith", "__Host-locksmith"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person who has signed in, and the value of the header `Set-Cookie` that keeps them signed in."""

    identity: Identity
    cookie: str


class Credentials:
    """The credentials in a store. No call raises; what the store cannot answer is an `Answer` with 503.

    `get` reads one key of it, with other parts of the server.
    """

    def __init__(self, store: Store, get: Get | None = None) -> None:
        self._store = store
        self._known = KnownCredentials(store, get)
        self._told = RateLimit(3, REFUSALS_LOGGED)
        self._sign_ins: dict[str, RateLimit] = {}

    async def identify(self, request: Request) -> Identity | Answer:
        """Give the caller; an `Answer` says why it is not known: 401, 403, 429, 503."""
        try:
            found = await self._identify(request)
        except LocksmithError as error:
            return _store_answer(error)
        if isinstance(found, Answer) and found.refusal and found.refusal.sentence != NONE_SENT:
            self._tell(request, found.refusal.sentence)
        return found

    async def sign_in(self, request: Request, token: str) -> SignedIn | Answer:
        """Begin a session of the page with the token of a viewer or an operator."""
        try:
            found = await self._sign_in(request, token)
        except LocksmithError as error:
            return _store_answer(error)
        if isinstance(found, Answer) and found.refusal:
            self._tell(request, found.refusal.sentence)
        return found

    async def sign_out(self, request: Request) -> str:
        """End the session of a request, if it has one; gives the `Set-Cookie` that removes the cookie.

        If the store does not answer, the session ends by its lease.
        """
        session = _session_of(request)
        if session is not None:
            key = keys.sessions_prefix() + session.public
            try:
                found = await self._known.of(key, session.digest, _origin(request))
                self._known.drop(key)
                if isinstance(found, Kept):
                    await remove(self._store, found.entry)
            except LocksmithError as error:
                log.warning("a session could not be ended, and ends by itself within 8 hours: %s", error)
        return _cookie(request, "", 0)

    def csrf_token(self, request: Request) -> str:
        """Give the value of the hidden field `csrf` of each form, for the session of a request; empty: it has none."""
        session = _session_of(request)
        return _csrf_of(session) if session else ""

    def csrf_problem(self, request: Request, given: str) -> Answer | None:
        """Refuse a POST that another site may have caused; None: the caller itself has sent it.

        `given` is what the form's field had. A request with a `Bearer` token needs none: no browser adds that by
        itself, as it does with the password of `Basic` that was given once.
        """
        if request.headers.get("authorization", "").strip().lower().startswith("bearer "):
            return None
        session = _session_of(request)
        if session is None or _from_elsewhere(request) or not tokens.same(given, _csrf_of(session)):
            return unauthorized("this form is not one of this session: load the page again, and send it again")
        return None

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _identify(self, request: Request) -> Identity | Answer:
        origin = _origin(request)
        if "authorization" in request.headers:
            found = await self._of_token(secret_in(request.headers["authorization"]), origin)
            return found if isinstance(found, Answer) else _identity(found)
        session = _session_of(request)
        if session is not None:
            return await self._of_session(session, origin)
        machines = request.state.guest.machines
        if len(machines) > 1:
            return unauthorized("the client certificate names several machines, so it speaks for none")
        if machines:
            return await self._of_certificate(next(iter(machines)))
        return unauthorized(NONE_SENT, 401, CHALLENGE)

    async def _of_certificate(self, machine: str) -> Identity | Answer:
        kept = await self._known.revoked_certificates(machine)
        if kept is None:
            return Identity(Role.MACHINE, machine)
        when = f" at {moment(kept.one.revoked)}" if kept.one and kept.one.revoked else ""
        by = f" by {kept.one.revoked_by}" if kept.one and kept.one.revoked_by else ""
        return unauthorized(f"the client certificates of this machine were revoked{when}{by}")

    async def _of_token(self, text: str, origin: str) -> Kept | Answer:
        token = tokens.parse(text)
        if token is None:
            return unauthorized("this is no token of locksmith-server", 401, CHALLENGE)
        prefix = _PREFIXES.get(token.kind)
        if prefix is None:
            return unauthorized(_MISUSED[token.kind], 401, CHALLENGE)
        found = await self._known.of(prefix + token.public, token.digest, origin)
        if isinstance(found, Wrong):
            return _wrong(found)
        return _ended(found) or found

    async def _of_session(self, session: Token, origin: str) -> Identity | Answer:
        found = await self._known.of(keys.sessions_prefix() + session.public, session.digest, origin)
        if isinstance(found, Wrong):
            return _wrong(found) if found.too_many else unauthorized(_OVER, 401, CHALLENGE)
        if found.one is None or found.ended:
            return unauthorized(_OVER, 401, CHALLENGE)
        key = keys.people_prefix() + found.one.source
        person = await self._known.kept(key)
        if not _proves(person, found.one.proof):  # also if an older one is kept
            person = await self._known.read(key)
        if person is None or not _proves(person, found.one.proof):
            return unauthorized(
                "the token of this session does not exist any more: sign in with another", 401, CHALLENGE
            )
        return _ended(person) or _identity(person)

    async def _sign_in(self, request: Request, text: str) -> SignedIn | Answer:
        if _from_elsewhere(request):
            return unauthorized("sign in on the page of this server: another site has sent this")
        found = await self._of_token(text.strip(), _origin(request))
        if isinstance(found, Answer):
            return found
        person = found.one
        if person is None or person.role not in PEOPLE:
            return unauthorized(
                "this is the token of a machine: a person signs in with that of a viewer or an operator"
            )
        limit = self._sign_ins.setdefault(found.public, RateLimit(SIGN_INS_AT_ONCE, SIGN_INS_PER_SECOND))
        if not limit.allows(asyncio.get_running_loop().time()):
            wait = {"Retry-After": str(int(1 / SIGN_INS_PER_SECOND))}
            return unauthorized("this token has begun many sessions a moment ago: sign in later", 429, wait)
        session = tokens.new_token(Kind.SESSION)
        began = datetime.now(UTC)
        record = Credential(
            role=SESSION,
            holder=person.holder,
            digest=session.digest,
            since=began,
            until=began + timedelta(seconds=SESSION_LASTS),
            source=found.public,
            proof=person.digest,
        )
        await self._store.create(keys.sessions_prefix() + session.public, credential.encode(record), ttl=SESSION_LASTS)
        log.info("%s %s has signed in", person.role, person.holder)
        return SignedIn(_identity(found), _cookie(request, session.text, int(SESSION_LASTS)))

    def _tell(self, request: Request, sentence: str) -> None:
        if self._told.allows(asyncio.get_running_loop().time()):
            log.warning("refused: a call from %s: %s", request.state.guest.address, sentence)


_OVER = "this session is over: sign in again"
_MISUSED = {
    Kind.ENROLMENT: "this is an enrolment secret: a machine gets its own token with it, and nothing else",
    Kind.SESSION: "this is the cookie of a session, and no token",
}


def _proves(person: Kept | None, proof: str) -> bool:
    return person is not None and person.one is not None and tokens.same(person.one.digest, proof)


def _wrong(found: Wrong) -> Answer:
    if found.too_many:
        return unauthorized("too many wrong tokens came from here", 429, {"Retry-After": str(int(FRESH))})
    return unauthorized("no such token is known here: it has expired, was forgotten, or is wrong", 401, CHALLENGE)


def _ended(kept: Kept) -> Answer | None:
    """Refuse a credential that counts no more. Its caller has the right token, so it may know why."""
    if kept.one is None:
        return _store_answer(StoreError(kept.bad))
    if kept.one.revoked:
        by = f" by {kept.one.revoked_by}" if kept.one.revoked_by else ""
        return unauthorized(f"this token was revoked at {moment(kept.one.revoked)}{by}", 401, CHALLENGE)
    if kept.ended:
        return unauthorized(
            "this token was to end, and has lost its end in a copy of etcd: get another", 401, CHALLENGE
        )
    return None


def _identity(kept: Kept) -> Identity:
    assert kept.one is not None  # noqa: S101 - checked by `_ended`
    return Identity(Role(kept.one.role), kept.one.holder, frozenset(kept.one.groups))


def _store_answer(error: LocksmithError) -> Answer:
    return refused(refusal(RefusalKind.STORE, str(error)))


def _origin(request: Request) -> str:
    return str(request.state.guest.client)


def _is_tls(request: Request) -> bool:
    return request.url.scheme == "https"


def _session_of(request: Request) -> Token | None:
    """Read the session of the cookie. With TLS, its name is one that this host alone can set, and over TLS alone."""
    token = tokens.parse(request.cookies.get(_HOST_COOKIE if _is_tls(request) else _COOKIE, ""))
    return token if token is not None and token.kind is Kind.SESSION else None


def _cookie(request: Request, text: str, seconds: int) -> str:
    name, secure = (_HOST_COOKIE, "; Secure") if _is_tls(request) else (_COOKIE, "")
    return f"{name}={text}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _csrf_of(session: Token) -> str:
    return hmac.new(session.text.encode(), b"csrf", "sha256").hexdigest()


def _from_elsewhere(request: Request) -> bool:
    """Whether the browser says that another site has caused the request; browsers of before 2023 say nothing."""
    return request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}

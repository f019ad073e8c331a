"""`POST /machines/v1/GROUP/enroll`: a machine gets its credential with the enrolment secret of its group.

The machine makes its token itself, and sends the digest. So the server never has the token, and the same request again
after a lost answer is answered as the first was: it changes nothing. No answer has a secret in it.

A machine that has a credential gets no other one, and a machine that was revoked gets none. With the secret alone, a
thief cannot become such a machine.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.errors import ConflictError, LocksmithError
from locksmith.lock.cas import CasRetry
from locksmith.lock.credentials import Kept, read_kept
from locksmith.lock.history import History
from locksmith.lock.records import credential, keys
from locksmith.lock.records.credential import MACHINE, Credential
from locksmith.lock.records.event import ENROLLED, Event
from locksmith.server.answers import SUCCESS, Answer, bad_request, refused, unauthorized
from locksmith.server.kinds import refusal
from locksmith.server.known import FRESH, KnownCredentials, Wrong
from locksmith.server.refusal import RefusalKind
from locksmith.server.reply import Reply, read_body
from locksmith.server.requests import LARGEST_BODY, TOO_SLOW
from locksmith.store.meter import Meter
from locksmith.store.protocol import ABSENT, Check, Put, Store, remove
from locksmith.util import tokens
from locksmith.util.jsonread import BadJsonError, convert, load_record, read
from locksmith.util.ratelimit import RateLimit
from locksmith.util.records import moment
from locksmith.util.text import one_line
from locksmith.util.tokens import Kind, Token

log = logging.getLogger(__name__)

PATH: Final = "/machines/v1/{group}/enroll"
LIMIT: Final = 15.0
"""Seconds after which no further attempt at a write begins."""
LONGEST_NAME: Final = 253
"""Characters of a host name."""
REFUSALS_LOGGED: Final = 1 / 30
"""Warnings per second."""

_MACHINE_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A machine that wants to enrol: its id and name, the secret, and the digest of the token that it has made."""

    group: str
    machine: str
    hostname: str
    secret: Token = field(repr=False)
    digest: str
    address: str = ""
    """Of the connection; empty: it is not known."""


class Enrolment:
    """Enrols machines in a store. No call raises, except if it is cancelled."""

    def __init__(
        self, store: Store, rng: Random | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._clock = store, clock
        self._rng = rng or Random()  # noqa: S311 - jitter, no secret
        self._known = KnownCredentials(store)
        self._told = RateLimit(3, REFUSALS_LOGGED)

    def routes(self) -> list[Route]:
        """Give the route, for `make_app`."""
        return [Route(path, self._call, methods=["POST"]) for path in (PATH, f"/{{prefix:path}}{PATH}")]

    async def enrol(self, asked: Asked, origin: str) -> Answer:
        """Give a machine its credential. The group's history says so, once."""
        written: list[Event] = []
        try:
            answer = await CasRetry(self._rng, LIMIT, Meter()).run(lambda: self._attempt(asked, origin, written))
        except LocksmithError as error:
            return refused(refusal(RefusalKind.STORE, str(error)))
        if answer == SUCCESS and written:  # also if an attempt was done, and its answer was lost
            await History(self._store, asked.group, self._rng).add(written[-1])
        return answer

    async def _call(self, request: Request) -> Response:
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            answer = TOO_SLOW  # which no client reads
        except Exception as error:  # noqa: BLE001 - one line in the log, and no traceback
            log.error("an enrolment failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - as above
            answer = refused(refusal(RefusalKind.STORE, "the server failed: see the log of locksmith-server"))
        if answer.refusal and self._told.allows(asyncio.get_running_loop().time()):
            address = request.state.guest.address
            log.warning("refused: an enrolment from %s: %s", address, answer.refusal.sentence)
        return Reply(request, answer)

    async def _answer(self, request: Request) -> Answer:
        raw = await read_body(request)
        guest = request.state.guest
        asked = raw if isinstance(raw, Answer) else parse(request.path_params["group"], raw)
        if isinstance(asked, Answer):
            return asked
        return await self.enrol(replace(asked, address=guest.address), str(guest.client))

    async def _attempt(self, asked: Asked, origin: str, written: list[Event]) -> Answer:
        secret = await self._known.of(keys.enrolments_prefix() + asked.secret.public, asked.secret.digest, origin)
        if isinstance(secret, Wrong) and secret.too_many:
            return unauthorized("too many wrong secrets came from here", 429, {"Retry-After": str(int(FRESH))})
        key = keys.machines_prefix() + tokens.public_of_machine(asked.group, asked.machine)
        found, revoked = await self._store.read([key, keys.certificates_key(asked.machine)])
        stands = read_kept(found.entry) if found.entry else None
        if stands and stands.one and not stands.one.revoked and tokens.same(stands.one.digest, asked.digest):
            return SUCCESS  # its first answer was lost; also if the secret has ended since
        if isinstance(secret, Wrong) or secret.one is None or secret.ended:
            return unauthorized("no such enrolment secret is known here: it has expired, was closed, or is wrong", 401)
        if secret.one.groups != (asked.group,):
            return unauthorized("this enrolment secret is one of another group")
        revocation = read_kept(revoked.entry) if revoked.entry else None
        if stands or (revocation and revocation.bars):
            return _barred(stands, revocation, asked.machine)
        guard = Check(keys.certificates_key(asked.machine), revoked.version)
        return await self._write(key, asked, secret, guard, written)

    async def _write(self, key: str, asked: Asked, secret: Kept, guard: Check, written: list[Event]) -> Answer:
        assert secret.one is not None  # noqa: S101 - checked by the caller
        also: list[Check | Put] = [Check(secret.entry.key, secret.entry.version), guard]
        if secret.one.most is not None:
            count = await self._store.get(keys.enrolled_key(secret.public))
            before = int(count.entry.value) if count.entry and count.entry.value.isdigit() else 0
            if before >= secret.one.most:
                said = f"this enrolment secret has enrolled {before} machines, which is all that it may: open another"
                return unauthorized(said)
            also.append(Put(keys.enrolled_key(secret.public), str(before + 1).encode(), count.version))
        new = Credential(
            role=MACHINE,
            holder=asked.machine,
            digest=asked.digest,
            since=self._clock(),
            groups=(asked.group,),
            who=secret.one.who,
            host=secret.one.host,
            hostname=asked.hostname,
            source=secret.public,
        )
        written.append(_event(new, asked))
        try:
            made = await self._store.swap(key, credential.encode(new), ABSENT, also)
        except ConflictError:
            self._known.drop(secret.entry.key)  # it may have ended
            raise
        if not self._store.transactional and (revocation := await self._revoked(asked.machine)):
            await remove(self._store, made)  # no server believes it meanwhile, nor if this is not reached
            return _barred(None, revocation, asked.machine)
        log.info("%s (%s) is enrolled in the group %s", asked.machine, asked.hostname, asked.group or "default")
        return SUCCESS

    async def _revoked(self, machine: str) -> Kept | None:
        """Read whether a machine was revoked meanwhile: on v2 its credential is made all the same."""
        entry = (await self._store.get(keys.certificates_key(machine))).entry
        revocation = read_kept(entry) if entry else None
        return revocation if revocation and revocation.bars else None


def _event(new: Credential, asked: Asked) -> Event:
    """Make the history's record: the operator is the one who opened the enrolment."""
    return Event(
        new.since,
        ENROLLED,
        who=new.who,
        host=new.host,
        reason="opened the enrolment" if new.who else "",
        detail=f"from {asked.address}" if asked.address else "",
        holder=new.holder,
        hostname=new.hostname,
    )


def parse(group: str, raw: bytes) -> Asked | Answer:
    """Read the body of a request, or give the answer that refuses it. Pure."""
    try:
        fields = load_record(raw, LARGEST_BODY)
        machine = convert("machine_id", read(fields, "machine_id", str), _machine)
        name = one_line(read(fields, "hostname", str, ""), LONGEST_NAME)
        digest = convert("token_sha256", read(fields, "token_sha256", str), _digest)
        secret = tokens.parse(read(fields, "secret", str))
    except BadJsonError as error:
        # Its own words could have a secret in them.
        said = "a field appears twice" if str(error).endswith("appears twice") else str(error)
        return bad_request(f"the body cannot be read: {said}")
    if secret is None or secret.kind is not Kind.ENROLMENT:
        return unauthorized("this is no enrolment secret of `locksmithctl enroll open`", 401)
    return Asked(group, machine, name, secret, digest)


def _machine(text: str) -> str:
    if not _MACHINE_ID.fullmatch(text):
        raise ValueError("a machine id has 32 hexadecimal digits (machine-id(5))")
    return text


def _digest(text: str) -> str:
    if not tokens.is_digest(text):
        raise ValueError("the SHA-256 of the token has 64 hexadecimal digits")
    return text


def _barred(stands: Kept | None, revocation: Kept | None, machine: str) -> Answer:
    """Refuse a machine whose credential stands in the way, or else the revocation of all that it had."""
    kept = stands or revocation
    one = kept.one if kept else None
    when = f" at {moment(one.revoked)}" if one and one.revoked else ""
    if stands is None:
        said = f"this machine was revoked{when}, in all groups"
    elif when:
        said = f"the credential of this machine was revoked{when}"
    else:
        said = "this machine is enrolled already, with another token"
    return unauthorized(f"{said}: an operator lets it enrol again with `locksmithctl enroll forget {machine}`")

"""`fleet-lock`: this machine reboots while a FleetLock server, such as locksmith-server or airlock, has a slot for it.

The protocol has no watch, no record and no claim: the server knows a machine by its id alone, and both calls may be
repeated. So this strategy asks seldom, asks once more right before the reboot, and calls steady-state until the server
agrees. It never does that for a machine that is not healthy: that machine keeps its slot.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from random import Random

from locksmith.agent.fleet_lock import DEFAULT_GROUP
from locksmith.agent.strategy import StrategyContext
from locksmith.errors import (
    HostError,
    LocksmithError,
    OutcomeUnknownError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records.claim import Claim
from locksmith.util.words import clock, span
from locksmith.util.zincati import zincati_id
from locksmith_strategies.fleet_lock_client import (
    NOT_FOUND,
    PRE_REBOOT,
    REDIRECT,
    REFUSALS,
    STEADY_STATE,
    FleetLockClient,
    Reply,
)

LIMIT = 60.0
"""Seconds for an answer. A server may run hooks before it answers; the loop gives each step 90 seconds."""
COMMIT_LIMIT = 8.0
"""Seconds for the last answer before the reboot: the order to logind follows it within ten seconds, or not at all."""
JITTER = 0.1
"""The share of the period by which the next request is late at most: machines that asked together do not again."""
LATE = 60.0
"""Seconds for which a call without an answer may still be carried out, by a proxy or a server that is slow."""

NOW = float("-inf")
"""When to ask, in the event loop's time: at once."""

SERVER = "server"
"""The reason to wait: the server says no."""
HELD_BACK = frozenset({"frozen", "held", "halted", "window"})
"""The kinds of locksmith-server that hold a group or a machine back: a slot is released, and that is no failure."""
LATER = frozenset({408, 429, 502, 503, 504})
"""Statuses of a server, or of a proxy before it, that cannot answer now, or is asked too often."""
UNSURE = frozenset({502, 504})
"""Those of a proxy that does not know what its server has done."""


class FleetLock:
    """Asks a server for a slot, again right before the reboot, and releases the slot after a healthy boot."""

    reboots = True
    present = False

    def __init__(self, context: StrategyContext) -> None:
        if not context.fleet_lock.url:
            raise ValueError("fleet-lock.url is not set: it names the server")
        self._context = context
        self._settings = context.fleet_lock
        self._group = context.group or DEFAULT_GROUP
        self._rng = Random()  # noqa: S311 - when to ask, no secret
        self._due = NOW
        self._nonce = ""
        self._answer: Answer | None = None
        self._until: datetime | None = None
        # When the last call ended whose outcome is not known, and when the last steady-state was sent that succeeded.
        self._open: float | None = None
        self._freed = float("-inf")

    @property
    def server(self) -> str:
        """Names the server in a sentence, with its URL, the group, and this machine's id there."""
        try:
            known = f"id {self._id}"
        except LocksmithError:
            known = "an id of its machine-id"
        return f"the FleetLock server {self._settings.url} (group {self._group}, {known})"

    @cached_property
    def _id(self) -> str:
        return self._settings.id or zincati_id(self._context.machine_id())

    @cached_property
    def _client(self) -> FleetLockClient:
        return FleetLockClient(self._settings)

    def recheck(self) -> None:
        """Ask the server at the next request, however recently it was asked."""
        self._due = NOW

    async def contact(self) -> str:
        """Say how the server answers a request that changes nothing there."""
        reply = await self._client.probe(LIMIT)
        if reply.status in REFUSALS | {NOT_FOUND} | set(REDIRECT):
            raise StoreRefusedError(self._words(reply))
        return f"answers (HTTP status {reply.status} to a GET), and no slot was asked for"

    async def request(self, claim: Claim) -> Answer:
        """Ask for a slot, or repeat the last answer: the server is not asked more often than once in a period."""
        if claim.nonce != self._nonce:
            self._nonce, self._answer = claim.nonce, None
        now = _now()
        if now >= self._due:
            self._answer = await self._poll(claim)
        elif self._answer is None:
            waited = f"{self.server} is asked at most every {span(self._settings.period)}"
            self._answer = Denied(SERVER, waited, may_hold=True)
        return self._timed(self._answer)

    async def changed(self, limit: float) -> bool:
        """Wait until the server may be asked again: the protocol tells no news."""
        left = max(0.0, self._due - _now())
        await asyncio.sleep(min(left, limit))
        return left <= limit

    async def commit(self, claim: Claim) -> Answer:
        """Ask once more, right before the reboot. Only a success lets this machine reboot."""
        sent = _now()
        reply = await self._pre_reboot(COMMIT_LIMIT)
        answer = self._read(reply, held=True)
        self._put_off(sent)
        self._nonce, self._answer = claim.nonce, answer
        return Granted(sent) if isinstance(answer, Granted) else answer

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:  # noqa: ARG002 - part of the interface
        """Return True: FleetLock has no record that an operator could acknowledge. A sick machine keeps its slot."""
        return True

    async def abort(self, claim: Claim, reason: str) -> None:  # noqa: ARG002 - part of the interface
        """Release what this machine may have."""
        if claim.nonce != self._nonce:  # an earlier process may have asked
            self._nonce, self._open = claim.nonce, _now()
        self._answer = None
        await self._release()

    async def complete(self, claim: Claim) -> None:  # noqa: ARG002 - part of the interface
        """Release the slot after a healthy boot."""
        await self._release()

    async def adopt(self, holder: str) -> bool:  # noqa: ARG002 - part of the interface
        """Release a slot of before, as Zincati does after each boot; False: the server does not say what it had."""
        if self._context.adopt:
            await self._steady_state()
        return False

    async def close(self) -> None:
        """Do nothing: each call has a connection of its own."""

    async def _release(self) -> None:
        """Call steady-state, and again when no call of before can be carried out any more.

        A late pre-reboot would hold a slot for ever. A late steady-state would release the slot of this machine's next
        reboot: until then the claim stays in the reboot journal, and there is no other.
        """
        if self._open is None or self._freed < self._open or _now() - self._open >= LATE:
            sent = _now()
            await self._steady_state()
            self._freed = sent
        if self._open is not None and (left := self._open + LATE - self._freed) > 0:
            raise OutcomeUnknownError(
                f"{self.server} may still carry out a call that it did not answer: in {span(timedelta(seconds=left))} "
                "this machine releases its slot there once more"
            )
        self._open = None

    async def _poll(self, claim: Claim) -> Answer:
        """Ask, and decide when to ask next. What was granted to this claim stands until its commit asks again."""
        held = isinstance(self._answer, Granted) or claim.taken is not None
        self._put_off(_now())
        try:
            return self._read(await self._pre_reboot(LIMIT), held=held)
        except StoreError as error:
            if held:
                self._due = self._due if self._answer else NOW
                raise
            return Denied(error.component, str(error), may_hold=True)
        except LocksmithError:  # nothing was sent: a file of this machine cannot be used
            self.recheck()
            raise

    def _put_off(self, asked: float) -> None:
        self._due = asked + self._settings.period.total_seconds() * self._rng.uniform(1.0, 1.0 + JITTER)

    def _timed(self, answer: Answer) -> Answer:
        """Give an answer with the time of the next request, which changes only if the clock was stepped."""
        if not isinstance(answer, Denied) or answer.lost or answer.must_release:
            return answer
        now = datetime.now().astimezone()
        until = (now + timedelta(seconds=max(0.0, self._due - _now()))).replace(microsecond=0) + timedelta(seconds=1)
        if self._until is None or abs(until - self._until) > timedelta(seconds=2):
            self._until = until
        text = answer.text
        if answer.code != SERVER:  # an error is shown without the end of its wait
            text = f"{text}; it is asked again at {clock(self._until, now)}"
        return Denied(answer.code, text, may_hold=True, until=self._until)

    async def _pre_reboot(self, limit: float) -> Reply:
        return await self._call(PRE_REBOOT, limit, self._context.asking)

    async def _call(self, what: str, limit: float, before: Callable[[], None] = lambda: None) -> Reply:
        """Make a call, and note when its outcome is not known."""
        try:
            reply = await self._client.call(what, self._group, self._id, limit, before)
        except (StoreUnavailableError, HostError):
            raise
        except BaseException:  # also a cancellation: the server may go on
            self._open = _now()
            raise
        if reply.status in UNSURE:
            self._open = _now()
        return reply

    async def _steady_state(self) -> None:
        reply = await self._call(STEADY_STATE, LIMIT)
        if not reply.granted:
            raise StoreRefusedError(f"the slot is not released: {self._words(reply)}")

    def _read(self, reply: Reply, *, held: bool) -> Answer:
        """Read an answer to pre-reboot; `held`: the server has granted it to this claim before."""
        if reply.granted:
            return Granted()
        text = self._words(reply)
        if not held:
            return Denied(SERVER, text, may_hold=True)
        if reply.kind in HELD_BACK:
            return Denied(SERVER, text, must_release=True, may_hold=True)
        if reply.status in LATER:
            raise StoreUnavailableError(text)
        return Denied(SERVER, text, lost=True, may_hold=True)

    def _words(self, reply: Reply) -> str:
        """Say what the server answered, and what to correct."""
        url = self._settings.url
        if reply.status in REDIRECT:
            where = f" to {reply.location}" if reply.location else ""
            return f"the FleetLock server {url} redirects{where}, which is not followed: correct fleet-lock.url"
        said = ": ".join(filter(None, (reply.kind, reply.value)))
        says = f"says {said}" if said else f"answers with HTTP status {reply.status}, and gives no reason"
        return f"the FleetLock server {url} {says}{self._hint(reply)}"

    def _hint(self, reply: Reply) -> str:
        settings = self._settings
        if reply.status == NOT_FOUND:
            return "; is fleet-lock.url its base URL?"
        if reply.status not in REFUSALS:
            return ""
        if settings.token_file is not None:
            return "; it refuses fleet-lock.token-file"
        if settings.password_file is not None:
            return "; it refuses fleet-lock.username and fleet-lock.password-file"
        return (
            "; it may want to know who asks: fleet-lock.username and fleet-lock.password-file, or fleet-lock.token-file"
        )


def _now() -> float:
    return asyncio.get_running_loop().time()

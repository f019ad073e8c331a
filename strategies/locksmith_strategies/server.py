"""`server`: this machine reboots while it holds a slot, which a locksmith-server takes in etcd for it.

The claim is this machine's, as with `etcd-lock`: its nonce tells each call from every other, so a call whose answer was
lost is made again, at any server. Only a complete answer to this very claim is a permission. A store that went back in
time, or another cluster, gives none: this machine compares each answer with what it has seen.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from random import Random
from typing import Any, TypeVar

from locksmith.agent.strategy import StrategyContext
from locksmith.errors import LocksmithError, OutcomeUnknownError, StoreError
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.lock import machine_wire as wire
from locksmith.lock.admission import Watermark, read_order
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.order import OTHER_CLUSTER, RESTORED, Order
from locksmith.store.remembering import RememberingStore
from locksmith.util.jsonread import BadJsonError, read

T = TypeVar("T")

LIMIT = 35.0
"""Seconds for an answer, a little more than a server takes; the loop gives each step 90."""
COMMIT_LIMIT = 8.0
"""Seconds for the last answer before the reboot: the order to logind follows it within ten seconds, or not at all."""
CONTACT_LIMIT = 20.0
ASK_AFTER = 60.0
"""Seconds after which a claim that waits asks again, so that its place in the queue stays."""
WAIT_LIMIT, ANSWER_AFTER = 50.0, 15.0
"""Seconds for which a server may hold a wait, and for its answer after that."""
PAUSE = (1.0, 5.0)
"""Seconds, at least and at most, from a wait that failed to the next request: machines come back one after another."""
LEAVE_LIMIT = 0.4
"""Seconds to leave the queue at the end of the daemon."""


class Server:
    """Queues for a slot through a server, takes a slot to give permission, and releases the slot after the reboot."""

    reboots = True
    present = True

    def __init__(self, context: StrategyContext, client: ServerClient | None = None) -> None:
        if not context.fleet_server.urls:
            raise ValueError("fleet-server.urls is not set: it names the servers")
        self._context = context
        self._settings = context.fleet_server
        self._key = keys.semaphore_key(context.group)
        self._rng = Random()  # noqa: S311 - when to ask, no secret
        self._granted = ""
        self._waiting: tuple[Claim, Denied] | None = None
        self._asked: Claim | None = None
        """The claim without a slot for which a server was asked: a request of it may be on its way still."""
        self._poll: asyncio.Task[None] | None = None
        if client is not None:
            self._client = client

    @property
    def server(self) -> str:
        """Names the servers in a sentence."""
        return f"the locksmith-server at {' or '.join(self._settings.urls)} (group {self._context.group})"

    @cached_property
    def _mark(self) -> Watermark:
        return self._context.mark()

    @cached_property
    def _client(self) -> ServerClient:
        return ServerClient(self._settings, self._context.group, self._mark)

    @cached_property
    def _store(self) -> RememberingStore:
        return RememberingStore(ServerStore(self._client), self._mark, self._key)

    def recheck(self) -> None:
        """Ask at the next request, however lately the last answer came."""
        self._stop_waiting()

    async def contact(self) -> str:
        """Say how each server answers this machine. A `LocksmithError` names those that do not."""
        said, problems = [], []
        for url in self._settings.urls:
            try:
                position = await self._client.greet(url, CONTACT_LIMIT)
                said.append(f"{url} answers, with etcd cluster {position.cluster or 'of no name'}")
            except LocksmithError as error:
                problems.append(str(error))
        if problems:
            raise StoreError("; ".join([*problems, *said]))
        return "; ".join(said)

    async def request(self, claim: Claim) -> Answer:
        """Ask for a slot, or repeat the last denial while a server still waits for its end."""
        if self._waiting is not None and self._poll is not None and not self._poll.done():
            waiting, denied = self._waiting
            if (waiting.nonce, waiting.rechecked) == (claim.nonce, claim.rechecked):
                return denied
        self._stop_waiting()
        held = self._granted == claim.nonce or claim.taken is not None
        if (doubt := await self._doubt(held=held)) is not None:
            if not held:  # with a place in the queue it would block every machine after it
                with suppress(StoreError):
                    await self._client.call(wire.LEAVE, claim, limit=LIMIT)
            return doubt
        if held and claim.taken is None:  # a server that has just started must not take it a second time
            claim = replace(claim, taken=datetime.now().astimezone())
        self._asked = None if held else claim
        answer = await self._ask(wire.REQUEST, claim, LIMIT)
        if isinstance(answer, Granted):
            self._granted, self._asked = claim.nonce, None
        elif not (answer.lost or answer.must_release):
            self._waiting = (claim, answer)
            self._wait_for(claim)
        return answer

    async def changed(self, limit: float) -> bool:
        """Wait for what the server waits for."""
        if self._poll is None:
            await asyncio.sleep(limit)
            return False
        done, _ = await asyncio.wait({self._poll}, timeout=limit)
        return bool(done)

    async def commit(self, claim: Claim) -> Answer:
        """Have the point of no return written, by a server whose store is the one that this machine knows."""
        self._stop_waiting()
        if (doubt := await self._doubt(held=True)) is not None:
            return doubt
        self._mark.keep()
        return await self._ask(wire.COMMIT, claim, COMMIT_LIMIT)

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Have the failure written into the record, which halts the rollout; True: an operator has acknowledged it."""
        self._stop_waiting()
        said = await self._call(wire.REPORT_FAILURE, claim, state=state, failure=failure[: wire.LONGEST])
        acknowledged = _understood(lambda: read(said, "acknowledged", bool))
        if not acknowledged:
            self._wait_for(claim)
        return bool(acknowledged)

    async def abort(self, claim: Claim, reason: str) -> None:
        """Give the slot and the place back. No request that is still on its way takes a slot after that."""
        self._stop_waiting()
        await self._call(wire.ABORT, claim, reason=reason[: wire.LONGEST])
        self._asked = None

    async def complete(self, claim: Claim) -> None:
        """Release the slot; the group remembers the reboot."""
        self._stop_waiting()
        await self._call(wire.COMPLETE, claim)

    async def adopt(self, holder: str) -> bool:  # noqa: ARG002 - part of the interface
        """Release nothing: a slot without a record is a legacy node's, which has etcd."""
        return False

    async def close(self) -> None:
        """Leave the queue, and end a claim that has no slot: no late request takes one for a daemon that stops.

        Where that fails, the place expires. If the reboot journal keeps the claim, the next start makes another.
        """
        waiting, _ = self._waiting or (None, None)
        asked, self._asked = self._asked, None
        self._stop_waiting()
        if (leaves := asked or waiting) is not None:
            with suppress(LocksmithError, TimeoutError):
                async with asyncio.timeout(LEAVE_LIMIT):
                    await self._client.call(wire.LEAVE, leaves, limit=LEAVE_LIMIT, ends=asked is not None)
        await self._store.close()

    async def _doubt(self, *, held: bool) -> Denied | None:
        """Compare the store with what this machine has seen of it; None: it is to be believed."""
        resume, _ = await self._store.read([keys.resume_key(self._context.group), self._key])
        order = read_order(resume.entry, RESTORED)
        if verdict := self._mark.went_back(order.since if isinstance(order, Order) else None):
            return Denied(RESTORED, verdict, must_release=held)
        if split := self._mark.split:
            return Denied(OTHER_CLUSTER, split, must_release=held)
        return None

    async def _ask(self, call: str, claim: Claim, limit: float) -> Answer:
        sent = asyncio.get_running_loop().time()
        said = await self._client.call(call, claim, limit=limit, before=self._mark.asking)
        answer: Answer = _understood(lambda: wire.decode_answer(said, claim, sent, datetime.now().astimezone()))
        if self._mark.verdict:  # its answer shows that the store went back, after all
            return Denied(RESTORED, self._mark.verdict, must_release=True)
        return answer

    async def _call(self, call: str, claim: Claim, **fields: Any) -> dict[str, Any]:
        said = await self._client.call(call, claim, limit=LIMIT, **fields)
        if (said.get("answer"), said.get("nonce")) != (wire.DONE, claim.nonce):
            raise OutcomeUnknownError(f"{self.server} answers what it must not")
        return said

    def _wait_for(self, claim: Claim) -> None:
        self._poll = asyncio.ensure_future(self._wait(claim))

    async def _wait(self, claim: Claim) -> None:
        """Wait until it is worth asking again; no failure is an error."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + ASK_AFTER
        try:
            while (left := ends - loop.time()) > 0:
                limit = min(WAIT_LIMIT, left)
                said = await self._client.call(wire.WAIT, claim, limit=limit + ANSWER_AFTER, seconds=limit)
                if said.get("changed") is not False:
                    return
        except LocksmithError:
            await asyncio.sleep(self._rng.uniform(*PAUSE))

    def _stop_waiting(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
        self._poll = self._waiting = None


def _understood(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except BadJsonError as error:
        raise OutcomeUnknownError(f"the server answers what it must not: {error}") from None

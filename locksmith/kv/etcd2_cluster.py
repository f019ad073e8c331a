"""A cluster on etcd's v2 API: each call goes to its members in turn, within one deadline."""

import asyncio
from collections.abc import Iterator
from functools import partial

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.kv.connections import open_pool, parse_endpoint
from locksmith.kv.etcd2_member import Answer, Call, LostError, Member, NotSentError, Poll
from locksmith.kv.settings import StoreSettings
from locksmith.kv.threads import in_thread


class Cluster:
    """The members, the most trusted first: one that fails a call goes to the end of the line.

    So after a read has found its way around a frozen member, the write that follows does not meet it again.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._pool = open_pool(settings)
        self._line = [Member(parse_endpoint(url), settings, self._pool) for url in settings.endpoints]
        self._connect_limit = settings.timeout / max(1, len(self._line))
        self._polls: set[Poll] = set()
        self._closed = False

    async def ask(self, call: Call, until: float) -> Answer:
        """Ask the members in turn until one answers, at most until `until` (the loop's clock).

        A write goes to the next one only when it cannot have arrived at the one before. `AnsweredNoError`,
        `StoreRefusedError`, `StoreUnavailableError`; of a write besides `OutcomeUnknownError`.
        """
        doubts: list[str] = []
        for member, share in self._in_turn(until):
            try:
                return await in_thread(partial(member.call, call, share), limit=share)
            except NotSentError as error:
                doubts.append(self._doubt(member, str(error)))
            except (LostError, TimeoutError) as error:
                doubts.append(self._doubt(member, str(error) or f"no answer within {share:.1f} s"))
                if call.writes:
                    raise OutcomeUnknownError(
                        f"etcd did not say whether {call.method} of {call.key} was done: {doubts[-1]}"
                    ) from None
        raise _unavailable(call, doubts)

    async def poll(self, call: Call, until: float) -> bool:
        """Long-poll: True after an event or when etcd can no longer tell, False at `until` (the loop's clock).

        `StoreRefusedError`, `StoreUnavailableError`.
        """
        doubts: list[str] = []
        for member, _ in self._in_turn(until):
            try:
                return await self._poll_member(member, call, until)
            except NotSentError as error:
                doubts.append(self._doubt(member, str(error)))
            except LostError as error:
                self._doubt(member, str(error))
                return True
        raise _unavailable(call, doubts)

    def close(self) -> None:
        """End the polls and close the connections; nothing is asked any more."""
        self._closed = True
        for poll in self._polls:
            poll.end()
        self._pool.clear()

    async def _poll_member(self, member: Member, call: Call, until: float) -> bool:
        limit = max(0.0, until - asyncio.get_running_loop().time())
        poll = member.poll(call)
        self._polls.add(poll)
        try:
            return await in_thread(partial(poll.run, self._connect_limit, limit), limit=limit)
        except TimeoutError:
            return False
        finally:
            self._polls.discard(poll)
            poll.end()

    def _in_turn(self, until: float) -> Iterator[tuple[Member, float]]:
        """Give each member and its fair share of the seconds that are left."""
        for left, member in zip(range(len(self._line), 0, -1), tuple(self._line), strict=True):
            share = (until - asyncio.get_running_loop().time()) / left
            if self._closed or share <= 0:
                return
            yield member, share

    def _doubt(self, member: Member, why: str) -> str:
        self._line.remove(member)
        self._line.append(member)
        return f"{member.url}: {why}"


def _unavailable(call: Call, doubts: list[str]) -> StoreUnavailableError:
    reasons = "; ".join(doubts) or "it was closed, or no time was left"
    return StoreUnavailableError(f"no endpoint of etcd answered {call.method} of {call.key} ({reasons})")

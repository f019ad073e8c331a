"""A cluster on etcd's v2 API: each call tries its members in turn, within one deadline."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial

import urllib3

from locksmith.errors import OutcomeUnknownError, StoreError, StoreRefusedError, StoreUnavailableError
from locksmith.store.cluster import ForeignError, OneCluster
from locksmith.store.connections import time_limit
from locksmith.store.endpoints import parse_endpoints
from locksmith.store.etcd2_member import Answer, AnsweredNoError, Call, LostError, Member, NotSentError, Request
from locksmith.store.meter import Meter
from locksmith.store.protocol import NoObserver, Observer, Position
from locksmith.store.settings import StoreSettings
from locksmith.util.threads import in_thread

WHO = Call("GET", "_locksmith/cluster", {})
"""A hidden key that no program has. The answer matters only for the cluster that it names."""


class Cluster:
    """The members, the most trusted first: a member that fails a call becomes the last.

    So if a read has met a frozen member, the write that follows does not meet that member again.
    """

    def __init__(self, settings: StoreSettings, meter: Meter, observer: Observer = NoObserver()) -> None:  # noqa: B008 - it has no state
        self._meter = meter
        self._observer = observer
        self._line = [Member(endpoint, settings) for endpoint in parse_endpoints(settings)]
        self._connect_limit = settings.timeout / len(self._line)
        self._members = {member.url: member for member in self._line}
        self._one = OneCluster([*self._members], observer.clusters, self._identify, settings.timeout)
        self._under_way: set[Request] = set()
        self._closed = False

    async def ask(self, call: Call, until: float) -> Answer:
        """Ask the members in turn until one answers, at most until `until` (the loop's clock).

        A write goes to the next member only if it cannot have arrived at the last. Raises `AnsweredNoError`,
        `StoreRefusedError`, `StoreUnavailableError`; and for a write also `OutcomeUnknownError`.
        """
        errors: list[str] = []
        foreign = False
        await self._one.begin()
        for member, share in self._in_turn(until):
            try:
                await self._admit(member, share, call)
                return await self._asked(member, call, share)
            except ForeignError as error:
                foreign = True
                errors.append(self._to_the_end(member, str(error)))
            except NotSentError as error:
                errors.append(self._doubt(member, await member.explain(error, until)))
            except (LostError, TimeoutError) as error:
                said = await member.explain(error, until) or f"no answer within {share:.1f} s"
                errors.append(self._doubt(member, said))
                if call.writes:
                    raise OutcomeUnknownError(
                        f"etcd did not say whether {call.method} of {call.key} was done: {errors[-1]}"
                    ) from None
        raise await self._failure(call, errors, foreign=foreign)

    async def poll(self, call: Call, until: float) -> bool:
        """Wait for an event: True after an event, or if etcd can no longer tell; False at `until` (the loop's clock).

        If a long poll breaks, the next member is asked, which knows the events since. If all have broken, that is a
        `StoreUnavailableError`, not "read again": a proxy that breaks every poll would cause endless reads.
        """
        errors: list[str] = []
        foreign = False
        for member, _ in self._in_turn(until):
            if errors:
                self._meter.watch_restarted()
            limit = until - asyncio.get_running_loop().time()
            try:
                await self._run(member, call, urllib3.Timeout(self._connect_limit, limit), limit)
            except TimeoutError:
                return False
            except ForeignError as error:
                foreign = True
                errors.append(self._to_the_end(member, str(error)))
                continue
            except (LostError, NotSentError) as error:
                errors.append(self._doubt(member, str(error)))
                continue
            except AnsweredNoError:
                pass  # the event index was cleared
            return True
        raise await self._failure(call, errors, foreign=foreign)

    def close(self) -> None:
        """End every call under way; no request is sent any more."""
        self._closed = True
        self._one.close()
        for request in self._under_way:
            request.end()

    async def _asked(self, member: Member, call: Call, share: float) -> Answer:
        """Give the answer to a request, and tell the observer the store's index, also that of etcd's "no"."""
        known = self._observer.sending()
        answered = Position(0)
        try:
            answer = await self._run(member, call, time_limit(share), share)
            answered = Position(answer.index)
        except AnsweredNoError as no:
            answered = Position(no.index)
            raise
        finally:
            if answered.revision > 0:
                answered = Position(answered.revision, self._one.clusters.own)
                self._observer.answered(answered, known, linearizable=call.counts)
        return answer

    async def _run(self, member: Member, call: Call, bounds: urllib3.Timeout, limit: float) -> Answer:
        """Give the answer to a request, if it comes from the cluster that counts."""
        request = member.request(call)
        try:
            answer = await self._in_thread(request, bounds, limit)
        except (AnsweredNoError, StoreRefusedError):
            self._one.clusters.heard(member.url, request.cluster)
            raise
        self._one.clusters.heard(member.url, request.cluster)
        return answer

    async def _in_thread(self, request: Request, bounds: urllib3.Timeout, limit: float) -> Answer:
        self._under_way.add(request)
        try:
            return await in_thread(partial(request.run, bounds), limit=limit)
        finally:
            self._under_way.discard(request)
            request.end()

    async def _admit(self, member: Member, share: float, call: Call) -> None:
        """Ask a member for its cluster, if this call must know it first."""
        try:
            await self._one.admit(member.url, share, write=call.writes)
        except (LostError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            raise NotSentError(f"which cluster it belongs to is not known: {why}") from None

    async def _identify(self, url: str, limit: float) -> str:
        """Give a member's cluster: etcd names it in each answer, also in a "no"."""
        request = self._members[url].request(WHO)
        with contextlib.suppress(AnsweredNoError, StoreRefusedError):
            await self._in_thread(request, time_limit(limit), limit)
        return request.cluster

    async def _failure(self, call: Call, errors: list[str], *, foreign: bool) -> StoreError:
        error = _unavailable(call, errors)
        return await self._one.refuse(str(error)) if foreign else error

    def _in_turn(self, until: float) -> Iterator[tuple[Member, float]]:
        """Give each member and its share of the seconds that are left."""
        self._line.sort(key=lambda member: not self._one.answers(member.url))
        for left, member in zip(range(len(self._line), 0, -1), tuple(self._line), strict=True):
            share = (until - asyncio.get_running_loop().time()) / left
            if self._closed or share <= 0:
                return
            yield member, share

    def _doubt(self, member: Member, why: str) -> str:
        self._one.clusters.lost(member.url)
        return self._to_the_end(member, why)

    def _to_the_end(self, member: Member, why: str) -> str:
        self._line.remove(member)
        self._line.append(member)
        return f"{member.url}: {why}"


def _unavailable(call: Call, errors: list[str]) -> StoreUnavailableError:
    reasons = "; ".join(errors) or "it was closed, or no time was left"
    return StoreUnavailableError(f"no endpoint of etcd answered {call.method} of {call.key} ({reasons})")

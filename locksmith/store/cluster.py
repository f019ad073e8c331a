"""One cluster only: an answer of another etcd cluster counts for nothing.

Each answer of etcd names its cluster. `Clusters` holds which one counts, and which one each endpoint belongs to; the
clients of one program share it. `OneCluster` is what a client does about that around each of its requests:

- A write goes only to an endpoint that has just named its cluster. A write to another cluster would stand there.
- Where there are several endpoints, all are asked at the start, and every five minutes.
- A refusal names no cluster, so its endpoint is asked afterwards.

An endpoint that cannot be reached is no disagreement. One that names no cluster is an error.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from locksmith.errors import LocksmithError, OtherClusterError
from locksmith.util.jsonread import BadJsonError, shown
from locksmith.util.words import listed

log = logging.getLogger(__name__)

FRESH = 10.0
"""Seconds for which an endpoint belongs to the cluster that it has named: a write then needs no question before it."""
ASK_AFTER, ASK_MISSING_AFTER, ASK_FOREIGN_AFTER = 300.0, 60.0, 5.0
"""Seconds between two questions to all endpoints: while they agree, while one does not answer, while they disagree."""
PATIENCE = 1.0
"""Seconds for which the other endpoints are waited for, where it is known which cluster counts."""
SUCCESSOR_AFTER = 5.0
"""Seconds between two looks whether an operator has said that another cluster counts from now on."""
_LARGEST = 2**64 - 1


class ForeignError(LocksmithError):
    """Not done: this endpoint belongs to another cluster than the one that counts."""

    component = "other_cluster"


def parse_id(text: object, base: int, name: str) -> str:
    """Read a cluster's id, and write it as etcd's log does; `BadJsonError`: it is missing, or none.

    The v3 API writes it as a decimal number, the v2 API as a hexadecimal one.
    """
    digits = "0123456789abcdef"[:base]
    if not isinstance(text, str) or not 0 < len(text) <= len(f"{_LARGEST}") or set(text.lower()) - set(digits):
        raise BadJsonError(f"the field {name!r} must be the id of a cluster, not {shown(text)}")
    number = int(text, base)
    if not 0 < number <= _LARGEST:
        raise BadJsonError(f"the field {name!r} must be the id of a cluster, not {shown(text)}")
    return f"{number:x}"


@dataclass(frozen=True, slots=True)
class Sight:
    """Which cluster an endpoint belongs to, and when it said so, by the loop's clock."""

    cluster: str
    at: float


@dataclass
class Clusters:
    """Which cluster counts (`own`; empty: none does yet), where it was seen last, and what each endpoint said last.

    `strict`: where the endpoints disagree, everything is refused. Otherwise the own cluster goes on to count, and
    `split` says that its endpoints disagree: the lock gives no permission then.
    """

    own: str = ""
    at: str = ""
    strict: bool = True
    expects: Callable[[], str] = str
    """Says which cluster counts, where none does yet; empty: the first that answers."""
    adopted: Callable[[], None] = lambda: None
    """Called when a first cluster counts from now on."""
    changed: Callable[[], None] = lambda: None
    """Called when an endpoint is seen to belong to another cluster, or to none of them any more."""
    successor: Callable[[], Awaitable[None]] | None = None
    """Looks whether an operator has said that another cluster takes the place of this one."""
    sights: dict[str, Sight] = field(default_factory=dict)
    looked: float | None = None
    succeeded: float = float("-inf")

    @property
    def foreign(self) -> dict[str, str]:
        """The endpoints that belong to another cluster, and to which."""
        return {url: sight.cluster for url, sight in self.sights.items() if self.own and sight.cluster != self.own}

    @property
    def split(self) -> str:
        """Say that the endpoints disagree at the same time; empty: they do not."""
        named: dict[str, list[str]] = {}
        for url, sight in self.sights.items():
            named.setdefault(sight.cluster, []).append(url)
        if len(named) < 2:  # noqa: PLR2004 - two of them disagree
            return ""
        said = listed([f"{', '.join(urls)} to cluster {cluster}" for cluster, urls in sorted(named.items())])
        return f"the etcd endpoints belong to different clusters: {said}; correct etcd.endpoints"

    def expect(self) -> None:
        """Let the expected cluster count, where none does yet."""
        if not self.own and (cluster := self.expects()):
            self._adopt("", cluster)

    def heard(self, url: str, cluster: str) -> None:
        """Take note which cluster an endpoint belongs to; `ForeignError`: to another than counts."""
        before, was_foreign = self.sights.get(url), self.foreign
        self.sights[url] = Sight(cluster, asyncio.get_running_loop().time())
        if not self.own:
            self._adopt(url, cluster)
        if cluster == self.own:
            self.at = url
            if was_foreign != self.foreign:
                self.changed()
            return
        if before is None or before.cluster != cluster:
            log.warning("%s %s; %s", url, self._stranger(url), self.ways_out)
            self.changed()
        raise ForeignError(f"it {self._stranger(url)}")

    def noted(self, found: dict[str, str | None]) -> None:
        """Take note of what all endpoints have said; None: one could not be reached, or named no cluster."""
        was_foreign, self.looked = self.foreign, asyncio.get_running_loop().time()
        for url, cluster in found.items():
            self.sights.pop(url, None)
            if cluster is not None:
                self.sights[url] = Sight(cluster, self.looked)
        named = {cluster: url for url, cluster in found.items() if cluster is not None}
        if not named and not self.own:
            self.looked = None
        elif not self.own and len(named) == 1:
            [(cluster, url)] = named.items()
            self._adopt(url, cluster)
        for url, cluster in self.foreign.items():
            if was_foreign.get(url) != cluster:
                log.warning("%s %s; %s", url, self._stranger(url), self.ways_out)
        if self.foreign != was_foreign:
            self.changed()

    def lost(self, url: str) -> None:
        """Forget an endpoint that has failed: what answers there next may be another."""
        if url in self.foreign:
            del self.sights[url]
            self.changed()
        else:
            self.sights.pop(url, None)

    def replace(self, cluster: str) -> None:
        """Let another cluster count from now on, as an operator has said."""
        self.own, self.at = cluster, ""
        self.changed()

    def is_known(self, url: str) -> bool:
        """Whether an endpoint has said a moment ago that it belongs to the cluster that counts."""
        sight = self.sights.get(url)
        fresh = sight is not None and asyncio.get_running_loop().time() - sight.at < FRESH
        return sight is not None and fresh and sight.cluster == self.own

    @property
    def ways_out(self) -> str:
        """Say what an operator can do where another cluster answers than the one that counts."""
        others = listed(sorted(set(self.foreign.values())))
        return (
            f"correct etcd.endpoints, or if cluster {others} has taken the place of {self.own}: inspect which machines "
            f"are down, then run `locksmithctl resume --replaces {self.own}`"
        )

    def _stranger(self, url: str) -> str:
        seen = f", seen before at {self.at}" if self.at else ""
        return f"belongs to etcd cluster {self.sights[url].cluster}, not to {self.own}{seen}"

    def _adopt(self, url: str, cluster: str) -> None:
        self.own, self.at = cluster, url
        self.adopted()


class OneCluster:
    """A client's part: `probe` asks an endpoint which cluster it belongs to, within so many seconds."""

    def __init__(
        self,
        urls: Sequence[str],
        clusters: Clusters | None,
        probe: Callable[[str, float], Awaitable[str]],
        patience: float,
    ) -> None:
        self.clusters = clusters or Clusters()
        self._urls = tuple(dict.fromkeys(urls))
        self._probe = probe
        self._patience = patience
        self._looking: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Ask all endpoints, where it is time: the first time before anything else, later beside the calls.

        `OtherClusterError`: they disagree, and none of them counts.
        """
        clusters = self.clusters
        clusters.expect()
        if len(self._urls) > 1 and self._is_due():
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._look_around())
            if clusters.looked is None or clusters.foreign or clusters.split:
                await asyncio.wait([self._looking])  # a caller that gives up, or a client that is closed, ends no other
        if (clusters.strict or not clusters.own) and (split := clusters.split):
            raise OtherClusterError(split)

    def answers(self, url: str) -> bool:
        """Whether an endpoint has answered as one of the cluster that counts, and not failed since."""
        sight = self.clusters.sights.get(url)
        return sight is not None and sight.cluster == self.clusters.own

    async def admit(self, url: str, limit: float, *, write: bool) -> None:
        """Ask an endpoint before a write, unless it has just answered. What `probe` raises, and `ForeignError`.

        The only endpoint of a client that knows no cluster is not asked: there is none to compare it with.
        """
        clusters = self.clusters
        compares = bool(clusters.own) or len(self._urls) > 1
        if url in clusters.foreign or (write and compares and not clusters.is_known(url)):
            await self._ask(url, limit)

    async def confirm(self, url: str, limit: float) -> None:
        """Ask an endpoint that has refused something, which names no cluster. `ForeignError`: it counts for nothing."""
        if not self.clusters.is_known(url):
            try:
                await self._ask(url, limit)
            except ForeignError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the refusal stands
                log.debug("which cluster %s belongs to is not known: %s", url, error)

    async def refuse(self, said: str) -> OtherClusterError:
        """Make the error of a call to which another cluster alone answered, after a look for an operator's word."""
        clusters, now, ways_out = self.clusters, asyncio.get_running_loop().time(), self.clusters.ways_out
        if clusters.successor is not None and now - clusters.succeeded > SUCCESSOR_AFTER:
            clusters.succeeded = now
            try:
                await clusters.successor()
            except LocksmithError as error:
                log.debug("no operator's word of another cluster is found: %s", error)
        return OtherClusterError(f"{said}; {ways_out}")

    def close(self) -> None:
        """End the question that is under way."""
        if self._looking is not None:
            self._looking.cancel()

    def _is_due(self) -> bool:
        clusters = self.clusters
        if clusters.looked is None:
            return True
        missing = set(self._urls) - set(clusters.sights)
        after = ASK_FOREIGN_AFTER if clusters.foreign else ASK_MISSING_AFTER if missing else ASK_AFTER
        if clusters.split and not clusters.own:
            after = 0.0
        return asyncio.get_running_loop().time() - clusters.looked >= after

    async def _ask(self, url: str, limit: float) -> None:
        self.clusters.heard(url, await self._probe(url, limit))

    async def _look_around(self) -> None:
        # Without a cluster that counts the slow ones are waited for: the first to answer is believed from then on.
        limit = self._patience / 2
        if self.clusters.own or self.clusters.strict:
            limit = min(limit, PATIENCE)
        found = await asyncio.gather(*(self._named(url, limit) for url in self._urls))
        self.clusters.noted(dict(zip(self._urls, found, strict=True)))

    async def _named(self, url: str, limit: float) -> str | None:
        with suppress(Exception):  # whatever it is, this endpoint has named no cluster
            async with asyncio.timeout(limit):
                return await self._probe(url, limit)
        return None

"""The rule of one cluster: an answer of another etcd cluster does not count.

Each answer of etcd names its cluster. `Clusters` holds which cluster counts, and to which cluster each endpoint
belongs; the clients of a program share it. `OneCluster` keeps the rule in each client:

- A write goes only to an endpoint that has just named its cluster. Otherwise a write could stay in another cluster.
- If there are several endpoints, all are asked at the start, and every five minutes.
- A refusal names no cluster, so its endpoint is asked afterwards.

An endpoint that cannot be reached is no disagreement. An endpoint that names no cluster is an error.
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
"""Seconds for which an endpoint belongs to the cluster that it named: a write then needs no question before it."""
ASK_AFTER, ASK_MISSING_AFTER, ASK_FOREIGN_AFTER = 300.0, 60.0, 5.0
"""Seconds between two questions to all endpoints: while they agree, while one does not answer, while they disagree."""
PATIENCE = 1.0
"""Seconds that the other endpoints have to answer, if the cluster that counts is known."""
SUCCESSOR_AFTER = 5.0
"""Seconds between two checks whether an operator has said that another cluster counts from now on."""
_LARGEST = 2**64 - 1


class ForeignError(LocksmithError):
    """Not done: this endpoint belongs to another cluster than the cluster that counts."""

    component = "other_cluster"


def parse_id(text: object, base: int, name: str) -> str:
    """Give a cluster's id as etcd's log has it. `BadJsonError`: there is none, or it is no id.

    The v3 API writes an id as a decimal number, the v2 API as a hexadecimal number.
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
    """The cluster of an endpoint, and when the endpoint named it, by the loop's clock."""

    cluster: str
    at: float


@dataclass
class Clusters:
    """The cluster that counts (`own`; empty: not known yet), its endpoints of last time, and the last answer of each.

    `strict`: if the endpoints disagree, everything is refused. Otherwise the own cluster still counts, and `split` says
    that the endpoints disagree. The lock gives no permission then.
    """

    own: str = ""
    at: str = ""
    strict: bool = True
    expects: Callable[[], str] = str
    """Names the cluster that counts, if none does yet; empty: the first that answers."""
    adopted: Callable[[], None] = lambda: None
    """Called when a first cluster begins to count."""
    changed: Callable[[], None] = lambda: None
    """Called when an endpoint is seen to belong to another cluster, or no longer does."""
    resume: str = "locksmithctl resume"
    """The command with which an operator says that another cluster takes the place of this cluster."""
    setting: str = "etcd.endpoints"
    """Where the endpoints are configured."""
    successor: Callable[[], Awaitable[None]] | None = None
    """Checks whether an operator has said that another cluster takes the place of this cluster."""
    sights: dict[str, Sight] = field(default_factory=dict)
    looked: float | None = None
    succeeded: float = float("-inf")

    @property
    def foreign(self) -> dict[str, str]:
        """The endpoints that belong to another cluster, and that cluster."""
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
        return f"the endpoints in {self.setting} belong to different clusters: {said}; correct {self.setting}"

    def expect(self) -> None:
        """Let the expected cluster count, if none does yet."""
        if not self.own and (cluster := self.expects()):
            self._adopt("", cluster)

    def heard(self, url: str, cluster: str) -> None:
        """Note the cluster of an endpoint. `ForeignError`: it is another than the cluster that counts."""
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
        """Note the answers of all endpoints; None: that endpoint could not be reached, or named no cluster."""
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
        """Forget an endpoint that has failed: the next answer may come from another cluster."""
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
        """Whether an endpoint has just named the cluster that counts."""
        sight = self.sights.get(url)
        fresh = sight is not None and asyncio.get_running_loop().time() - sight.at < FRESH
        return sight is not None and fresh and sight.cluster == self.own

    @property
    def ways_out(self) -> str:
        """Say what an operator can do if another cluster answers than the cluster that counts."""
        others = listed(sorted(set(self.foreign.values())))
        return (
            f"correct {self.setting}, or if cluster {others} has taken the place of {self.own}: inspect which machines "
            f"are down, then run `{self.resume} --replaces {self.own}`"
        )

    def _stranger(self, url: str) -> str:
        seen = f", seen before at {self.at}" if self.at else ""
        return f"belongs to etcd cluster {self.sights[url].cluster}, not to {self.own}{seen}"

    def _adopt(self, url: str, cluster: str) -> None:
        self.own, self.at = cluster, url
        self.adopted()


class OneCluster:
    """A client's part: `probe` asks an endpoint for its cluster, within the seconds that it is told."""

    def __init__(
        self,
        urls: Sequence[str],
        clusters: Clusters | None,
        probe: Callable[[str, float], Awaitable[str]],
        time_limit: float,
    ) -> None:
        self.clusters = clusters or Clusters()
        self._urls = tuple(dict.fromkeys(urls))
        self._probe = probe
        self._time_limit = time_limit
        self._looking: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Ask all endpoints if it is time: before the first call, and later during other calls.

        `OtherClusterError`: they disagree, and none of them counts.
        """
        clusters = self.clusters
        clusters.expect()
        if len(self._urls) > 1 and self._is_due():
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._observe_all())
            if clusters.looked is None or clusters.foreign or clusters.split:
                await asyncio.wait([self._looking])  # a caller that is cancelled ends no other
        if (clusters.strict or not clusters.own) and (split := clusters.split):
            raise OtherClusterError(split)

    def answers(self, url: str) -> bool:
        """Whether an endpoint has named the cluster that counts, and has not failed since."""
        sight = self.clusters.sights.get(url)
        return sight is not None and sight.cluster == self.clusters.own

    async def admit(self, url: str, limit: float, *, write: bool) -> None:
        """Ask an endpoint before a write, unless it has just answered. Raises what `probe` raises, and `ForeignError`.

        If a client knows no cluster and has one endpoint, there is nothing to compare: the endpoint is not asked.
        """
        clusters = self.clusters
        compares = bool(clusters.own) or len(self._urls) > 1
        if url in clusters.foreign or (write and compares and not clusters.is_known(url)):
            await self._ask(url, limit)

    async def confirm(self, url: str, limit: float) -> None:
        """Ask an endpoint after its refusal, which names no cluster. `ForeignError`: the refusal does not count."""
        if not self.clusters.is_known(url):
            try:
                await self._ask(url, limit)
            except ForeignError:
                raise
            except Exception as error:  # noqa: BLE001 - after any error the refusal stands
                log.debug("which cluster %s belongs to is not known: %s", url, error)

    async def refuse(self, said: str) -> OtherClusterError:
        """Give the error of a call that only another cluster answered, after a check for an operator's word."""
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

    async def _observe_all(self) -> None:
        # If no cluster counts yet, slow endpoints get their time: the first that answers is believed from then on.
        limit = self._time_limit / 2
        if self.clusters.own or self.clusters.strict:
            limit = min(limit, PATIENCE)
        found = await asyncio.gather(*(self._named(url, limit) for url in self._urls))
        self.clusters.noted(dict(zip(self._urls, found, strict=True)))

    async def _named(self, url: str, limit: float) -> str | None:
        with suppress(Exception):  # after any error: this endpoint has named no cluster
            async with asyncio.timeout(limit):
                return await self._probe(url, limit)
        return None

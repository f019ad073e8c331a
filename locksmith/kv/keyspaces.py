"""The rule of the two keyspaces: a group whose semaphore stands on etcd's v2 API is not locked on v3.

v2 and v3 of one server do not see each other: a node on each would hold "the" lock at the same time. So before every
take on v3 the cluster is asked for the group's v2 semaphore, and every doubt is a "no".

Whether v2 is served is each member's own matter (`--enable-v2`), what it holds is the cluster's. So one member that
serves v2 decides for all, and one that does not says nothing about the others: then all endpoints are asked. One that
cannot be connected to does not count beside one that answers: a member that is down is an everyday thing, and no node
locks on v2 there meanwhile. (One that is up, but out of this machine's reach alone, is the gap in this: so serve v2 on
all members or on none.) One that takes the connection and gives no answer of etcd's is a doubt.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from locksmith import jsonread, keys, semaphore
from locksmith.errors import CorruptValueError, StoreRefusedError, StoreUnavailableError
from locksmith.kv.cluster import parse_id
from locksmith.kv.connections import as_latin1, brief, open_pool, patience
from locksmith.kv.endpoints import parse_endpoints
from locksmith.kv.exchange import Endpoint
from locksmith.kv.settings import StoreSettings
from locksmith.kv.threads import in_thread

OK = 200
NOT_FOUND = 404
NO_RIGHTS = {401, 403}
KEY_NOT_FOUND = 100
"""The v2 API's own code, beside HTTP's 404."""
NO_V2_API = b"404 page not found"
"""What etcd answers where it does not serve v2: Go's own page."""


class _DoubtError(Exception):
    """An endpoint gave no answer that decides."""


class _UnreachableError(_DoubtError):
    """No connection to it could be made."""


class _NoV2Error(Exception):
    """This member does not serve v2; another one may."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The group's v2 semaphore, and who asks for it."""

    key: str
    settings: StoreSettings
    cluster: str = ""
    """The cluster that counts; empty: that is not known."""

    def ask(self, endpoint: Endpoint, limit: float) -> bytes | None:
        """Read the semaphore at one endpoint within `limit` seconds; None: there is none, by the v2 API's own word."""
        try:
            answer = open_pool(endpoint.context).request(
                "GET",
                f"{endpoint.url}/v2/keys/{quote(self.key)}",
                fields={"quorum": "true"},
                headers=self._headers(),
                timeout=patience(limit),
                redirect=False,
            )
        except (HTTPError, OSError) as error:
            unreachable = isinstance(error, NewConnectionError | ConnectTimeoutError)
            raise (_UnreachableError if unreachable else _DoubtError)(
                endpoint.certificate_fault(error) or brief(error)
            ) from None
        if answer.status == NOT_FOUND and answer.data.strip() == NO_V2_API:
            raise _NoV2Error
        self._refuse_another_cluster(answer)
        if answer.status in NO_RIGHTS:
            raise StoreRefusedError(
                f"whether {self.key} exists on etcd's v2 API cannot be told, so nothing is done on v3: "
                f"{endpoint.url} answered HTTP {answer.status}; give it a user that may read there"
            )
        return _value(answer)

    def _refuse_another_cluster(self, answer: urllib3.BaseHTTPResponse) -> None:
        if not self.cluster:
            return
        try:
            found = parse_id(answer.headers.get("X-Etcd-Cluster-Id"), 16, "X-Etcd-Cluster-Id")
        except jsonread.BadJsonError as error:
            raise _DoubtError(str(error)) from None
        if found != self.cluster:
            raise _DoubtError(f"it belongs to etcd cluster {found}, not to {self.cluster}")

    def _headers(self) -> dict[str, str]:
        if self.settings.username is None:
            return {}
        credentials = as_latin1(f"{self.settings.username}:{self.settings.password or ''}")
        return dict(urllib3.make_headers(basic_auth=credentials))


async def refuse_if_v2_in_use(settings: StoreSettings, group: str, cluster: str = "") -> None:
    """Return when the group may be locked on v3: no v2 API anywhere, no semaphore there, or one that was retired.

    Where it is known which `cluster` counts, what another one says of v2 decides nothing.

    `StoreRefusedError`: it is in use on v2 (held or not), or the server does not let us look. `StoreUnavailableError`:
    the answers within `settings.timeout` did not decide.
    """
    question = _Question(keys.semaphore_key(group), settings, cluster)
    value = await _first_answer(question, parse_endpoints(settings))
    if value is not None and not _is_retired(value, question.key):
        raise StoreRefusedError(
            f"{question.key} exists on etcd's v2 API, and locks on v2 and v3 do not see each other: say "
            "`--etcd-api 2`, or when no node uses v2 any more, `locksmithctl retire-v2`"
        )


async def _first_answer(question: _Question, endpoints: tuple[Endpoint, ...]) -> bytes | None:
    now = asyncio.get_running_loop().time
    until = now() + question.settings.timeout
    without_v2, in_doubt = False, False
    doubts = []
    for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        share = max(0.0, until - now()) / left
        try:
            return await in_thread(partial(question.ask, endpoint, share), limit=share)
        except _NoV2Error:
            without_v2 = True
        except (_DoubtError, TimeoutError) as error:
            in_doubt |= not isinstance(error, _UnreachableError)
            doubts.append(f"{endpoint.url}: {str(error) or f'no answer within {share:.1f} s'}")
    if without_v2 and not in_doubt:
        return None
    raise StoreUnavailableError(
        f"no etcd endpoint could be used: {'; '.join(doubts)}; nothing is done on v3 before one says whether "
        f"{question.key} exists on the v2 API"
    )


def _value(answer: urllib3.BaseHTTPResponse) -> bytes | None:
    if answer.status not in {OK, NOT_FOUND}:
        raise _DoubtError(f"HTTP {answer.status}: {brief(answer.data.decode(errors='replace'))}")
    try:
        fields = jsonread.load_object(answer.data)
        if answer.status == NOT_FOUND and jsonread.read(fields, "errorCode", int) == KEY_NOT_FOUND:
            return None
        return jsonread.read(jsonread.read(fields, "node", dict), "value", str).encode()
    except ValueError as error:
        raise _DoubtError(f"the answer is none of etcd's v2 API: {brief(error)}") from None


def _is_retired(value: bytes, key: str) -> bool:
    """Whether it is what `retire-v2` leaves: no slot and no holder, which stops every node on v2."""
    try:
        found = semaphore.decode(value, key)
    except CorruptValueError:
        return False
    return found.max == 0 and not found.holders

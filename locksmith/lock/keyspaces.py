"""The rule of the two keyspaces: a group whose semaphore is on etcd's v2 API is not locked on v3.

v2 and v3 of one server do not see each other: a node on each would hold "the" lock at the same time. So before every
take on v3 the cluster is asked for the group's v2 semaphore, and without a clear answer it takes no slot.

Whether v2 is served is each member's own matter (`--enable-v2`), what it holds is the cluster's. So one member that
serves v2 decides for all, and one that does not says nothing about the others: then all endpoints are asked. If another
member answers, a member that cannot be connected to does not count: a member that is down is an everyday thing, and no
node locks on v2 there meanwhile. (A member that is up, but out of this machine's reach alone, is the gap in this: so
serve v2 on all members or on none.) A member that takes the connection and gives no answer of etcd's counts as unclear.
"""

import asyncio
import base64
from dataclasses import dataclass
from urllib.parse import quote

from locksmith.errors import CorruptValueError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.records import keys, semaphore
from locksmith.store.cluster import parse_id
from locksmith.store.endpoints import Endpoint, parse_endpoints
from locksmith.store.exchange import Answer, Exchange, FailedError, Limits, MaybeDoneError, UnreachableError
from locksmith.store.link import Request
from locksmith.store.settings import StoreSettings
from locksmith.util import jsonread
from locksmith.util.text import one_line

OK = 200
NOT_FOUND = 404
NO_RIGHTS = {401, 403}
KEY_NOT_FOUND = 100
"""The v2 API's own code, in addition to HTTP's 404."""
LONGEST_QUOTE = 200
"""Characters of an answer that are quoted."""
NO_V2_API = b"404 page not found"
"""What etcd answers where it does not serve v2: Go's own page."""


class _UndecidedError(MaybeDoneError):
    """An endpoint answered, and that does not decide."""


class _NoV2Error(Exception):
    """This member does not serve v2; another one may."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The group's v2 semaphore, and who asks for it."""

    key: str
    settings: StoreSettings
    cluster: str = ""
    """The cluster that counts; empty: that is not known."""

    async def ask(self, exchange: Exchange, by: float) -> bytes | None:
        """Read the semaphore at one endpoint until the loop's time `by`; None: there is none, by v2's own word."""
        request = Request(f"/v2/keys/{quote(self.key)}?quorum=true", headers=self._headers(), method="GET")
        answer = await exchange.ask(request, Limits(by, by), write=False)
        if answer.status == NOT_FOUND and answer.body.strip() == NO_V2_API:
            raise _NoV2Error
        self._refuse_another_cluster(answer)
        if answer.status in NO_RIGHTS:
            raise StoreRefusedError(
                f"whether {self.key} exists on etcd's v2 API cannot be told, so nothing is done on v3: "
                f"{exchange.endpoint.url} answered HTTP {answer.status}; give it a user that may read there"
            )
        return _value(answer)

    def _refuse_another_cluster(self, answer: Answer) -> None:
        if not self.cluster:
            return
        try:
            found = parse_id(answer.headers.get("x-etcd-cluster-id"), 16, "X-Etcd-Cluster-Id")
        except jsonread.BadJsonError as error:
            raise _UndecidedError(str(error)) from None
        if found != self.cluster:
            raise _UndecidedError(f"it belongs to etcd cluster {found}, not to {self.cluster}")

    def _headers(self) -> dict[str, str]:
        if self.settings.username is None:
            return {}
        credentials = f"{self.settings.username}:{self.settings.password_now}".encode()
        return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}


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
    without_v2, unclear, answered = False, False, False
    errors = []
    for left, exchange in zip(range(len(endpoints), 0, -1), map(Exchange, endpoints), strict=True):
        by = now() + max(0.0, until - now()) / left
        try:
            return await question.ask(exchange, by)
        except _NoV2Error:
            without_v2 = True
        except FailedError as error:
            unclear |= not isinstance(error, UnreachableError)
            answered |= isinstance(error, _UndecidedError)
            errors.append(f"{exchange.endpoint.url}: {await exchange.explain(error, by)}")
        finally:
            exchange.close()
    if without_v2 and not unclear:
        return None
    # The v2 API is the question only where the endpoints could else be used.
    why = f"; nothing is done on v3 before one says whether {question.key} exists on the v2 API"
    raise StoreUnavailableError(
        f"no etcd endpoint could be used: {'; '.join(errors)}{why if without_v2 or answered else ''}"
    )


def _value(answer: Answer) -> bytes | None:
    if answer.status not in {OK, NOT_FOUND}:
        raise _UndecidedError(f"HTTP {answer.status}: {one_line(answer.body.decode(errors='replace'), LONGEST_QUOTE)}")
    try:
        fields = jsonread.load_object(answer.body)
        if answer.status == NOT_FOUND and jsonread.read(fields, "errorCode", int) == KEY_NOT_FOUND:
            return None
        return jsonread.read(jsonread.read(fields, "node", dict), "value", str).encode()
    except ValueError as error:
        raise _UndecidedError(f"the answer is none of etcd's v2 API: {one_line(str(error), LONGEST_QUOTE)}") from None


def _is_retired(value: bytes, key: str) -> bool:
    """Whether it is what `retire-v2` leaves: no slot and no holder, which stops every node on v2."""
    try:
        found = semaphore.decode(value, key)
    except CorruptValueError:
        return False
    return found.max == 0 and not found.holders

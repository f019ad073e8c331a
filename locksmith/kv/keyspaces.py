"""The rule of the two keyspaces: a group whose semaphore stands on etcd's v2 API is not locked on v3.

v2 and v3 of one server do not see each other: a node on each would hold "the" lock at the same time. So before every
take on v3 the server is asked for the group's v2 semaphore, and every doubt is a "no".
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError

from locksmith import jsonread, keys, semaphore
from locksmith.errors import CorruptValueError, StoreRefusedError, StoreUnavailableError
from locksmith.kv.connections import as_latin1, brief, open_pool, patience
from locksmith.kv.endpoints import parse_endpoints
from locksmith.kv.exchange import Endpoint
from locksmith.kv.settings import StoreSettings
from locksmith.kv.threads import in_thread

OK = 200
NOT_FOUND = 404
NO_RIGHTS = {401, 403}


class _DoubtError(Exception):
    """An endpoint gave no answer that decides."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The group's v2 semaphore, and who asks for it."""

    key: str
    settings: StoreSettings

    def ask(self, endpoint: Endpoint, limit: float) -> bytes | None:
        """Read the semaphore at one endpoint within `limit` seconds; None where there is none, or no v2 API."""
        try:
            answer = open_pool(endpoint.tls).request(
                "GET",
                f"{endpoint.url}/v2/keys/{quote(self.key)}",
                fields={"quorum": "true"},
                headers=self._headers(),
                timeout=patience(limit),
                redirect=False,
            )
        except (HTTPError, OSError) as error:
            raise _DoubtError(brief(error)) from None
        if answer.status in NO_RIGHTS:
            raise StoreRefusedError(
                f"whether {self.key} exists on etcd's v2 API cannot be told, so nothing is done on v3: "
                f"{endpoint.url} answered HTTP {answer.status}; give it a user that may read there"
            )
        return None if answer.status == NOT_FOUND else _value(answer)

    def _headers(self) -> dict[str, str]:
        if self.settings.username is None:
            return {}
        credentials = as_latin1(f"{self.settings.username}:{self.settings.password or ''}")
        return dict(urllib3.make_headers(basic_auth=credentials))


async def refuse_if_v2_in_use(settings: StoreSettings, group: str) -> None:
    """Return when the group may be locked on v3: no v2 API, no semaphore there, or one that was retired.

    `StoreRefusedError`: it is in use on v2 (held or not), or the server does not let us look. `StoreUnavailableError`:
    no endpoint gave an answer that decides within `settings.timeout`.
    """
    question = _Question(keys.semaphore_key(group), settings)
    value = await _first_answer(question, parse_endpoints(settings))
    if value is not None and not _is_retired(value, question.key):
        raise StoreRefusedError(
            f"{question.key} exists on etcd's v2 API, and locks on v2 and v3 do not see each other: say "
            "`--etcd-api 2`, or when no node uses v2 any more, `locksmithctl retire-v2`"
        )


async def _first_answer(question: _Question, endpoints: tuple[Endpoint, ...]) -> bytes | None:
    now = asyncio.get_running_loop().time
    until = now() + question.settings.timeout
    doubts = []
    for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        share = max(0.0, until - now()) / left
        try:
            return await in_thread(partial(question.ask, endpoint, share), limit=share)
        except (_DoubtError, TimeoutError) as error:
            doubts.append(f"{endpoint.url}: {str(error) or f'no answer within {share:.1f} s'}")
    raise StoreUnavailableError(
        f"whether {question.key} exists on etcd's v2 API cannot be told, so nothing is done on v3 ({'; '.join(doubts)})"
    )


def _value(answer: urllib3.BaseHTTPResponse) -> bytes:
    if answer.status != OK:
        raise _DoubtError(f"HTTP {answer.status}: {brief(answer.data.decode(errors='replace'))}")
    try:
        node = jsonread.read(jsonread.load_object(answer.data), "node", dict)
        return jsonread.read(node, "value", str).encode()
    except ValueError as error:
        raise _DoubtError(f"the answer is none of etcd's v2 API: {brief(error)}") from None


def _is_retired(value: bytes, key: str) -> bool:
    """Whether it is what `retire-v2` leaves: no slot and no holder, which stops every node on v2."""
    try:
        found = semaphore.decode(value, key)
    except CorruptValueError:
        return False
    return found.max == 0 and not found.holders

"""This machine enrols at a locksmith-server: it sends an enrolment secret and the digest of the token that it made."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from locksmith.errors import LockError, OutcomeUnknownError, StoreError, StoreUnavailableError
from locksmith.host.http_server import SUCCESS, HttpAnswer, HttpServer
from locksmith.store.link import Request
from locksmith.store.tls import Tls, TlsNames
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.text import one_line

LIMIT = 60.0
"""Seconds for which servers that cannot answer now are asked again."""
CALL_LIMIT = 20.0
"""Seconds for an answer."""
PAUSE = 2.0
LARGEST = 64 * 1024
LONGEST = 400
"""Characters of a server's words that are shown."""
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
NOT_FOUND = 404

NAMES = TlsNames("--server", "--cafile", "the server")


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers, by their base URLs, and the TLS files: who is trusted, and what this machine shows."""

    urls: Sequence[str]
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who enrols: the machine, its group, the enrolment secret, and the digest of its token."""

    group: str
    machine: str
    hostname: str
    secret: str = field(repr=False)
    digest: str


async def enrol(servers: Servers, applicant: Applicant) -> str:
    """Enrol, and give the URL of the server that has said yes.

    A repetition is harmless, so each server is asked until one decides. `LockError`: it says no.
    `StoreUnavailableError`: none has answered; `OutcomeUnknownError`: one may have enrolled this machine.
    """
    clock = asyncio.get_running_loop()
    ends = clock.time() + LIMIT
    tls = Tls(servers, NAMES) if any(url.startswith("https:") for url in servers.urls) else None
    known = [HttpServer(url.rstrip("/"), tls, "the server", "--server") for url in servers.urls]
    unknown: OutcomeUnknownError | None = None
    while True:
        problem: StoreError = StoreUnavailableError("no server is named")
        for server in known:
            try:
                await _ask(server, applicant)
            except OutcomeUnknownError as error:
                problem = unknown = error
            except StoreUnavailableError as error:
                problem = error
            else:
                return server.url
        if clock.time() + PAUSE > ends:
            raise unknown or problem
        await asyncio.sleep(PAUSE)


async def _ask(server: HttpServer, applicant: Applicant) -> None:
    body = {
        "machine_id": applicant.machine,
        "hostname": applicant.hostname,
        "secret": applicant.secret,
        "token_sha256": applicant.digest,
    }
    path = f"{server.path}/machines/v1/{quote(applicant.group)}/enroll"
    request = Request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    answer = await server.exchange(request, CALL_LIMIT, most=LARGEST)
    if answer.status in SUCCESS:
        return
    said = _words(answer)
    if answer.status in LATER:
        raise StoreUnavailableError(server.says(f"cannot decide now: {said}"))
    if answer.status == NOT_FOUND:
        said = f"{said}; is this the base URL of locksmith-server?"
    raise LockError(server.says(f"says {said}"))


def _words(answer: HttpAnswer) -> str:
    try:
        value = load_record(answer.body, LARGEST).get("value")
    except BadJsonError:
        value = None
    return one_line(value, LONGEST) if isinstance(value, str) else f"HTTP status {answer.status}, and gives no reason"

"""The requests of FleetLock's clients: each is read, or refused with a sentence. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from locksmith.server.answers import Answer, bad_request
from locksmith.util.client_ids import id_problem
from locksmith.util.jsonread import BadJsonError, load_record, read

PROTOCOL_HEADER: Final = "fleet-lock-protocol"
LARGEST_BODY: Final = 64 * 1024
"""Bytes."""
LONGEST_GROUP: Final = 200

_GROUP = re.compile(rf"[a-zA-Z0-9.-]{{1,{LONGEST_GROUP}}}")


def too_large(most: int) -> Answer:
    """Refuse a body of more than so many bytes."""
    return bad_request(f"the body has more than the {most} bytes that are read", 413, unread=True)


TOO_LARGE: Final = too_large(LARGEST_BODY)
TOO_SLOW: Final = bad_request("the body did not come in time", 408, unread=True)
NOT_HTTP: Final = bad_request("this is no HTTP/1.1 request that can be read", unread=True)

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls: the client's id, and its group."""

    group: str
    client: str


def head_problem(headers: Headers) -> Answer | None:
    """Say what is wrong with the headers, before any of the body is read; None: nothing."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip())
    if sentence := _header_problem(found):
        return bad_request(sentence, unread=True)
    lengths = found.get("content-length", [])
    # A proxy may see the end of the body elsewhere, and what follows as another's request (RFC 9112, 6.1).
    if lengths and "transfer-encoding" in found:
        return NOT_HTTP
    if any(not length.isdecimal() for length in lengths):
        return NOT_HTTP
    # No number of thousands of digits is converted.
    if any(len(length) > 9 or int(length) > LARGEST_BODY for length in lengths):  # noqa: PLR2004 - a gigabyte
        return TOO_LARGE
    return None


def _header_problem(found: Mapping[str, list[str]]) -> str:
    protocol = found.get(PROTOCOL_HEADER)
    if protocol is None:
        return f"the header `{PROTOCOL_HEADER}: true` is missing: only FleetLock clients are served"
    if protocol != ["true"]:
        return f"the header {PROTOCOL_HEADER} must be there once, as `true`"
    if any(value.lower() != "identity" for value in found.get("content-encoding", [])):
        return "the body must not be compressed, and Content-Encoding says that it is"
    return ""


def parse_body(raw: bytes) -> Call | Answer:
    """Read the body of a call; or give the answer that refuses it."""
    if not raw.strip():
        return bad_request('the body is empty: it must be like {"client_params": {"id": "...", "group": "..."}}')
    try:
        params = read(load_record(raw, LARGEST_BODY), "client_params", dict)
        client, group = _text(params, "id"), _text(params, "group")
    except BadJsonError as error:
        # Its own words would tell an untrusted sender which are secrets: they are left out of each text.
        said = "a field appears twice" if str(error).endswith("appears twice") else str(error)
        return bad_request(f"the body cannot be read: {said}")
    problem = id_problem(client) or _group_problem(group)
    return bad_request(problem) if problem else Call(group, client)


def _text(params: dict[str, Any], name: str) -> str:
    try:
        return read(params, name, str)
    except BadJsonError as error:
        raise BadJsonError(f"in client_params, {error}") from None


def _group_problem(group: str) -> str:
    if not _GROUP.fullmatch(group) or group in {".", ".."}:
        return (
            f"the group has a name that is not allowed: 1 to {LONGEST_GROUP} of the characters "
            "a-z, A-Z, 0-9, . and - are"
        )
    return ""

"""Refusals: an object of JSON with a `kind` of few words, which becomes a label of metrics, and a sentence."""

import re
from collections.abc import Iterator

import pytest

from .fleet import Fleet, new_id
from .wire import CALLS, PRE_REBOOT, PROTOCOL, Answer, body_of

KIND = re.compile(r"[a-z_]+")
MOST_KINDS = 12
"""How many kinds a server may well have; more look like the texts of errors."""


def full(fleet: Fleet, client: str) -> Answer:
    fleet.fill()
    return fleet.pre_reboot(client)


def no_header(fleet: Fleet, client: str) -> Answer:
    headers = [header for header in fleet.server.headers() if header != PROTOCOL]
    return fleet.server.ask(PRE_REBOOT, body_of(client, fleet.group), headers=headers)


def no_body(fleet: Fleet, client: str) -> Answer:
    assert client
    return fleet.server.ask(PRE_REBOOT, b"")


def no_json(fleet: Fleet, client: str) -> Answer:
    return fleet.server.ask(PRE_REBOOT, client.encode())


def no_id(fleet: Fleet, client: str) -> Answer:
    assert client
    return fleet.server.ask(PRE_REBOOT, body_of("", fleet.group))


def no_group(fleet: Fleet, client: str) -> Answer:
    return fleet.server.ask(PRE_REBOOT, body_of(client, f"/{client}"))


def get(fleet: Fleet, client: str) -> Answer:
    return fleet.server.ask(PRE_REBOOT, body_of(client, fleet.group), method="GET")


WAYS = {way.__name__: way for way in (full, no_header, no_body, no_json, no_id, no_group, get)}


def refusals(fleet: Fleet, client: str) -> Iterator[Answer]:
    """Give a refusal of each sort, all of one client; those that were granted are left out."""
    fleet.remember(client)
    for way in WAYS.values():
        answer = way(fleet, client)
        if not answer.granted:
            yield answer
    fleet.clean()


@pytest.mark.should
@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_4xx_or_5xx(fleet: Fleet, way: str):
    answer = WAYS[way](fleet, fleet.remember(new_id()))
    assert answer.refused, f"{way}: {answer}"


@pytest.mark.should
@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_has_a_kind_and_a_value(fleet: Fleet, way: str):
    answer = WAYS[way](fleet, fleet.remember(new_id()))
    error = answer.error()
    for key in ("kind", "value"):
        found = error.get(key)
        assert isinstance(found, str), f"{way}: the answer has no text {key!r}: {answer}"
        assert found.strip(), f"{way}: {key!r} is empty: {answer}"


@pytest.mark.must
def test_kinds_are_few_and_name_no_client(fleet: Fleet):
    clients = [new_id() for _ in range(3)]
    kinds = [{str(answer.error().get("kind", "")) for answer in refusals(fleet, client)} for client in clients]
    together = set().union(*kinds)
    named = [kind for kind in together for client in clients if client in kind or fleet.group in kind.split("_")]
    assert not named, f"a kind that names its client or group becomes a label of metrics: {named}"
    assert len(together) <= MOST_KINDS, f"too many kinds for a label: {sorted(together)}"
    assert kinds[0] == kinds[1] == kinds[2], f"the same refusals have other kinds for other clients: {kinds}"


@pytest.mark.should
def test_kinds_are_words_of_small_letters(fleet: Fleet):
    for answer in refusals(fleet, new_id()):
        kind = answer.error().get("kind")
        assert isinstance(kind, str), f"the answer has no kind: {answer}"
        assert KIND.fullmatch(kind), f"{kind!r} is no label as metrics have them: {answer}"


@pytest.mark.should
def test_a_full_semaphore_is_told_from_a_bad_request(fleet: Fleet):
    client = fleet.remember(new_id())
    busy, bad = full(fleet, client).error().get("kind"), no_id(fleet, client).error().get("kind")
    assert busy != bad, f"both have the kind {busy!r}: an operator cannot tell waiting from a fault"


@pytest.mark.must
@pytest.mark.parametrize("call", CALLS)
def test_a_refused_call_has_no_2xx_of_another_number(fleet: Fleet, call: str):
    fleet.fill()
    for _ in range(3):
        answer = fleet.server.ask(call, body_of(fleet.remember(new_id()), fleet.group))
        assert answer.status == 200 or not answer.granted, f"Zincati reads any 2xx as granted: {answer}"

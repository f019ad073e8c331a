"""One cluster only: which one counts, and what a client asks whom before it believes an answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from locksmith.errors import OtherClusterError, StoreUnavailableError
from locksmith.store.cluster import (
    ASK_AFTER,
    ASK_FOREIGN_AFTER,
    ASK_MISSING_AFTER,
    FRESH,
    PATIENCE,
    SUCCESSOR_AFTER,
    Clusters,
    ForeignError,
    OneCluster,
    parse_id,
)
from locksmith.util.jsonread import BadJsonError
from tests.sim.virtual_time import run

A, B = "http://a", "http://b"


@pytest.mark.parametrize(
    ("text", "base", "found"),
    [
        ("14841639068965178418", 10, "cdf818194e3a8c32"),
        ("cdf818194e3a8c32", 16, "cdf818194e3a8c32"),
        ("CDF818194E3A8C32", 16, "cdf818194e3a8c32"),
        ("1", 10, "1"),
        ("0001", 16, "1"),
        ("18446744073709551615", 10, "f" * 16),
    ],
)
def test_both_apis_name_one_cluster_alike(text, base, found):
    assert parse_id(text, base, "id") == found


@pytest.mark.parametrize("base", [10, 16])
@pytest.mark.parametrize(
    "text",
    [None, "", "0", "-1", "+1", " 1", "1 ", "1_0", "0x1", "x", "\u0661", 7, 7.0, True, [], {}, "1" * 21, "1" * 9999],
)
def test_what_is_no_id_is_none(text, base):
    with pytest.raises(BadJsonError, match="the field 'id' must be the id of a cluster"):
        parse_id(text, base, "id")


def test_more_than_64_bits_are_no_id():
    for text, base in (("18446744073709551616", 10), ("10000000000000000", 16)):
        with pytest.raises(BadJsonError):
            parse_id(text, base, "id")


class Endpoints:
    """Endpoints that name their cluster (None: they fail; "": they are silent), and note who was asked."""

    def __init__(self, **clusters: str | None) -> None:
        self.clusters = {f"http://{name}": cluster for name, cluster in clusters.items()}
        self.asked: list[str] = []

    async def probe(self, url: str, _limit: float) -> str:
        self.asked.append(url)
        cluster = self.clusters[url]
        if cluster is None:
            raise ConnectionRefusedError(url)
        await asyncio.sleep(0.01 if cluster else 3600)
        return cluster

    def client(self, clusters: Clusters | None = None) -> OneCluster:
        return OneCluster([*self.clusters], clusters, self.probe, 5.0)


def play(story: Callable[[], Awaitable[Any]]) -> None:
    async def main(_loop: Any) -> None:
        await story()

    run(main)


def test_endpoints_that_disagree_are_all_refused_where_no_cluster_counts_yet():
    async def story():
        client = Endpoints(a="1", b="2").client()
        for _ in range(2):
            with pytest.raises(
                OtherClusterError, match=f"{A} to cluster 1 and {B} to cluster 2; correct etcd.endpoints"
            ):
                await client.begin()
        assert client.clusters.own == ""

    play(story)


def test_a_daemon_that_knows_its_cluster_goes_on_there_and_says_that_they_disagree():
    async def story():
        changed = []
        clusters = Clusters("1", strict=False, changed=lambda: changed.append(bool(clusters.foreign)))
        endpoints = Endpoints(a="1", b="2")
        client = endpoints.client(clusters)
        await client.begin()
        assert f"{B} to cluster 2" in clusters.split
        assert clusters.foreign == {B: "2"}
        await client.admit(A, 1.0, write=True)
        with pytest.raises(ForeignError, match="it belongs to etcd cluster 2, not to 1"):
            await client.admit(B, 1.0, write=False)
        endpoints.clusters[B] = None
        await asyncio.sleep(ASK_FOREIGN_AFTER)
        await client.begin()
        assert (clusters.split, clusters.foreign, changed) == ("", {}, [True, False])

    play(story)


def test_the_tool_refuses_where_they_disagree_though_it_knows_the_cluster():
    async def story():
        client = Endpoints(a="1", b="2").client(Clusters("1"))
        with pytest.raises(OtherClusterError, match="belong to different clusters"):
            await client.begin()

    play(story)


@pytest.mark.parametrize("away", [None, ""], ids=["refused", "silent"])
def test_an_endpoint_that_is_not_reached_is_no_disagreement_and_compared_when_it_is(away):
    async def story():
        endpoints = Endpoints(a="1", b=away)
        client, time = endpoints.client(), asyncio.get_running_loop().time
        began = time()
        await client.begin()
        assert time() - began <= PATIENCE
        assert client.clusters.own == "1"
        endpoints.clusters[B] = "2"
        with pytest.raises(ForeignError):
            await client.admit(B, 1.0, write=True)

    play(story)


def test_a_first_start_at_which_nobody_answers_asks_again_at_the_next_call():
    async def story():
        endpoints = Endpoints(a=None, b=None)
        client = endpoints.client()
        await client.begin()
        endpoints.clusters.update({A: "1", B: "2"})
        with pytest.raises(OtherClusterError):
            await client.begin()

    play(story)


@pytest.mark.parametrize(
    ("clusters", "pause"),
    [({"a": "1", "b": "1"}, ASK_AFTER), ({"a": "1", "b": None}, ASK_MISSING_AFTER)],
    ids=["all answer", "a member is down"],
)
def test_how_often_all_endpoints_are_asked(clusters, pause):
    async def story():
        endpoints = Endpoints(**clusters)
        client, rounds = endpoints.client(), 0
        for _ in range(int(3 * pause)):
            await client.begin()
            await asyncio.sleep(1)
        rounds = endpoints.asked.count(A)
        assert 3 <= rounds <= 4
        client.close()

    play(story)


def test_the_clients_of_one_program_ask_once():
    async def story():
        endpoints, clusters = Endpoints(a="1", b="1"), Clusters(strict=False)
        for _ in range(3):
            await endpoints.client(clusters).begin()
        assert endpoints.asked == [A, B]

    play(story)


def test_one_endpoint_costs_no_question_of_its_own():
    async def story():
        endpoints = Endpoints(a="1")
        client = endpoints.client()
        await client.begin()
        await client.admit(A, 1.0, write=True)
        client.clusters.heard(A, "1")
        await client.admit(A, 1.0, write=True)
        assert endpoints.asked == []
        await asyncio.sleep(FRESH)
        await client.admit(A, 1.0, write=False)
        assert endpoints.asked == []
        await client.admit(A, 1.0, write=True)
        assert endpoints.asked == [A], "what listens there now may be another cluster"

    play(story)


def test_an_endpoint_that_has_failed_is_asked_before_a_write():
    async def story():
        endpoints = Endpoints(a="1")
        client = endpoints.client(Clusters("1"))
        client.clusters.heard(A, "1")
        client.clusters.lost(A)
        assert not client.answers(A)
        endpoints.clusters[A] = "2"
        with pytest.raises(ForeignError):
            await client.admit(A, 1.0, write=True)

    play(story)


def test_a_refusal_of_another_cluster_counts_for_nothing():
    async def story():
        endpoints = Endpoints(a="2")
        client = endpoints.client(Clusters("1"))
        with pytest.raises(ForeignError):
            await client.confirm(A, 1.0)
        endpoints.clusters[A] = None
        client.clusters.lost(A)
        await client.confirm(A, 1.0)  # who it is cannot be told: the refusal stands, and permits nothing

    play(story)


def test_another_cluster_is_logged_once_with_both_ids_and_the_ways_out(caplog):
    async def story():
        clusters = Clusters("1", A)
        for _ in range(3):
            with pytest.raises(ForeignError):
                clusters.heard(B, "2")

    with caplog.at_level(logging.WARNING):
        play(story)
    [record] = caplog.records
    said = record.getMessage()
    assert f"{B} belongs to etcd cluster 2, not to 1, seen before at {A}; correct etcd.endpoints" in said
    assert "if cluster 2 has taken the place of 1" in said
    assert said.endswith("`locksmithctl resume --replaces 1`")


def test_an_operators_order_is_read_now_and_then_and_its_errors_hide_no_other():
    async def story():
        looks = []

        async def look() -> None:
            looks.append(asyncio.get_running_loop().time())
            raise StoreUnavailableError("it is away by now")

        clusters = Clusters("1", successor=look)
        client = Endpoints(b="2").client(clusters)
        for _ in range(21):
            with pytest.raises(ForeignError):
                clusters.heard(B, "2")
            error = await client.refuse("no etcd endpoint could be used")
            assert "resume --replaces 1" in str(error)
            await asyncio.sleep(1)
        assert len(looks) == 1 + 20 // int(SUCCESSOR_AFTER + 1)

    play(story)


def test_the_cluster_of_a_claim_is_asked_for_until_it_is_known():
    async def story():
        known: list[str] = []
        clusters = Clusters(strict=False, expects=lambda: known[0] if known else "")
        client = Endpoints(a="1", b="2").client(clusters)
        with pytest.raises(OtherClusterError):
            await client.begin()
        known.append("1")
        await client.begin()
        assert clusters.own == "1"

    play(story)


def test_a_client_that_is_closed_while_it_asks_cancels_nobody_who_waits_for_that():
    async def story():
        client = Endpoints(a="", b="").client()
        waiting = asyncio.ensure_future(client.begin())
        await asyncio.sleep(0.1)
        client.close()
        await waiting
        assert client.clusters.own == ""

    play(story)


def test_a_machine_without_etcd_is_told_to_correct_its_servers(caplog):
    async def story():
        clusters = Clusters("1", A, setting="fleet-server.urls")
        clusters.heard(A, "1")
        with pytest.raises(ForeignError):
            clusters.heard(B, "2")
        assert clusters.split.startswith("the endpoints in fleet-server.urls belong to different clusters")
        assert clusters.split.endswith("; correct fleet-server.urls")

    with caplog.at_level(logging.WARNING):
        play(story)
    assert "; correct fleet-server.urls, or if cluster 2" in caplog.text

"""Notifications of real servers on a real etcd, to real receivers: once each, also if a server dies."""

import asyncio
import html
import itertools
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.request import urlopen

import pytest

from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import DAEMON, REBOOT, UNHEALTHY, Claim
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings
from tests.harness.ctl import Ctl, Ended
from tests.harness.etcd import Etcd, wait_until
from tests.harness.notify_server import NotifyServer
from tests.harness.receivers import mail_server, webhook

NUMBERS = itertools.count()
PREFIX = f"notify-{time.monotonic_ns()}"
LIMIT = 30.0


@pytest.fixture(scope="module")
def etcd(wheel_etcd: Etcd) -> Etcd:
    return wheel_etcd


def reaches(condition: Callable[[], object], *servers: NotifyServer) -> None:
    """Wait until something holds; if it does not, show what the servers said."""
    try:
        wait_until(condition, "the receivers have it", LIMIT)
    except AssertionError:
        raise AssertionError("\n\n".join(server.said for server in servers)) from None


class Group:
    """A group in etcd, as operators and machines change it."""

    def __init__(self, etcd: Etcd, name: str) -> None:
        self.etcd, self.name = etcd, name

    def freeze(self, reason: str = "the database moves") -> None:
        order = Order("alice", datetime.now(UTC).replace(microsecond=0), reason)
        self._do(lambda store: OperatorOrders(store, self.name).freeze(order))

    def thaw(self) -> None:
        self._do(lambda store: OperatorOrders(store, self.name).thaw())

    def sick(self, hostname: str, failure: str) -> None:
        """Have a machine hold a slot that came up unhealthy."""
        now = datetime.now(UTC).replace(microsecond=0)
        made = Claim("m1", REBOOT, "nonce", now, DAEMON, hostname, "boot", state=UNHEALTHY, failure=failure, commits=1)

        async def write(store: Etcd3Store) -> None:
            await store.create(keys.holder_key(self.name, "m1"), claim_record.encode(made))
            await store.create(keys.semaphore_key(self.name), semaphore.encode(Semaphore(1, ("m1",))))

        self._do(write)

    def _do(self, act: Callable[[Etcd3Store], object]) -> None:
        async def with_store() -> None:
            store = Etcd3Store(StoreSettings(endpoints=tuple(self.etcd.endpoints)))
            try:
                await act(store)  # type: ignore[misc]  # each of them is a coroutine
            finally:
                await store.close()

        asyncio.run(with_store())


@pytest.fixture
def group(etcd: Etcd) -> Group:
    return Group(etcd, f"{PREFIX}-{next(NUMBERS)}")


def test_two_servers_send_each_event_once(etcd, group):
    with webhook() as hook:
        targets = {"ops": hook.target()}
        with NotifyServer(etcd, targets, [group.name]) as first, NotifyServer(etcd, targets, [group.name]) as second:
            group.freeze()
            reaches(lambda: len(first.sent + second.sent) == 1, first, second)
            first.stop()
            group.thaw()
            reaches(lambda: any("thawed" in one for one in second.sent), second)
        assert [body["event"] for body in hook.bodies] == ["frozen", "thawed"]


def test_what_a_killed_server_had_claimed_is_sent_by_another(etcd, group):
    """The first dies before its send, so nothing is repeated; the second between its send and its note."""
    with webhook() as hook:
        targets = {"ops": hook.target()}
        with NotifyServer(etcd, targets, [group.name], dies="before", claim=5) as dying:
            group.freeze()
            assert dying.ended(LIMIT) == -9
        assert hook.requests == []
        with NotifyServer(etcd, targets, [group.name], dies="after", claim=5) as dying:
            assert dying.ended(LIMIT) == -9
        assert len(hook.requests) == 1
        with NotifyServer(etcd, targets, [group.name]) as other:
            reaches(lambda: len(other.sent) == 1, other)
            group.thaw()
            reaches(lambda: len(other.sent) == 2, other)
        assert [body["event"] for body in hook.bodies] == ["frozen", "frozen", "thawed"]
        assert len(set(hook.ids)) == 2  # by its id a receiver knows the one that came twice


def test_a_target_that_fails_or_hangs_holds_up_no_other_and_is_tried_again(etcd, group):
    with webhook() as good, webhook(lambda number: 500 if number < 3 else 200) as bad, webhook(lambda _: 0) as hung:
        targets = {"a-hung": hung.target(), "b-bad": bad.target(path="/a-token-in-the-path"), "good": good.target()}
        with NotifyServer(etcd, targets, [group.name], send=5) as server:
            group.freeze()
            reaches(lambda: len(good.requests) == 1, server)
            reaches(lambda: len(bad.requests) == 3, server)
            reaches(lambda: any(one.startswith("b-bad ") for one in server.sent), server)
            with urlopen(f"{server.url}/healthz", timeout=10) as answer:
                assert answer.status == 200
            group.thaw()
            reaches(lambda: len(good.requests) == 2 and len(bad.requests) == 4, server)
            with urlopen(f"{server.url}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
            reaches(lambda: "a-hung did not get" in server.said, server)
            said = server.said
        assert 'locksmith_server_notices_total{outcome="sent",target="good"} 2.0' in metrics.replace(
            'target="good",outcome="sent"', 'outcome="sent",target="good"'
        )
        assert good.ids == [bad.ids[2], bad.ids[3]]
        assert "a-token-in-the-path" not in said
        assert len([line for line in said.splitlines() if "b-bad did not get" in line]) == 1


HOSTILE = "n1\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>"


def test_html_and_line_breaks_in_names_and_reasons_forge_nothing(etcd, group):
    with mail_server() as mail, webhook() as hook, webhook() as ntfy:
        mailto = (
            f"mailto://127.0.0.1:{mail.port}?from=locksmith@example.org&to=ops@example.org&mode=insecure&format=html"
        )
        targets = {"mail": mailto, "hook": hook.target(), "ntfy": ntfy.target("ntfy", "/topic")}
        events = {"templates": {"unhealthy": {"title": "$headline", "message": "$sentence\n-- \n$machines"}}}
        with NotifyServer(etcd, targets, [group.name], notify=events) as server:
            group.sick(HOSTILE, f"{HOSTILE} failed")
            reaches(lambda: len(server.sent) == 9, server)
        assert mail.recipients == [["ops@example.org"]] * 3
        raw = b"\n".join(mail.raw)
        assert b"\nBcc:" not in raw
        [sick] = [one for one in mail.messages if "unhealthy" in one["Subject"]]
        assert sick["Subject"].startswith("n1 Bcc: all@example.org <script>alert(1)</script> of group")
        shown = sick.get_body(("html",))
        assert shown is not None
        assert "<script>" not in shown.get_content()
        assert "<script>alert(1)</script>" in html.unescape(shown.get_content())
        [body] = [one for one in hook.bodies if one["event"] == "unhealthy"]
        assert body["machines"] == ["n1 Bcc: all@example.org <script>alert(1)</script>"]
        assert body["message"].count("\n") == 2  # those of the template
        assert len(ntfy.requests) == 3


def test_the_tool_sends_a_test_message_to_each_target_and_says_how_it_went(etcd, group, monkeypatch, capfd):
    ctl = Ctl(monkeypatch, capfd)
    with webhook() as hook, socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"json://127.0.0.1:{listener.getsockname()[1]}/secret-token?rto=1.0"
        targets = {"bad": "json://127.0.0.1:1/secret-token", "hangs": silent, "ops": hook.target()}
        server = NotifyServer(etcd, targets, [group.name])
        try:
            monkeypatch.setenv("LOCKSMITH_ROOT", str(server.paths.root))
            ended = ctl("notify", "--test")
            assert (ended.status, ended.out) == (1, "ops: the test message was sent\n")
            refused, hung = ended.err.splitlines()
            assert refused.startswith("Error: bad: A Connection error occurred")
            assert refused.endswith(": it refused the connection: no program listens there")
            assert hung.startswith("Error: hangs: A Connection error occurred")
            assert hung.endswith(": it took the connection, and gave no answer in time: the message may still arrive")
            assert "secret-token" not in ended.err
            assert ctl("notify", "--test", "ops") == Ended(0, "ops: the test message was sent\n", "")
            assert [body["event"] for body in hook.bodies] == ["test", "test"]
            unknown = ctl.fails("notify", "--test", "opsy", status=2)
            assert unknown == "Error: there is no target 'opsy': known are bad, hangs, ops; did you mean ops?"
            shown = ctl("notify", "--json").out
            assert [one["name"] for one in json.loads(shown)["targets"]] == ["bad", "hangs", "ops"]
            assert "127.0.0.1" not in shown
        finally:
            server.remove()

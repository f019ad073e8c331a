"""One message to one target, through apprise, to real receivers: what arrives, and what is said if it does not."""

import asyncio
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from locksmith.config.notify_model import Target
from locksmith.fleet.notice_templates import FIELDS, Templates
from locksmith.lock.records.notice import Notice
from locksmith.lock.records.notice_events import EVENTS
from locksmith.server import delivery
from locksmith.server.delivery import SEVERITIES, Delivery, DeliveryError, MissingLibraryError, service_of
from tests.harness.certificates import Authority, KeyPair
from tests.harness.receivers import webhook

pytest.importorskip("apprise")

DOCUMENT = (Path(__file__).parents[3] / "docs/notifications.md").read_text()
LOST = Notice(
    "lost-1d9b1b2c3f4a5e6d",
    "lost",
    "web",
    datetime(2026, 5, 1, 2, 14, tzinfo=UTC),
    "n2 of group web is lost: down for a reboot, and not back",
    "n2 of group web is LOST: not seen for 15 min or longer. `locksmithctl why n2` says more.",
    ("n2",),
    1,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).issue("server")


@pytest.fixture
def target(tmp_path):
    def make(url: str, name: str = "ops") -> Target:
        file = tmp_path / name
        file.write_text(f"{url}\n")
        file.chmod(0o600)
        return Target(name, file)

    return make


def send(target: Target, told: Notice = LOST, templates: Templates = Templates()) -> None:  # noqa: B008 - it is frozen
    asyncio.run(Delivery(target, templates).send(told))


def problem(target: Target) -> str:
    with pytest.raises(DeliveryError) as caught:
        send(target)
    return str(caught.value)


def test_a_webhook_gets_the_json_of_the_documentation(target):
    [documented] = re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    with webhook() as hook:
        send(target(hook.target(path="/hook?:cluster=prod")))
        [(path, headers, body)] = hook.requests
    assert json.loads(body) == {**json.loads(documented), "cluster": "prod"}
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("json://127.0.0.1:1/secret-token", "it refused the connection: no program listens there"),
        ("mailto://u:p@127.0.0.1:1/?to=a@b.example&from=c@d.example", "refused"),
        ("json://nothing.invalid/secret-token", "its host name was not found"),
        ("json://Refused.invalid/secret-token/timeout", "its host name was not found"),
        ("jsons://127.0.0.1:{tls}/secret-token", "its TLS certificate is not one to trust"),
        pytest.param(
            "json://127.0.0.1:{silent}/secret-token?rto=0.5",
            "and gave no answer in time: the message may still arrive",
            marks=pytest.mark.slow,
        ),
        ("json://127.0.0.1:{gone}/secret-token", "it ended the connection without an answer"),
    ],
)
def test_how_a_connection_failed_is_said_without_the_url(url, says, target, pair):
    with others(pair) as ports:
        said = problem(target(url.format(**ports)))
    assert says in said
    assert "secret-token" not in said


@contextmanager
def others(pair: KeyPair) -> Iterator[dict[str, int]]:
    """Receivers that take a connection: one has a certificate of its own, one is silent, one ends the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with ExitStack() as stack:
        tls, silent, gone = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3))

        def serve() -> None:
            with suppress(OSError):
                context.wrap_socket(tls.accept()[0], server_side=True)

        def end() -> None:
            with suppress(OSError):
                connection, _ = gone.accept()
                connection.recv(1)
                connection.close()

        for one in (serve, end):
            threading.Thread(target=one, daemon=True).start()
        yield {"tls": tls.getsockname()[1], "silent": silent.getsockname()[1], "gone": gone.getsockname()[1]}


def table(heading: str) -> dict[str, list[str]]:
    """Give the rows of the first table below a heading, by their first columns."""
    part = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line[:2] == "| "]
    return {row[0].strip("` "): row[1:] for row in rows[1:]}


def test_the_documentation_has_every_event_with_its_severity():
    assert {event: row[0] for event, row in table("Events").items()} == SEVERITIES
    assert tuple(table("Events")) == EVENTS


def test_the_documentation_has_every_field_of_a_template():
    assert {name: row[0] for name, row in table("Templates").items()} == dict(FIELDS)


def test_a_template_of_an_event_takes_the_place_of_the_common_one(target):
    templates = Templates("[$group_name] $count", by_event={"lost": Templates("$event $$", "${machines}\n$at")})
    with webhook() as hook:
        send(target(hook.target()), LOST, templates)
        send(target(hook.target()), Notice(**{**_fields(LOST), "event": "frozen", "group": ""}), templates)
        lost, frozen = hook.bodies
    assert (lost["title"], lost["message"]) == ("lost $", "n2\n2026-05-01T02:14:00Z")
    assert (frozen["title"], frozen["message"]) == ("[the default group] 1", LOST.sentence)


def _fields(told: Notice) -> dict[str, Any]:
    return {name: getattr(told, name) for name in Notice.__dataclass_fields__}


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_status_that_is_none_of_success_is_a_failure_that_says_so(target, status):
    with webhook(lambda _: status) as hook:
        assert f"error={status}" in problem(target(hook.target()))


def test_no_part_of_a_url_is_in_what_is_said_of_a_failure(target):
    url = "json://some-user:some-passw0rd@127.0.0.1:1/some/to%20ken?+X-Key=another-s3cret"
    said = problem(target(url))
    assert "connection error" in said.lower()
    for part in ("some-user", "some-passw0rd", "127.0.0.1", "to%20ken", "to ken", "another-s3cret"):
        assert part not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "begins with no scheme that apprise knows"),
        ("foo://bar", "begins with no scheme that apprise knows"),
        ("slack://a-token", "is incomplete for slack://"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_itself(target, url, says):
    with pytest.raises(DeliveryError, match=says) as caught:
        service_of(target(url))
    assert url not in str(caught.value)
    assert says in problem(target(url))


def test_the_service_of_a_url_is_named_and_nothing_is_sent(target):
    with webhook() as hook:
        assert service_of(target(hook.target())) == "JSON"
        assert hook.requests == []


def test_a_file_that_is_gone_is_a_failure_and_a_new_url_counts_at_once(target):
    first = target("json://127.0.0.1:1")
    with webhook() as hook:
        target(hook.target())  # the same file
        send(first)
        assert len(hook.requests) == 1
    assert first.url_file is not None
    first.url_file.unlink()
    assert "cannot be read: No such file" in problem(first)


@pytest.mark.slow
def test_a_send_that_hangs_ends_at_its_limit_and_is_not_repeated_once_it_arrived(target, monkeypatch):
    answers = threading.Event()

    def status(_number: int) -> int:
        answers.wait(30)
        return 200

    async def story(hook) -> None:
        found = Delivery(target(hook.target()), Templates())
        monkeypatch.setattr(delivery, "SEND_LIMIT", 0.5)
        with pytest.raises(DeliveryError, match="it may still arrive"):
            await found.send(LOST)
        with pytest.raises(DeliveryError, match="the send before it still hangs"):
            await found.send(LOST)
        answers.set()
        monkeypatch.setattr(delivery, "SEND_LIMIT", 20.0)
        other = Notice(**{**_fields(LOST), "id": "another"})
        async with asyncio.timeout(15):
            while True:
                try:
                    await found.send(other)
                    break
                except DeliveryError:
                    await asyncio.sleep(0.02)
        await found.send(LOST)
        assert hook.ids == [LOST.id, "another"]

    with webhook(status) as hook:
        asyncio.run(story(hook))


def test_without_apprise_or_with_an_old_one_the_command_is_named(monkeypatch):
    for found in ("1.8.9", "0.9"):
        monkeypatch.setattr(delivery, "version", lambda _name, found=found: found)
        with pytest.raises(MissingLibraryError, match=r"apprise 1.9 or newer.*pip install 'locksmith\[server\]'"):
            delivery.refuse_missing_library()
    for found in ("1.9.0", "2.3", "10.0rc1"):
        monkeypatch.setattr(delivery, "version", lambda _name, found=found: found)
        delivery.refuse_missing_library()

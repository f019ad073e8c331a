"""Alerts of Prometheus that hold a reboot back: the gate against doubles of Alertmanager and Prometheus over HTTP."""

import asyncio
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from locksmith.gates import alerts as module
from locksmith.gates.alerts import Alerts
from locksmith.gates.settings import AlertSettings
from tests.harness.certificates import Authority, KeyPair
from tests.harness.http_server import answer, running
from tests.harness.waiting import until


def alert(name: str, severity: str = "critical", state: str = "active", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, "severity": severity, **labels}, "status": {"state": state}}


class Prometheus(ThreadingHTTPServer):
    """Both servers in one. `instead` answers in their stead."""

    daemon_threads = True

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.result: Any = {"status": "success", "data": {"resultType": "vector", "result": []}}
        self.instead: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.queries: list[str] = []
        self.who = ""
        """The only `Authorization` that is let in; empty: every client is."""
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def firing(self, asked: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Leave out what was asked to be left out, as Alertmanager's v2 API does."""
        hidden = {"active", "silenced", "inhibited"} - {one for one, said in asked.items() if said != ["false"]}
        states = {"silenced": "suppressed", "inhibited": "suppressed", "active": "active"}
        return [one for one in self.alerts if one["status"]["state"] not in {states[name] for name in hidden}]


class Asked(BaseHTTPRequestHandler):
    server: Prometheus

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        who = self.headers.get("Authorization", "")
        if self.server.who and who != self.server.who:
            # As servers do that were written in a hurry: they repeat what they were sent.
            answer(self, 401, {"error": f"not allowed: {who}"})
        elif self.server.instead is not None:
            self.server.instead(self)
        elif url.path == "/api/v2/alerts":
            answer(self, 200, self.server.firing(asked))
        elif url.path == "/api/v1/query":
            self.server.queries += asked["query"]
            answer(self, 200, self.server.result)
        else:
            answer(self, 404, {})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Prometheus]:
    with Prometheus() as made, running(made):
        yield made


def blockers(**settings: Any) -> list[str]:
    gate = Alerts(AlertSettings(**settings))
    return [one.text for one in asyncio.run(gate.check(None))]


def test_no_alert_is_no_objection(server):
    assert blockers(alertmanager=server.url) == []


def test_alerts_that_fire_are_named_once_each(server):
    server.alerts = [alert("NodeDown", instance="n1"), alert("NodeDown", instance="n2"), alert("DiskFull", "warning")]
    assert blockers(alertmanager=server.url) == ["alerts fire: DiskFull and NodeDown"]


def test_silenced_alerts_do_not_count(server):
    server.alerts = [alert("NodeDown", state="suppressed")]
    assert blockers(alertmanager=server.url) == []


def test_severities_and_names_say_which_count(server):
    server.alerts = [alert("NodeDown"), alert("DiskFull", "warning"), alert("Watchdog", "none")]
    assert blockers(alertmanager=server.url, severities=("critical",)) == ["an alert fires: NodeDown"]
    assert blockers(alertmanager=server.url, only=re.compile("Disk.*")) == ["an alert fires: DiskFull"]
    assert blockers(alertmanager=server.url, only=re.compile("Disk")) == []
    assert blockers(alertmanager=server.url, ignore=re.compile("Watchdog|Disk.*")) == ["an alert fires: NodeDown"]


def test_locksmiths_own_alerts_do_not_count_unless_they_are_named(server):
    server.alerts = [alert("LocksmithRebootFailed"), alert("LocksmithHalted")]
    assert blockers(alertmanager=server.url) == []
    assert blockers(alertmanager=server.url, ignore=re.compile("Watchdog")) == []
    server.alerts.append(alert("NodeDown"))
    assert blockers(alertmanager=server.url) == ["an alert fires: NodeDown"]
    named = blockers(alertmanager=server.url, only=re.compile("LocksmithHalted"))
    assert named == ["an alert fires: LocksmithHalted"]
    both = blockers(alertmanager=server.url, only=re.compile("Locksmith.*"), ignore=re.compile(".*Failed"))
    assert both == ["an alert fires: LocksmithHalted"]


def test_nor_do_they_in_the_answer_of_a_query_that_does_not_name_them(server):
    fires = {"__name__": "ALERTS", "alertname": "LocksmithRebootFailed", "alertstate": "firing"}
    server.result["data"]["result"] = [{"metric": fires, "value": [0, "1"]}]
    assert blockers(prometheus=server.url, query='ALERTS{alertstate="firing"}') == []
    [text] = blockers(prometheus=server.url, query='ALERTS{alertname="LocksmithRebootFailed"}')
    assert "alertname=LocksmithRebootFailed" in text


def test_a_query_with_an_answer_objects(server):
    query = 'up{job="db"} == 0'
    assert blockers(prometheus=server.url, query=query) == []
    server.result["data"]["result"] = [{"metric": {"instance": "n1", "job": "db"}, "value": [0, "0"]}]
    assert blockers(prometheus=server.url, query=query) == [
        f"Prometheus answers the query {query!r} with instance=n1, job=db"
    ]
    assert server.queries == [query, query]


@pytest.mark.parametrize(
    "result",
    [
        {"status": "error", "error": "parse error"},
        {"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}},
        {"status": "success", "data": {}},
        [],
    ],
)
def test_an_answer_that_says_nothing_is_a_doubt(server, result):
    server.result = result
    [text] = blockers(prometheus=server.url, query="x")
    assert text.startswith("the alerts cannot be read: ")


@pytest.mark.parametrize(
    "instead",
    [
        lambda asked: answer(asked, 500, []),
        lambda asked: answer(asked, 200, b"<html>"),
        lambda asked: answer(asked, 200, {"alerts": []}),
        lambda asked: answer(asked, 200, [{"labels": 7}]),
        lambda asked: answer(asked, 302, [], Location="/api/v2/alerts"),
        lambda asked: answer(asked, 200, b"[" + b" " * 2000 + b"]"),
        lambda _asked: time.sleep(1),
    ],
    ids=["500", "html", "an object", "junk", "a redirect", "endless", "late"],
)
def test_whatever_keeps_it_from_reading_is_a_no(server, monkeypatch, instead):
    monkeypatch.setattr(module, "LIMIT", 0.3)
    monkeypatch.setattr(module, "LARGEST", 1000)
    server.instead = instead
    [text] = blockers(alertmanager=server.url)
    assert text.startswith("the alerts cannot be read: ")


@pytest.fixture
def authority(tmp_path, monkeypatch) -> Authority:
    """An authority that the system trusts."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    return authority


@contextmanager
def with_tls(server: Prometheus, pair: KeyPair) -> Iterator[str]:
    """Have the server speak TLS; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield server.url.replace("http:", "https:")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"names": "subjectAltName=DNS:prometheus.example"},
            "its certificate is for prometheus.example, not for 127.0.0.1",
        ),
        ({"begins": -9, "ends": -2}, "its certificate expired on "),
        ({"begins": 2, "ends": 9}, "its certificate holds from "),
    ],
    ids=["other name", "expired", "not yet valid"],
)
def test_a_certificate_that_is_no_good_is_a_no_that_says_why(server, authority, options, says):
    with with_tls(server, authority.issue("prometheus", **options)) as url:
        [text] = blockers(alertmanager=url)
        assert text.startswith(f"the alerts cannot be read: {url}: {says}")
        [text] = blockers(prometheus=url, query="up")
        assert text.startswith(f"the alerts cannot be read: {url}: {says}")


def test_a_certificate_of_a_ca_that_the_system_has_is_trusted(server, authority):
    with with_tls(server, authority.issue("prometheus")) as url:
        assert blockers(alertmanager=url) == []


@pytest.mark.usefixtures("authority")
def test_a_certificate_of_another_ca_is_a_no_that_says_so(server, tmp_path):
    with with_tls(server, Authority(tmp_path / "other", "another ca").issue("prometheus")) as url:
        [text] = blockers(alertmanager=url)
        assert text.endswith("the system's CAs must have the CA that signed it")


def test_a_ca_of_the_configuration_is_trusted_instead_of_the_systems(server, tmp_path):
    own = Authority(tmp_path / "own", "our ca")
    with with_tls(server, own.issue("prometheus")) as url:
        assert blockers(alertmanager=url, cafile=own.cert) == []
        other = Authority(tmp_path / "other", "another ca").cert
        [text] = blockers(alertmanager=url, cafile=other)
        assert text.endswith(f"the CA file {other} must have the CA that signed it")
        [text] = blockers(alertmanager=url, cafile=tmp_path / "none.pem")
        assert text.endswith("none.pem cannot be used: No such file or directory")


def test_a_server_is_asked_as_a_user_or_with_a_token_that_is_read_each_time(server, tmp_path):
    file = tmp_path / "secret"
    file.write_text("hush-hush\n")
    user = {"alertmanager": server.url, "prometheus": server.url, "query": "x", "username": "ops"}
    server.who = f"Basic {b64encode(b'ops:hush-hush').decode()}"
    assert blockers(**user, password_file=file) == []
    file.write_text("another-one\n")
    for text in blockers(**user, password_file=file):
        assert text.endswith("answers 401: it refuses alerts.username and alerts.password-file")
    server.who = "Bearer another-one"
    assert blockers(alertmanager=server.url, token_file=file) == []
    [text] = blockers(alertmanager=server.url)
    assert text.endswith("set alerts.username and alerts.password-file, or alerts.token-file")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "must be one line of text with the token alone"),
        ("a\nb", "must be one line of text with the token alone"),
        ("töken", "it must be ASCII text without spaces"),
        ("x y", "it must be ASCII text without spaces"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_no_and_is_not_shown(server, tmp_path, content, says):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    [text] = blockers(alertmanager=server.url, token_file=file)
    assert text.startswith("the alerts cannot be read: [alerts] names ")
    assert text.endswith(says)
    assert not content or content not in text


def test_a_secret_is_sent_to_no_server_that_a_redirect_names(server, tmp_path):
    (tmp_path / "token").write_text("hush-hush")
    with Prometheus() as other:
        server.instead = lambda asked: answer(asked, 302, [], Location=f"{other.url}/api/v2/alerts")
        [text] = blockers(alertmanager=server.url, token_file=tmp_path / "token")
    assert text.endswith("answers 302")


def test_a_server_that_is_not_there_is_a_no_for_each_that_is_asked():
    nobody = "http://127.0.0.1:1"
    texts = blockers(alertmanager=nobody, prometheus=nobody, query="x")
    assert [text.partition(":")[0] for text in texts] == ["the alerts cannot be read"] * 2


def test_a_daemon_waits_while_an_alert_fires_and_gives_its_slot_back(site, server):
    server.alerts = [alert("NodeDown")]

    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("aborting the reboot and releasing its slot: an alert fires: NodeDown")
        await node.says("waiting (alerts): an alert fires: NodeDown")
        await site.is_free()
        status, said = await node.tool("reboot")
        assert (status, "not rebooting: an alert fires: NodeDown" in said) == (1, True)
        await until(lambda: not site.lock.holders, "nothing is left")
        status, said = await node.tool("reboot", "--skip-gate", "alerts", "--reason", "new disk")
        assert status == 0, said
        assert site.lock.record["reason"] == "new disk (skipped: alerts)"
        await node.rebooted()

    site.play(story, alerts={"alertmanager": server.url})

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.lock.records import claim, event, incident, node, order, reboot, share, waiter
from locksmith.util import records, secret
from locksmith.util.secret import keep_secret, redact, redacted
from locksmith.util.text import cut, one_line
from locksmith.window import window_set

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PASSWORD = "pa ss/w0rd-%41"
LEAK = "curl https://ops:hush-hush@prom.example/api failed"

TOKEN = f"lso_{'0a' * 16}_{'A-_9' * 10}xyz"
"""A token of locksmith-server."""


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch):
    monkeypatch.setattr(secret, "_KNOWN", secret._Known())


@pytest.mark.parametrize(
    ("text", "without"),
    [
        (LEAK, "curl https://***@prom.example/api failed"),
        ("http://u:p@h:1, https://TOKEN@h/x", "http://***@h:1, https://***@h/x"),
        ("https://u:p@ss@h", "https://***@h"),
        ("https://u:p/w@h/api", "https://***@h/api"),
        ("'postgres://u:p@h/db'", "'postgres://***@h/db'"),
        ("Authorization: Basic dTpw", "Authorization: Basic ***"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer ***'}"),
        ("sent Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "sent Bearer ***"),
        ("https://h/x?token=abc&y=1", "https://h/x?token=***&y=1"),
        ("PGPASSWORD=hush psql failed", "PGPASSWORD=*** psql failed"),
        (f"no such file: {TOKEN}", "no such file: ***"),
        (f"<{TOKEN}>, {TOKEN}!", "<***>, ***!"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text, without):
    assert redact(text) == without
    assert one_line(text) == without


@pytest.mark.parametrize(
    "text",
    [
        "docker://registry:5000/image@sha256:12ab has another kernel",
        "https://host:8080/a@b is no server",
        "https://host/a@b",
        "web@1.service has failed; mail admin@example.org",
        "basic authentication is off; a bearer of bad news",
        "etcd.password is set without etcd.username",
        "LOCKSMITHD_TOKEN is unknown; token= is empty",
        TOKEN[:-1],
        f"{TOKEN}longer",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert redact(text) == text


def test_a_secret_is_found_in_each_form_in_which_programs_send_it():
    keep_secret(PASSWORD, "ops")
    encoded = b64encode(f"ops:{PASSWORD}".encode()).decode()
    for form in (PASSWORD, "pa%20ss%2Fw0rd-%2541", encoded, f"-p{PASSWORD}x"):
        assert PASSWORD not in redact(f"said {form} here")
        assert redact(f"said {form} here").startswith("said ")
        assert "***" in redact(f"said {form} here")


def test_a_secret_that_is_renewed_again_and_again_forgets_no_other():
    keep_secret("etcd-0123456789")
    keep_secret("etcd-renewed-1", renewed_in="etcd.password")
    for number in range(1000):
        keep_secret(f"token-of-hour-{number}", renewed_in="alerts.token")
    assert redact("etcd-0123456789 and token-of-hour-999") == "*** and ***"
    assert (
        redact("etcd-renewed-1 is in use: token-of-hour-1 was long ago")
        == "*** is in use: token-of-hour-1 was long ago"
    )


def test_a_password_that_is_a_word_leaves_the_names_that_have_it_in_them():
    keep_secret("locksmith", "locksmith")
    assert redact("run `locksmithctl resume`: password locksmith refused") == (
        "run `locksmithctl resume`: password *** refused"
    )
    keep_secret("web")
    assert redact("web.service has failed") == "web.service has failed"


def test_a_secret_is_left_out_before_a_text_is_cut_in_two():
    keep_secret("0123456789abcdef")
    for most in range(10, 60):
        said = cut(f"{'x' * 20} 0123456789abcdef https://u:hush@h {'y' * 40}", most)
        assert "0123" not in said
        assert "hu" not in said


@given(st.text(alphabet="ab:/@ =.?#'-1", max_size=60))
def test_what_was_redacted_stays_the_same(text):
    once = redact(f"https://{text} token={text}")
    assert redact(once) == once


@pytest.mark.slow
def test_a_text_that_is_made_to_be_slow_is_not():
    for hostile in ("://" * 50_000 + "@", "://:" * 50_000 + "@", "token=" * 50_000, "bearer " * 50_000, "a:" * 99_999):
        assert len(redact(hostile)) > 0  # the suite's own limit ends it otherwise


def test_the_fields_by_which_machines_decide_stay_as_they_are():
    keep_secret("0123456789abcdef")
    fields = {"nonce": "0123456789abcdef", "reason": "it said 0123456789abcdef", "more": [{"why": LEAK}], "n": 1}
    assert redacted(fields, records.DECIDING) == {
        "nonce": "0123456789abcdef",
        "reason": "it said ***",
        "more": [{"why": redact(LEAK)}],
        "n": 1,
    }


def test_no_record_of_any_kind_has_a_secret_in_its_texts():
    held = claim.Claim("n1", claim.REBOOT, "n", NOW, version=LEAK, reason=LEAK, failure=LEAK, acknowledged=LEAK)
    texts: dict[str, Any] = {"reason": LEAK, "need_version": LEAK, "need_reasons": (LEAK,)}
    shown = node.Node("n1", "n1", "b", "web", "reboot", "idle", NOW, **texts)
    written = [
        claim.encode(held),
        node.encode(shown),
        event.encode(event.about(held, NOW, event.HELD, detail=LEAK)),
        incident.encode([incident.Incident(held, incident.EXPIRED, LEAK)]),
        order.encode(order.Order("alice", NOW, LEAK)),
        waiter.encode(waiter.Waiter.of(held)),
        reboot.encode(reboot.RebootRecord(LEAK, NOW, "n", "b")),
        window_set.encode(window_set.WindowSet(reason=LEAK)),
        share.encode(share.Share("10%", (1, 2))),
    ]
    for raw in written:
        assert b"hush" not in raw
        assert json.loads(raw)["schema"] == 1


def test_each_record_but_the_semaphore_is_written_without_secrets():
    """The semaphore has the bytes of CoreOS locksmith, and only ids."""
    modules = (Path(records.__file__).parents[1] / "lock/records").glob("*.py")
    assert [path.name for path in modules if "json.dumps" in path.read_text()] == ["semaphore.py"]


def test_a_field_of_a_later_version_is_written_as_it_was_read():
    assert json.loads(records.dump({"reason": LEAK}, {"later": LEAK})) == {"reason": redact(LEAK), "later": LEAK}

"""Records of earlier versions, with the names that their fields had then, are read; new ones have the new names."""

import json
from datetime import UTC, datetime

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import JournalEntry, Phase
from locksmith.errors import CorruptValueError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import node as node_record
from locksmith.lock.records.claim import UNHEALTHY, Claim
from locksmith.lock.records.node import Node

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
CLAIM = Claim("n1", "reboot", "nonce", NOW, state=UNHEALTHY, failure="web.service has failed", commits=1)
NODE = Node(
    "n1",
    "web-1",
    "boot",
    "web",
    "etcd-lock",
    "aborting",
    NOW,
    code="queue",
    need="kernel",
    need_version="6.1",
    need_since=NOW,
    need_reasons=("a kernel", "an engine"),
    clone="web-2 (boot b2)",
    clone_boot="b2",
)
WRITTEN_BEFORE = {
    "schema": 1,
    "hostname": "web-1",
    "boot_id": "boot",
    "group": "web",
    "strategy": "etcd-lock",
    "state": "withdrawing",
    "since": "2026-05-01T02:10:00Z",
    "code": "line",
    "wish": "kernel",
    "wish_version": "6.1",
    "wish_since": "2026-05-01T02:10:00Z",
    "wish_reasons": ["a kernel", "an engine"],
    "twin": "web-2 (boot b2)",
    "twin_boot": "b2",
}


def written(claim: Claim) -> dict[str, object]:
    return dict(json.loads(claim_record.encode(claim)))


def read(fields: dict[str, object]) -> Claim:
    return claim_record.decode(json.dumps(fields).encode(), "key", "n1")


def with_trouble(fields: dict[str, object]) -> dict[str, object]:
    return {{"failure": "trouble"}.get(name, name): value for name, value in fields.items()}


def test_a_claim_of_an_earlier_version_says_what_went_wrong():
    assert read(with_trouble(written(CLAIM))) == CLAIM


def test_a_claim_is_written_with_the_new_name_alone():
    before = with_trouble({**written(CLAIM), "later": 1})
    now = written(read(before))
    assert (now["failure"], now["later"]) == ("web.service has failed", 1)
    assert "trouble" not in now


def test_what_an_older_daemon_writes_over_a_new_record_counts():
    """It keeps the name that it does not know, and writes its own next to that."""
    assert read({**written(CLAIM), "trouble": "db.service has failed"}).failure == "db.service has failed"


def test_a_presence_of_an_earlier_version_says_the_same():
    assert node_record.decode(json.dumps(WRITTEN_BEFORE).encode(), "key", "n1") == NODE


def test_a_presence_is_written_with_the_new_names_but_for_the_run_of_a_clone():
    fields = json.loads(node_record.encode(NODE))
    assert (fields["need"], fields["clone"], fields["state"], fields["code"]) == (
        *("kernel", "web-2 (boot b2)", "aborting", "queue"),
    )
    older = {name for name in fields if name.startswith(("wish", "twin"))}
    assert older == {"twin_boot"}
    assert fields["twin_boot"] == fields["clone_boot"] == "b2"


def test_a_presence_without_a_clone_names_no_run():
    fields = json.loads(node_record.encode(Node("n1", "web-1", "boot", "web", "etcd-lock", "idle", NOW)))
    assert "twin_boot" not in fields


@pytest.mark.parametrize("name", ["wish", "state", "code", "twin_boot"])
def test_an_older_field_of_another_kind_is_no_presence(name):
    with pytest.raises(CorruptValueError, match="not a machine's presence"):
        node_record.decode(json.dumps({**WRITTEN_BEFORE, name: ["x"]}).encode(), "key", "n1")


def test_the_reboot_journal_of_an_earlier_version_is_read(tmp_path):
    journal = JournalFile(Paths(tmp_path), "n1", "")
    journal.path.parent.mkdir(parents=True)
    entry = JournalEntry(CLAIM, "etcd-lock", "web", 3, ("http://a",), Phase.COMMITTED, Boot("boot", 5), "locksmithd")
    journal.begin(entry)
    raw = journal.path.read_bytes()
    assert b'"failure": "web.service' in raw
    journal.path.write_bytes(raw.replace(b'"failure": "web.service', b'"trouble": "web.service'))
    assert journal.read().entry == entry

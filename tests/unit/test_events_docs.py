"""The events in the code, the catalog of the system journal and docs/journal.md are the same."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from locksmith.agent import events
from release import payload

REPOSITORY = Path(__file__).parents[2]
CATALOG = REPOSITORY / "contrib/systemd/locksmith.catalog"
DOCS = REPOSITORY / "docs/journal.md"
IDS = [event.message_id for event in events.EVENTS]


def test_the_catalog_explains_each_event():
    entries = re.split(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), flags=re.MULTILINE)[1:]
    assert entries[::2] == IDS
    for text in entries[1::2]:
        head, _, body = text.strip().partition("\n\n")
        assert re.match(r"Subject: \S.*\nDefined-By: locksmith\nDocumentation: man:locksmithd\(8\)$", head)
        assert len(head.splitlines()[0]) <= 80
        assert max(map(len, body.splitlines())) <= 92


def test_a_package_has_the_catalog_where_systemd_reads_it():
    assert payload.FILES["contrib/systemd/locksmith.catalog"] == "usr/lib/systemd/catalog/"


def test_the_catalog_inserts_fields_that_exist():
    inserted = set(re.findall(r"@(\w+)@", CATALOG.read_text()))
    assert inserted <= {f"LOCKSMITH_{name}" for name in events.FIELDS}


def test_the_docs_list_each_event_with_its_id():
    rows = re.findall(r"^\| `([a-z-]+)` \| `([0-9a-f]{32})` \|", DOCS.read_text(), re.MULTILINE)
    assert rows == [(event.name, event.message_id) for event in events.EVENTS]
    assert set(re.findall("[0-9a-f]{32}", DOCS.read_text())) == set(IDS)


def test_the_docs_describe_each_field():
    rows = re.findall(r"^\| `LOCKSMITH_([A-Z_]+)` \|", DOCS.read_text().partition("## Fields")[2], re.MULTILINE)
    assert sorted(rows) == sorted(events.FIELDS)


def test_the_docs_look_for_no_event_that_another_user_may_have_forged():
    for line in re.findall(r"journalctl .*", DOCS.read_text()):
        if "LOCKSMITH_EVENT=" in line or "MESSAGE_ID=" in line:
            assert "_SYSTEMD_UNIT=locksmithd.service" in line


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="there is no journalctl here")
def test_systemd_takes_the_catalog(tmp_path):
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    shutil.copy(CATALOG, folder)
    journalctl = ["journalctl", f"--root={tmp_path}"]
    made = subprocess.run([*journalctl, "--update-catalog"], capture_output=True, text=True, check=True, timeout=30)
    assert (made.stdout, made.stderr) == ("", "")
    listed = subprocess.run([*journalctl, "--list-catalog"], capture_output=True, text=True, check=True, timeout=30)
    assert sorted(line.split()[0] for line in listed.stdout.splitlines()) == sorted(IDS)

"""What the system journal gets of a log record, and when it is standard error instead."""

import logging
import os
import socket

import pytest

from locksmith.agent import events
from locksmith.agent.steps import Wait
from locksmith.cli import logs
from locksmith.cli.logs import JournalHandler
from locksmith.host.system_journal import SystemJournal
from locksmith.util.secret import keep_secret

FIELDS = {"GROUP": "web", "MACHINE": "a" * 32, "STRATEGY": "etcd-lock", "DRY_RUN": "no"}


@pytest.fixture
def sent(tmp_path):
    """Log to a socket in journald's place; give what arrives."""
    log = logging.getLogger("locksmith.tests.logs")
    log.setLevel(logging.DEBUG)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "socket"))
        reader.settimeout(5)
        journal = SystemJournal(tmp_path / "socket")
        handler = JournalHandler(journal, "locksmithd", FIELDS, group="web")
        log.addHandler(handler)

        def send(level, text, *args, **more):
            log.log(level, text, *args, **more)
            lines = reader.recv(1 << 20).decode().splitlines()
            return dict(line.split("=", 1) for line in lines)

        yield send
        log.removeHandler(handler)
        journal.close()


def test_a_record_has_its_fields_its_place_in_the_code_and_its_priority(sent):
    step = Wait("freeze", "frozen by ada: `locksmithctl thaw` ends it")
    record = sent(logging.WARNING, "waiting: %s", step.text, extra=events.of_step(step, None))
    assert record.pop("CODE_FILE") == __file__
    assert record.pop("CODE_LINE").isdigit()
    assert record == {
        "MESSAGE": "waiting: frozen by ada: `locksmithctl -group=web thaw` ends it",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "locksmithd",
        "CODE_FUNC": "send",
        "MESSAGE_ID": events.FROZEN.message_id,
        "LOCKSMITH_EVENT": "frozen",
        "LOCKSMITH_STATE": "waiting",
        "LOCKSMITH_CODE": "freeze",
        "LOCKSMITH_REASON": "frozen by ada: `locksmithctl -group=web thaw` ends it",
        **{f"LOCKSMITH_{name}": value for name, value in FIELDS.items()},
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, "7"), (logging.INFO, "6"), (logging.WARNING, "4"), (logging.ERROR, "3"), (logging.CRITICAL, "2")],
)
def test_each_level_has_its_priority(sent, level, priority):
    assert sent(level, "text")["PRIORITY"] == priority


def test_no_secret_is_in_any_field(sent):
    keep_secret("correct-horse-7")
    text = "http://ada:correct-horse-7@etcd:2379 refused the password correct-horse-7"
    record = sent(logging.INFO, text, extra=events.of_step(Wait("store", text), None))
    assert "correct-horse" not in str(record)
    assert record["LOCKSMITH_REASON"].endswith("refused the password ***")


def test_what_others_wrote_forges_no_field_and_no_priority(sent):
    text = "held by n1\nPRIORITY=0\nLOCKSMITH_EVENT=released\x1b[2J"
    record = sent(logging.INFO, "waiting: %s", text, extra=events.of_step(Wait("slot", text), None))
    assert record["PRIORITY"] == "6"
    assert "LOCKSMITH_EVENT" not in record
    assert record["LOCKSMITH_REASON"] == "held by n1 PRIORITY=0 LOCKSMITH_EVENT=released\\x1b[2J"


def test_a_traceback_is_one_line(sent):
    try:
        int("x")
    except ValueError:
        record = sent(logging.DEBUG, "a defect", exc_info=True)
    assert "Traceback" in record["MESSAGE"]
    assert "ValueError" in record["MESSAGE"]


@pytest.fixture
def _logging_as_before(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[:])


@pytest.mark.usefixtures("_logging_as_before")
def test_a_record_that_cannot_be_written_shows_nothing_of_itself(monkeypatch, capfd):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.set_up(debug=False, program="locksmithd")
    logging.getLogger().info("%d", "correct-horse-7")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("to_journal", [True, False])
def test_only_standard_error_that_is_the_journal_leads_to_the_journal(monkeypatch, to_journal):
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + (not to_journal)}")
    logs.set_up(debug=False, program="locksmithd")
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, JournalHandler) is to_journal

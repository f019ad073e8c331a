"""Text of others on its way to people: one line, nothing that steers a terminal, and not too much of it."""

import io
import logging
import socket
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.cli import logs, output
from locksmith.cli.painted import Painted, Part, painted
from locksmith.daemon import stages
from locksmith.host.notify import Notifier
from locksmith.util.text import cut, one_line, plain, printable
from tests.builders.entries import ENTRY

EVERYTHING = "".join(map(chr, range(0x300))) + "\u2028\u2029\u202a\u202e\u2066\u2069\u200b\ufeff\ud800\udfff\U000e0041"


@given(st.text(alphabet=st.characters()))
def test_what_is_printable_has_no_character_that_is_not(text):
    assert printable(text).isprintable()
    assert one_line(text).isprintable()
    assert "\n" not in one_line(text)


@given(st.text(), st.integers(8, 100))
def test_a_text_that_is_cut_keeps_both_its_ends_and_says_how_much_is_gone(text, most):
    short = cut(text, most)
    if len(text) <= most:
        assert short == text
    else:
        head, _, rest = short.partition("[... ")
        number, _, tail = rest.partition(" more characters ...]")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head) + int(number) + len(tail) == len(text)


def test_letters_of_all_languages_stay_as_they_are():
    assert one_line("  Größe  名前 שלום e\u0301 \U0001f4a5 ") == "Größe 名前 שלום e\u0301 \U0001f4a5"


def test_two_names_that_look_alike_are_told_apart():
    assert printable("n\u200b1") == "n\\u200b1"
    assert printable("n\u31641") == "n\\u31641"


def test_a_record_of_the_log_is_one_line_with_its_traceback():
    try:
        int(f"a\n<3>forged\x1b[2J{EVERYTHING}")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "f", 1, "it\n<0>says\r%s", (EVERYTHING,), sys.exc_info())
    line = logs.LineFormatter("%(message)s").format(record)
    assert line.isprintable()
    assert line.startswith("it <0>says")
    assert "Traceback" in line
    assert "ValueError: invalid literal" in line


def test_a_megabyte_is_logged_with_both_its_ends():
    record = logging.LogRecord("x", logging.INFO, "f", 1, f"begin {'x' * 10**6} end", (), None)
    line = logs.LineFormatter("%(message)s").format(record)
    assert line.startswith("begin x")
    assert line.endswith("x end")
    assert len(line) < 4100


def test_every_part_of_a_line_is_spelt_out_but_its_own_colour(monkeypatch):
    line = Painted.of(Part("a\x1b[2J", "red"), Part("\n\x9b", bold=True))
    assert painted(line) == "a\\x1b[2J\\n\\x9b"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert painted(line) == "\x1b[31ma\\x1b[2J\x1b[0m\x1b[1m\\n\\x9b\x1b[0m"


def test_what_is_printed_is_one_line_each(capsys):
    output.say(f"a{EVERYTHING}", "  b\nc")
    output.note(f"n{EVERYTHING}")
    output.fail(f"f{EVERYTHING}")
    output.print_json({"a": EVERYTHING})
    said = capsys.readouterr()
    assert said.out.count("\n") == 3
    assert said.err.count("\n") == 2
    assert (said.out + said.err).replace("\n", "").isprintable()
    assert "  b\\nc\n" in said.out


def test_a_terminal_that_knows_few_characters_gets_them_spelt_out(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    output.spell_out_unwritable()
    output.say("Größe…")
    sys.stdout.flush()
    assert raw.getvalue() == b"Gr\xf6\xdfe\\u2026\n"


def test_systemd_gets_one_line_and_no_other_word():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0locksmith-test-of-text")
        Notifier("@locksmith-test-of-text").status(f"a\nSTOPPING=1\0{EVERYTHING}")
        told = systemd.recv(65536).decode()
    assert told.isprintable()
    assert told.startswith("STATUS=a STOPPING=1\\x00")


def test_no_variable_of_a_hook_has_a_nul_or_a_line_in_it():
    claim = replace(ENTRY.claim, reason=f"a\n{EVERYTHING}", hostname="\0", version="\ud800", who="\x1b[2J")
    told = stages._environment(replace(ENTRY, claim=claim))
    assert all(value.isprintable() for name, value in told.items() if name != "LOCKSMITH_ROOT")
    assert told["LOCKSMITH_HOSTNAME"] == "\\x00"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("inspect them, then run `locksmithctl resume`", "inspect them, then run `locksmithctl resume`"),
        ("run `locksmithctl resume --replaces cafe01`", "run `locksmithctl resume --replaces cafe01`"),
        ("run `locksmithctl resume --replaces x; rm -rf /`", "run 'locksmithctl resume --replaces x; rm -rf /'"),
        ("run `locksmithctl unlock --force n1`", "run 'locksmithctl unlock --force n1'"),
        ("`x`locksmithctl resume`y`", "'x`locksmithctl resume`y'"),
        ("`locksmithctl resume\n`", "'locksmithctl resume\n'"),
    ],
)
def test_a_text_of_others_keeps_the_ways_out_of_a_daemon_and_no_other_command(text, shown):
    assert plain(text) == shown

"""The operator's wish: it stays until a reboot or `cancel`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.triggers.operator_request import OperatorRequest

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
BOOT = Boot("b0071d", 4_200_000)


@pytest.fixture
def need(tmp_path):
    return OperatorRequest(Paths(tmp_path))


def look(need, boot=BOOT):
    return asyncio.run(need.check(LATER, boot))


def test_it_stands_until_it_is_cancelled(need):
    assert look(need) == TriggerResult()
    need.note("3.2.1", NOON, BOOT)
    assert look(need) == TriggerResult(RebootNeed("operator", "3.2.1", NOON))
    assert need.cancel()
    assert look(need) == TriggerResult()
    assert not need.cancel()


def test_noted_again_it_keeps_its_beginning_and_the_last_known_version(need):
    need.note("", NOON, BOOT)
    need.note("3.2.1", LATER, BOOT)
    need.note("", LATER, BOOT)
    assert look(need) == TriggerResult(RebootNeed("operator", "3.2.1", NOON))


@pytest.mark.parametrize("boot", [Boot("0ther", BOOT.userspace), Boot(BOOT.boot_id, 9_900_000)])
def test_a_reboot_fulfils_it_a_soft_one_too(need, boot):
    need.note("3.2.1", NOON, BOOT)
    assert look(need, boot) == TriggerResult()
    assert not need.path.exists()


def test_a_wish_of_another_boot_does_not_lend_its_beginning(need):
    need.note("", NOON, Boot("before"))
    need.note("", LATER, BOOT)
    assert look(need) == TriggerResult(RebootNeed("operator", "", LATER))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1"}', '{"boot_id": 1}'])
def test_a_file_that_cannot_be_read_is_a_doubt_with_a_way_out(need, content):
    need.path.parent.mkdir(parents=True)
    need.path.write_text(content)
    doubt = look(need).error or ""
    assert doubt.startswith(f"{need.path} cannot be read")
    assert "locksmithctl cancel" in doubt
    assert need.cancel()
    assert look(need) == TriggerResult()


def test_a_new_wish_replaces_a_file_that_cannot_be_read(need):
    need.path.parent.mkdir(parents=True)
    need.path.write_text("{")
    need.note("1", NOON, BOOT)
    assert look(need) == TriggerResult(RebootNeed("operator", "1", NOON))


def test_a_record_of_a_later_version_is_read(need):
    need.note("1", NOON, BOOT)
    fields = json.loads(need.path.read_text())
    need.path.write_text(json.dumps({**fields, "schema": 2, "colour": "red"}))
    assert look(need) == TriggerResult(RebootNeed("operator", "1", NOON))


def test_a_folder_that_cannot_be_made_is_said(need):
    need.path.parent.parent.mkdir()
    need.path.parent.write_text("in the way")
    with pytest.raises(HostError, match="cannot be kept"):
        need.note("1", NOON, BOOT)

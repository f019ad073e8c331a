"""The operator's wish: it stays until a reboot or `cancel`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot, Sighting, Wish
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.triggers.operator_request import OperatorWish

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
BOOT = Boot("b0071d", 4_200_000)


@pytest.fixture
def wish(tmp_path):
    return OperatorWish(Paths(tmp_path))


def look(wish, boot=BOOT):
    return asyncio.run(wish.look(LATER, boot))


def test_it_stands_until_it_is_cancelled(wish):
    assert look(wish) == Sighting()
    wish.note("3.2.1", NOON, BOOT)
    assert look(wish) == Sighting(Wish("operator", "3.2.1", NOON))
    assert wish.cancel()
    assert look(wish) == Sighting()
    assert not wish.cancel()


def test_noted_again_it_keeps_its_beginning_and_the_last_known_version(wish):
    wish.note("", NOON, BOOT)
    wish.note("3.2.1", LATER, BOOT)
    wish.note("", LATER, BOOT)
    assert look(wish) == Sighting(Wish("operator", "3.2.1", NOON))


@pytest.mark.parametrize("boot", [Boot("0ther", BOOT.userspace), Boot(BOOT.boot_id, 9_900_000)])
def test_a_reboot_fulfils_it_a_soft_one_too(wish, boot):
    wish.note("3.2.1", NOON, BOOT)
    assert look(wish, boot) == Sighting()
    assert not wish.path.exists()


def test_a_wish_of_another_boot_does_not_lend_its_beginning(wish):
    wish.note("", NOON, Boot("before"))
    wish.note("", LATER, BOOT)
    assert look(wish) == Sighting(Wish("operator", "", LATER))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1"}', '{"boot_id": 1}'])
def test_a_file_that_cannot_be_read_is_a_doubt_with_a_way_out(wish, content):
    wish.path.parent.mkdir(parents=True)
    wish.path.write_text(content)
    doubt = look(wish).doubt or ""
    assert doubt.startswith(f"{wish.path} cannot be read")
    assert "locksmithctl cancel" in doubt
    assert wish.cancel()
    assert look(wish) == Sighting()


def test_a_new_wish_replaces_a_file_that_cannot_be_read(wish):
    wish.path.parent.mkdir(parents=True)
    wish.path.write_text("{")
    wish.note("1", NOON, BOOT)
    assert look(wish) == Sighting(Wish("operator", "1", NOON))


def test_a_record_of_a_later_version_is_read(wish):
    wish.note("1", NOON, BOOT)
    fields = json.loads(wish.path.read_text())
    wish.path.write_text(json.dumps({**fields, "schema": 2, "colour": "red"}))
    assert look(wish) == Sighting(Wish("operator", "1", NOON))


def test_a_folder_that_cannot_be_made_is_said(wish):
    wish.path.parent.parent.mkdir()
    wish.path.parent.write_text("in the way")
    with pytest.raises(HostError, match="cannot be kept"):
        wish.note("1", NOON, BOOT)

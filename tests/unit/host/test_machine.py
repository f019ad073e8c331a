"""The machine id, and files that have none."""

import pytest

from locksmith.errors import HostError
from locksmith.host.boot import read_machine_id
from locksmith.host.paths import Paths

ID = "1c09ca98649c4c7abc779cd04c96812e"


@pytest.fixture
def paths(tmp_path):
    paths = Paths(tmp_path)
    paths.machine_id.parent.mkdir()
    return paths


def test_it_is_read(paths):
    paths.machine_id.write_text(f"{ID}\n")
    assert read_machine_id(paths) == ID


@pytest.mark.parametrize(
    "content", ["", "\n", "uninitialized\n", ID[:-1], ID + "0", ID.upper(), "1c09ca98-649c", "é" * 32]
)
def test_a_file_without_one_is_named(paths, content):
    paths.machine_id.write_text(content)
    with pytest.raises(HostError, match=f"this machine has no id: {paths.machine_id} "):
        read_machine_id(paths)


def test_a_missing_file_is_named(paths):
    with pytest.raises(HostError, match=f"this machine has no id: {paths.machine_id}: No such file"):
        read_machine_id(paths)

"""Watches of files in a folder, on real files."""

import asyncio
import os
import struct

import pytest

from locksmith.host.inotify import FolderWatch
from tests.harness.waiting import until


class Watched:
    """A folder whose file `flag` is watched, and how often the watch woke."""

    def __init__(self, folder):
        self.folder, self.woken = folder, 0
        self.watch = FolderWatch(folder, {"flag"}, self.wake)

    def wake(self):
        self.woken += 1


CHANGES = {
    "created": lambda folder: (folder / "flag").touch(),
    "changed": lambda folder: (folder / "there" / "flag").write_text("x"),
    "replaced": lambda folder: (folder / "new").rename(folder / "flag"),
    "removed": lambda folder: (folder / "there" / "flag").unlink(),
    "moved away": lambda folder: (folder / "there" / "flag").rename(folder / "gone"),
    "a link": lambda folder: (folder / "flag").symlink_to("nowhere"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_of_a_watched_file_wakes(tmp_path, what):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/flag").touch()
    (tmp_path / "new").touch()

    async def story():
        watched = [Watched(tmp_path), Watched(tmp_path / "there")]
        CHANGES[what](tmp_path)
        await until(lambda: sum(one.woken for one in watched), what)
        for one in watched:
            one.watch.close()

    asyncio.run(story())


def test_other_files_do_not_wake_and_a_closed_watch_neither(tmp_path):
    async def story():
        watched, sees = Watched(tmp_path), Watched(tmp_path)
        for name in ("flag2", "fla", ".flag"):
            (tmp_path / name).touch()
        watched.watch.close()
        watched.watch.close()
        (tmp_path / "flag").touch()
        await until(lambda: sees.woken, "the other watch has seen it")
        assert watched.woken == 0
        sees.watch.close()

    asyncio.run(story())


def test_dropped_events_wake_as_any_file_may_have_changed(tmp_path, monkeypatch):
    async def story():
        watched = Watched(tmp_path)
        overflow = struct.pack("iIII", -1, 0x4000, 0, 0)
        monkeypatch.setattr("locksmith.host.inotify.os.read", lambda *_: overflow)
        watched.watch._read()
        assert watched.woken == 1
        watched.watch.close()

    asyncio.run(story())


def test_a_folder_that_is_none_is_an_error_and_leaves_no_descriptor(tmp_path):
    async def story():
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the numbers alone count
        (tmp_path / "file").touch()
        for name, error in (("nowhere", FileNotFoundError), ("file", NotADirectoryError)):
            with pytest.raises(error):
                FolderWatch(tmp_path / name, {"flag"}, lambda: None)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above

    asyncio.run(story())

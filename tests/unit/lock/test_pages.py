"""Reading as many keys as a fleet has: page by page, of one revision, and again where the store forgets that."""

import asyncio

import pytest

from locksmith.lock import pages
from locksmith.store.memory import MemoryServer, MemoryStore

BASE = "group/nodes/"


class Busy:
    """Faults: others write after each of the first `writes` pages."""

    def __init__(self, writes: int) -> None:
        self.writes = writes
        self.pages = 0
        self.server = MemoryServer()
        for number in range(95):
            self.server.put(f"{BASE}{number:03}", b"", 0)

    async def carry(self, call):
        answer = call.apply()
        self.pages += 1
        if self.writes:
            self.writes -= 1
            self.server.put(f"other/{self.pages}", b"", 0)
        return answer


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch):
    monkeypatch.setattr(pages, "PAGE", 10)


def read(faults):
    entries = asyncio.run(pages.read_all(MemoryStore(faults.server, faults), BASE))
    return [entry.key.removeprefix(BASE) for entry in entries]


ALL = [f"{number:03}" for number in range(95)]


def test_all_is_read_in_pages():
    calm = Busy(0)
    assert read(calm) == ALL
    assert calm.pages == 10


def test_of_an_empty_folder_one_page_is_read():
    calm = Busy(0)
    calm.server = MemoryServer()
    assert read(calm) == []
    assert calm.pages == 1


def test_where_the_store_forgets_the_revision_reading_starts_again():
    busy = Busy(1)
    assert read(busy) == ALL
    assert busy.pages == 1 + 10


def test_where_it_forgets_again_and_again_the_pages_are_read_as_they_are():
    busy = Busy(1000)
    assert read(busy) == ALL
    assert busy.pages == pages.TRIES + 10

"""Reads of more keys than one request takes: what belongs together is said by a guard."""

import pytest

from locksmith.errors import ConflictError
from locksmith.lock.chunks import READS, Guard, read_in_chunks
from locksmith.store.memory import MemoryServer, MemoryStore


class Asked(MemoryStore):
    """Notes how many keys each request asks for; `between` happens after the first."""

    def __init__(self, server, between=lambda: None) -> None:
        super().__init__(server)
        self.requests: list[int] = []
        self.between = between

    async def read(self, keys):
        found = await super().read(keys)
        self.requests.append(len(keys))
        self.between()
        return found


def names(number: int) -> list[str]:
    return [f"k/{one:04d}" for one in range(number)]


@pytest.mark.parametrize(
    ("number", "requests"),
    [(0, [1]), (1, [2]), (READS, [READS + 1]), (READS + 1, [READS, 2]), (2 * READS + 50, [READS, READS, 51])],
)
async def test_any_number_of_keys_is_read_in_their_order_and_the_guard_with_the_last(number, requests):
    server = MemoryServer()
    guard = Guard("guard", server.put("guard", b"", 0).version)
    for name in names(number):
        server.put(name, name.encode(), 0)
    store = Asked(server)
    found = await read_in_chunks(store, names(number), guard)
    assert [one.entry and one.entry.value.decode() for one in found] == names(number)
    assert store.requests == requests


async def test_what_was_read_while_the_guard_was_written_does_not_belong_together():
    server = MemoryServer()
    guard = Guard("guard", server.put("guard", b"", 0).version)
    store = Asked(server, lambda: server.put("guard", b"", server.read("guard").version))
    with pytest.raises(ConflictError, match="guard was written while what it guards was read"):
        await read_in_chunks(store, names(READS + 1), guard)


async def test_a_guard_that_does_not_exist_guards_too():
    assert await read_in_chunks(MemoryStore(MemoryServer()), [], Guard("guard", 0)) == []

"""The store in memory as a machine reaches it that remembers what it has seen."""

from locksmith.lock.records import keys
from locksmith.store.memory import Faults, MemoryServer, MemoryStore
from locksmith.store.remembering import Memory, RememberingStore


def remembered(
    server: MemoryServer, memory: Memory, faults: Faults | None = None, kind: type[MemoryStore] = MemoryStore
) -> RememberingStore:
    """Open a client whose answers are compared with the earlier ones."""
    return RememberingStore(kind(server, faults, memory), memory, keys.semaphore_key(""))

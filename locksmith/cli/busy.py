"""What an operator is told who finds no free slot: who holds the slots, since when and why."""

from datetime import datetime

from locksmith.errors import CorruptValueError, StoreError
from locksmith.fleet.reader import read_slots
from locksmith.fleet.slots import busy_words
from locksmith.store.protocol import Store


async def who_holds(store: Store, group: str) -> str:
    """Say who holds the slots; empty: a slot is free by now, or the holders cannot be read."""
    try:
        return busy_words(await read_slots(store, group), datetime.now().astimezone())
    except (StoreError, CorruptValueError):
        return ""

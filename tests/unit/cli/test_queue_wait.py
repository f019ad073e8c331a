"""An operator waits in the queue: what it is told, and what ends the wait."""

import asyncio

import pytest

from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import CorruptValueError, LockError, StoreUnavailableError
from locksmith.lock.answer import Denied, Granted

NO_SLOT = Denied("slot", "no slot is free")


class Asked:
    """Answers a call with the next answer, or raises it."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def __call__(self, *_):
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def waited(limit, *answers, who_holds=None):
    said: list[str] = []
    asyncio.run(QueueWait(limit, said.append, who_holds).obtain(Asked(*answers), Asked(*[True] * len(answers))))
    return said


def test_the_holders_are_told_where_no_slot_is_free():
    assert waited(None, NO_SLOT, Granted(), who_holds=Asked("n2 has it")) == ["waiting: n2 has it"]


@pytest.mark.parametrize("error", [StoreUnavailableError("no connection"), CorruptValueError("key", "not JSON")])
def test_holders_that_cannot_be_read_end_no_wait(error):
    assert waited(None, NO_SLOT, Granted(), who_holds=Asked(error)) == ["waiting: no slot is free"]


def test_holders_that_cannot_be_read_do_not_hide_the_answer():
    with pytest.raises(LockError, match=r"^no slot is free$"):
        waited(0, NO_SLOT, who_holds=Asked(StoreUnavailableError("no connection")))

import asyncio
import os
import signal
from functools import partial

import pytest

from locksmith.util.signals import heard
from tests.harness.waiting import until

NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def _handlers_of_their_own():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_handler_is_called_in_the_loop_at_its_signal():
    called = []

    def note(number):
        called.append((number, asyncio.get_running_loop()))

    async def story():
        with heard({number: partial(note, number) for number in NUMBERS}):
            for number in NUMBERS:
                os.kill(os.getpid(), number)
            await until(lambda: len(called) == len(NUMBERS), "both were heard")
        assert called == [(number, asyncio.get_running_loop()) for number in NUMBERS]

    asyncio.run(story())


def test_a_signal_at_the_end_never_meets_the_default_that_would_end_the_process(monkeypatch):
    set_to = []
    real = signal.signal

    def watched(number, handler):
        set_to.append((number, handler))
        return real(number, handler)

    monkeypatch.setattr(signal, "signal", watched)

    async def story():
        with heard(dict.fromkeys(NUMBERS, lambda: None)):
            pass

    asyncio.run(story())
    for number in NUMBERS:
        assert (number, signal.SIG_DFL) not in set_to
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_IGN

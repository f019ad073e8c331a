"""Clients of one group, as the checks need them: what they take is released when a check ends."""

import time
import uuid
from collections.abc import Iterator

import pytest

from .wire import PRE_REBOOT, STEADY_STATE, Answer, Server, body_of

PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between the tries of a client, as long as it waits; the last is repeated."""


MOST_IN_VAIN = 3
HASTE = 1.0
"""Seconds, where a server or its group is plainly not as it should be: a run comes to its end all the same."""


def new_id() -> str:
    """Give an id that no client has had."""
    return f"conformance-{uuid.uuid4().hex}"


class Patience:
    """How many seconds a good call may be refused for passing reasons: little, once that was in vain three times."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._in_vain = 0

    @property
    def seconds(self) -> float:
        """Give the time for the next call."""
        return self._seconds if self._in_vain < MOST_IN_VAIN else min(self._seconds, HASTE)

    def was_in_vain(self, times: int = 1) -> None:
        """Note that a call was refused to the end."""
        self._in_vain += times


class Fleet:
    """The clients of one group."""

    def __init__(self, server: Server, group: str, slots: int, patience: Patience) -> None:
        self.server = server
        self.group = group
        self.slots = slots
        self._patience = patience
        self._asked: set[str] = set()

    @property
    def wait(self) -> float:
        """How many seconds a good call may be refused."""
        return self._patience.seconds

    def pre_reboot(self, client: str) -> Answer:
        """Ask for a slot, once."""
        self._asked.add(client)
        return self.server.ask(PRE_REBOOT, body_of(client, self.group))

    def steady_state(self, client: str) -> Answer:
        """Release a slot, once."""
        return self.server.ask(STEADY_STATE, body_of(client, self.group))

    def remember(self, client: str) -> str:
        """Name a client that has asked by other means, so that its slot is released too."""
        self._asked.add(client)
        return client

    def forget(self, client: str) -> None:
        """Do not release what this client has: its id is refused."""
        self._asked.discard(client)

    def tries(self) -> Iterator[None]:
        """Give one item for each try, with pauses between them, until the wait is over."""
        end = time.monotonic() + self.wait
        for number in range(1_000_000):
            yield
            if time.monotonic() >= end:
                self._patience.was_in_vain()
                return
            time.sleep(PAUSES[min(number, len(PAUSES) - 1)])

    def take(self, client: str | None = None) -> str:
        """Ask until the slot is granted, as clients do."""
        client = client or new_id()
        answer = None
        for _ in self.tries():
            answer = self.pre_reboot(client)
            if answer.granted:
                return client
        pytest.fail(
            f"pre-reboot was not granted within {self.wait:g} s though a slot of group {self.group!r} must be free; "
            f"the last answer: {answer}. If no other program uses the group and it has {self.slots} free slot(s), "
            "the server keeps a slot that was released, or refuses good calls."
        )

    def release(self, client: str) -> None:
        """Report the steady state until it succeeds, as clients do."""
        answer = None
        for _ in self.tries():
            answer = self.steady_state(client)
            if answer.granted:
                self._asked.discard(client)
                return
        pytest.fail(f"steady-state of {client!r} did not succeed within {self.wait:g} s; the last answer: {answer}")

    def fill(self, *clients: str) -> list[str]:
        """Take every slot: for these clients and, as far as slots are left, for new ones."""
        found = [*clients, *(new_id() for _ in range(self.slots - len(clients)))]
        return [self.take(client) for client in found]

    def rehearse(self) -> str:
        """Take and release every slot once; what a person should look at first, if that fails, else empty."""
        taken: list[str] = []
        said = ""
        try:
            while len(taken) < self.slots:
                taken.append(self.take())
        except pytest.fail.Exception as error:
            self._patience.was_in_vain(MOST_IN_VAIN)
            said = f"at the start only {len(taken)} of {self.slots} slot(s) could be taken: {error}"
        try:
            self.clean()
        except AssertionError as error:
            said = said or f"at the start: {error}"
        return said

    def assert_full(self, why: str) -> None:
        """Check that no slot is left: one more client is refused. It does not stay in any queue."""
        client = new_id()
        answer = self.pre_reboot(client)
        self.release(client)
        assert not answer.granted, (
            f"{why}: a further client got a slot ({answer}) while {self.slots} had one. "
            f"Either the server grants more slots than it has, or the group has more than --fleetlock-slots says."
        )

    def assert_holds(self, client: str, why: str) -> None:
        """Check that a client still has its slot: asked again, it is granted."""
        answer = self.pre_reboot(client)
        assert answer.granted, f"{why}: a holder that asks again was refused: {answer}"

    def clean(self) -> None:
        """Release what a client of this check may have; one that cannot be released does not keep the others."""
        failed = []
        for client in sorted(self._asked):
            try:
                self.release(client)
            except pytest.fail.Exception as error:
                failed.append(str(error))
        assert not failed, f"what this check took is not released, so the next ones may fail too: {failed[0]}"

"""A machine of a fleet with its daemon, which is started again whenever there is none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.daemon import Process
from tests.sim.machine import SimMachine


@dataclass
class Node:
    """A machine and the daemon that is started on it whenever there is none."""

    machine: SimMachine
    make: Callable[[SimMachine], Process]
    rng: Random
    process: Process | None = None

    def start(self) -> None:
        """Start the daemon, unless there is one or the machine is off."""
        if not self.machine.on or (self.process is not None and self.process.alive):
            return
        self.process = self.make(self.machine)
        self.process.start()
        if self.process.task is not None:
            self.process.task.add_done_callback(self._ended)

    def lose_power(self) -> None:
        """End whatever runs."""
        if self.process is not None:
            self.process.kill("with its machine")

    def wake(self) -> None:
        """Signal that something has changed."""
        if self.process is not None and self.process.agent is not None and self.process.alive:
            self.process.agent.wake()

    def _ended(self, _task: "asyncio.Task[None]") -> None:
        asyncio.get_running_loop().call_later(self.rng.uniform(1, 20), self.start)

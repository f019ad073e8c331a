"""update_engine, logind and systemd's manager of one pretended machine, as a program of its own.

python -m tests.harness.machine_doubles ADDRESS

It says `ready` when all are on the bus, and `reboot` when logind was asked for a reboot and obeys. Told on its input:
`need-reboot VERSION` and `idle` set the engine's status and emit it; `booted` brings the machine up again, with an
engine that is idle. It ends with its input.
"""

import asyncio
import sys

from tests.harness.engine import IDLE, NEED_REBOOT, Engine
from tests.harness.logind import LogindAndSystemd, Machine


async def main(address: str) -> None:
    """Serve until the input ends."""
    machine = Machine(on_reboot=lambda: _say("reboot"))
    async with Engine(address) as engine, LogindAndSystemd(address, machine):
        _say("ready")
        lines = await _input()
        while line := await lines.readline():
            _obey(line.decode().split(), engine, machine)


def _obey(words: list[str], engine: Engine, machine: Machine) -> None:
    match words:
        case ["need-reboot", version]:
            engine.set(NEED_REBOOT, version)
        case ["idle"]:
            engine.set(IDLE)
        case ["booted"]:
            machine.booted()
            engine.set(IDLE)
        case _:
            _say(f"not understood: {' '.join(words)}")


async def _input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

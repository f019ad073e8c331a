"""Whether this machine's locksmithd still has the lock that `locksmithctl reboot` uses.

The tool may wait in a queue for hours. Meanwhile an operator may start the daemon, or restart it with another group.
"""

from collections.abc import Sequence

from locksmith.agent.facts import Blocker
from locksmith.agent.journal import JournalEntry
from locksmith.cli.local_daemon import ask_daemon_over
from locksmith.config.model import Config
from locksmith.config.shown import other_lock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths


class SameLock:
    """Blocks if the daemon has another lock than `config`, or does not show which. No option skips this gate."""

    name = "group"

    def __init__(self, config: Config, bus: SystemBus, paths: Paths) -> None:
        self._config = config
        self._bus = bus
        self._paths = paths

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Ask the daemon, if one runs."""
        daemon = await ask_daemon_over(self._bus, self._paths)
        problem = daemon.problem
        if daemon.settings is not None and (other := other_lock(self._config, daemon.settings)):
            problem = f"{other}: end this program, and start it again"
        return [Blocker(self.name, problem)] if problem else []

"""The stages, which run next to the loop: the checks, the hooks, and the check of the machine's health."""

import os
import secrets
from collections.abc import Sequence

from locksmith.agent.facts import UNREHEARSED, Blocker, Stage
from locksmith.agent.journal import JournalEntry
from locksmith.agent.ports import Gate
from locksmith.host.health import SystemdHealth
from locksmith.host.programs import Programs
from locksmith.util.text import one_line

CHECKS = "checks"
"""The name of the gate of the operator's own programs."""
CHECK, HEALTH = "check", "health"
"""The folders of programs that run again and again; the folders of the hooks have the names of their stages."""
HOOKS = (Stage.PREPARE, Stage.UNDO, Stage.FINISH)


class MachineStages:
    """The stages of this machine; `skip` names gates that an operator's order leaves out."""

    def __init__(
        self,
        hooks: Programs,
        checks: Programs,
        health: SystemdHealth,
        alerts: Gate | None,
        skip: frozenset[str] = frozenset(),
    ) -> None:
        self._hooks = hooks
        self._checks = checks
        self._health = health
        self._alerts = alerts
        self._skip = skip

    def wanted(self, stage: Stage) -> bool:
        """Whether there is anything to do for a stage."""
        return stage not in HOOKS or bool(self._hooks.of(stage))

    def unusable(self) -> list[str]:
        """Name the programs of all stages that cannot be run. `HostError`: they cannot be listed."""
        return [sentence for stage in (CHECK, HEALTH, *sorted(HOOKS)) for sentence in self._hooks.unusable(stage)]

    async def run(self, stage: Stage, entry: JournalEntry | None) -> Sequence[Blocker]:
        """Run a stage to its end, and give what it found wrong."""
        match stage:
            case Stage.CHECKS:
                return await self._ask(entry)
            case Stage.HEALTH:
                return await self._look(entry)
            case Stage.REHEARSAL:
                return [*await self._unhealthy(entry), *await self.rehearse(entry)]
            case _:
                return await self._run(stage, entry)

    async def stop(self, stage: Stage, entry: JournalEntry) -> None:
        """End the hooks that run; a check ends by itself, and the loop does not wait for it."""
        if stage in HOOKS:
            await self._hooks.stop(stage, _name(entry))

    async def _ask(self, entry: JournalEntry | None) -> list[Blocker]:
        found: list[Blocker] = []
        if self._alerts is not None and self._alerts.name not in self._skip:
            found += await self._alerts.check(entry)
        if CHECKS not in self._skip:
            found += [Blocker(CHECKS, text) for text in await self._each(CHECK, entry)]
        return found

    async def _look(self, entry: JournalEntry | None) -> list[Blocker]:
        """Ask systemd first: while systemd names a problem, no program is run."""
        problems = await self._health.problems(entry.before) if entry else []
        problems = problems or await self._each(HEALTH, entry)
        return [Blocker(HEALTH, text) for text in problems]

    async def _unhealthy(self, entry: JournalEntry | None) -> list[Blocker]:
        found = await self._look(entry)
        return [Blocker(HEALTH, f"after it the machine would be unhealthy: {one.text}") for one in found]

    async def rehearse(self, entry: JournalEntry | None) -> list[Blocker]:
        """Run every hook that understands `--dry-run`, and name the others."""
        found: list[Blocker] = []
        name, environ = secrets.token_hex(4), {**_environment(entry), "LOCKSMITH_DRY_RUN": "1"}
        for stage in HOOKS:
            failed, left_out = await self._hooks.rehearse(stage, name, environ)
            found += [Blocker("hooks", text) for text in failed]
            found += [Blocker(UNREHEARSED, program) for program in left_out]
        return found

    async def _each(self, stage: str, entry: JournalEntry | None) -> list[str]:
        if not self._checks.of(stage):
            return []
        name = secrets.token_hex(4)
        try:
            return await self._checks.run(stage, name, _environment(entry), every=True)
        finally:
            self._checks.forget(stage, name)

    async def _run(self, stage: Stage, entry: JournalEntry | None) -> list[Blocker]:
        if entry is None:
            return []
        failed = await self._hooks.run(stage, _name(entry), _environment(entry))
        # A hook that has failed is tried again; a hook that was done stays done after a restart of the daemon.
        self._hooks.forget(stage, _name(entry))
        return [Blocker("hooks", text) for text in failed]


def _name(entry: JournalEntry) -> str:
    return entry.claim.nonce[:8]


def _environment(entry: JournalEntry | None) -> dict[str, str]:
    """Give the environment of programs (docs/hooks.md)."""
    root = {"LOCKSMITH_ROOT": os.environ["LOCKSMITH_ROOT"]} if "LOCKSMITH_ROOT" in os.environ else {}
    if entry is None:
        return root
    claim = entry.claim
    told = {
        "LOCKSMITH_GROUP": entry.group,
        "LOCKSMITH_MACHINE_ID": claim.holder,
        "LOCKSMITH_HOSTNAME": claim.hostname,
        "LOCKSMITH_VERSION": claim.version,
        "LOCKSMITH_REASON": claim.reason,
        "LOCKSMITH_WHO": claim.who,
        "LOCKSMITH_STRATEGY": entry.strategy,
    }
    # No variable can have a NUL in it, and a shell script may print them.
    return {**root, **{name: one_line(value) for name, value in told.items()}}

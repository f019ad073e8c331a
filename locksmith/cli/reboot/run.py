"""`locksmithctl reboot` and `run` on the real machine: its bus, its reboot journal, its lock."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from locksmith.agent.identity import Target
from locksmith.agent.strategy import Strategy
from locksmith.cli.busy import who_holds
from locksmith.cli.daemon_bus import no_daemon
from locksmith.cli.output import note
from locksmith.cli.reboot.claim import PROGRAM
from locksmith.cli.reboot.command import CommandSlot
from locksmith.cli.reboot.interrupt import unless_interrupted
from locksmith.cli.reboot.operator import OperatorReboot
from locksmith.cli.reboot.preparation import Preparation
from locksmith.cli.reboot.same_lock import SameLock
from locksmith.cli.reboot.wait import SKIPPABLE, QueueWait
from locksmith.cli.session import Session, new_claim
from locksmith.cli.wake import wake_daemon
from locksmith.config.model import Config
from locksmith.daemon.assembly import (
    make_gates,
    make_mark,
    make_stages,
    make_strategy,
    make_windows,
    silence_of,
    target_of,
)
from locksmith.errors import StoreUnavailableError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.host.clock import local_clock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.journal import JournalFile
from locksmith.host.machine import RealMachine
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.sessions import Sessions
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records.claim import COMMAND, REBOOT, Claim

LOCK = "etcd-lock"
ASK_NOBODY = {"reboot", "off"}
"""Strategies of a daemon that needs no lock. An operator's reboot takes the lock, as CoreOS locksmith does."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator wants: why, at any time or in the window, and without which gates."""

    reason: str
    now: bool = False
    skip: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """Say it for the record, with what was skipped."""
        skipped = [*(["window"] if self.now else []), *sorted(self.skip)]
        without = f" (skipped: {', '.join(skipped)})" if skipped else ""
        return f"{self.reason or 'locksmithctl reboot'}{without}"


async def order_reboot(session: Session, wanted: Wanted, queue_wait: QueueWait) -> None:
    """Reboot this machine. SIGTERM and the end of the terminal cancel it like Ctrl-C, while that is possible."""
    try:
        await unless_interrupted(_reboot(session, wanted, queue_wait))
    except StoreUnavailableError as error:
        raise StoreUnavailableError(f"not rebooting: {error}; `systemctl reboot` reboots without the lock") from None


async def run_command(session: Session, command: Sequence[str], reason: str, queue_wait: QueueWait) -> int:
    """Run a command while this machine holds a slot, and give its exit status; SIGTERM ends the wait like Ctrl-C."""
    return await unless_interrupted(_run(session, command, reason, queue_wait))


async def _reboot(session: Session, wanted: Wanted, queue_wait: QueueWait) -> None:
    claim = new_claim(session.machine_id, REBOOT, wanted.words)
    async with _parts(session, claim, wanted, queue_wait) as parts:
        wake = partial(wake_daemon, session.paths)
        order = OperatorReboot(*parts.common, beat=parts.lock.beat, wake=wake, daemon_yields=parts.daemon)
        await order.run(_target(session.config), claim)


OF_REBOOTS = frozenset(SKIPPABLE) - {"sessions"}
"""The gates that are not asked for a command. Users are told only if an earlier reboot, of which they know, is off."""


async def _run(session: Session, command: Sequence[str], reason: str, queue_wait: QueueWait) -> int:
    # Arguments may be secrets, and every machine of the group reads the claim.
    claim = new_claim(session.machine_id, COMMAND, reason or Path(command[0]).name)
    async with _parts(session, claim, Wanted(reason, now=True, skip=OF_REBOOTS), queue_wait) as parts:
        slot = CommandSlot(
            *parts.common,
            await_no_beats=parts.await_no_beats,
            wake=partial(wake_daemon, session.paths),
            daemon_yields=parts.daemon,
        )
        return await slot.run(_target(session.config), claim, command)


class Common(NamedTuple):
    """What a reboot and a command need alike (claim.py says what each is for)."""

    machine: RealMachine
    journal: JournalFile
    strategy: Callable[[Target], Strategy]
    settle: float
    say: Callable[[str], None]
    queue_wait: QueueWait
    preparation: Preparation


@dataclass(frozen=True, slots=True)
class Parts:
    """This machine's parts, for one claim of this program."""

    common: Common
    lock: OperatorLock
    beating: asyncio.Future[None]
    daemon: bool
    """Whether a locksmithd runs."""

    def await_no_beats(self) -> int:
        """End the heartbeats, and give the descriptor that keeps the lock."""
        self.beating.cancel()
        return self.lock.await_no_beats()


@asynccontextmanager
async def _parts(session: Session, claim: Claim, wanted: Wanted, queue_wait: QueueWait) -> AsyncIterator[Parts]:
    config, target = session.config, _target(session.config)
    async with AsyncExitStack() as stack:
        lock, mark = OperatorLock(session.paths), make_mark(config, session.paths)
        stack.enter_context(lock.held())
        beating = asyncio.ensure_future(lock.keep_beating())
        stack.callback(beating.cancel)
        daemon = wake_daemon(session.paths)
        if target.strategy == LOCK:
            # A store that does not answer is found here, where nothing has to be released yet.
            await session.use_admin(LockAdmin.read, config.store)

        def asking(is_of: Callable[[int, Sequence[str]], bool]) -> None:
            journal.asking(is_of)  # it is made below

        @cache
        def strategy(of: Target) -> Strategy:
            made = make_strategy(config, of, session.paths, mark=mark, asking=asking)
            stack.push_async_callback(made.close)
            return made

        bus = await stack.enter_async_context(SystemBus())
        if not daemon:
            note(f"Warning: {await no_daemon(bus)}. Until it runs, no program releases the slot of a reboot")
        machine = RealMachine(bus, session.paths)
        silent = silence_of(target.strategy, mark)
        journal = JournalFile(session.paths, claim.holder, by=PROGRAM, cluster=mark.cluster_of, silent=silent)
        mark.asks = lambda: journal.asking(mark.is_of)
        windows = make_windows(config, mark=mark)
        stack.push_async_callback(windows.close)
        preparation = Preparation(
            journal=journal,
            clock=local_clock(),
            say=note,
            windows=None if wanted.now else windows,
            least=config.window.least,
            gates=[
                SameLock(config, bus, session.paths),
                *make_gates(config, machine, bus, Inhibitors(bus), wanted.skip),
            ],
            stages=make_stages(config, session.paths, bus, wanted.skip),
            users=None if "sessions" in wanted.skip else Sessions(bus, config.sessions, session.paths, own=os.getpid()),
            grace=config.grace,
            limit=config.sessions_limit,
        )
        told = replace(queue_wait, who_holds=partial(_who_holds, session)) if target.strategy == LOCK else queue_wait
        settle = config.reboot.settle.total_seconds()
        yield Parts(Common(machine, journal, strategy, settle, note, told, preparation), lock, beating, daemon)


async def _who_holds(session: Session) -> str:
    return await session.use_store(lambda store: who_holds(store, session.config.group), session.config.store)


def _target(config: Config) -> Target:
    return target_of(replace(config, strategy=LOCK) if config.strategy in ASK_NOBODY else config)

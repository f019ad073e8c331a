"""`locksmithctl reboot` on the real machine: its bus, its reboot journal, its lock."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache

from locksmith.agent.identity import Target
from locksmith.agent.strategy import Strategy
from locksmith.cli.output import note
from locksmith.cli.reboot.interrupt import unless_interrupted
from locksmith.cli.reboot.operator import PROGRAM, OperatorReboot
from locksmith.cli.reboot.preparation import Preparation
from locksmith.cli.reboot.same_lock import SameLock
from locksmith.cli.reboot.wait import QueueWait
from locksmith.cli.session import Session, new_claim
from locksmith.cli.wake import wake_daemon
from locksmith.config.model import Config
from locksmith.daemon.assembly import make_gates, make_mark, make_stages, make_strategy, make_windows
from locksmith.errors import StoreUnavailableError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.host.clock import local_clock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.journal import JournalFile
from locksmith.host.machine import RealMachine
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.sessions import Sessions
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records.claim import REBOOT

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


async def _reboot(session: Session, wanted: Wanted, queue_wait: QueueWait) -> None:
    config, target = session.config, _target(session.config)
    claim = new_claim(session.machine_id, REBOOT, wanted.words)
    async with AsyncExitStack() as stack:
        lock, mark = OperatorLock(session.paths), make_mark(config, session.paths)
        stack.enter_context(lock.held())
        stack.callback(asyncio.ensure_future(lock.keep_beating()).cancel)
        daemon = wake_daemon(session.paths)
        if target.strategy == LOCK:
            # A store that does not answer is found here, where nothing has to be released yet.
            await session.use_admin(LockAdmin.read, config.store)

        @cache
        def strategy(of: Target) -> Strategy:
            made = make_strategy(config, of, session.paths, mark=mark)
            stack.push_async_callback(made.close)
            return made

        bus = await stack.enter_async_context(SystemBus())
        machine = RealMachine(bus, session.paths)
        journal = JournalFile(session.paths, claim.holder, by=PROGRAM, cluster=mark.cluster_of)
        settle = config.reboot.settle.total_seconds()
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
        order = OperatorReboot(
            machine, journal, strategy, settle, note, queue_wait, preparation, beat=lock.beat, daemon_yields=daemon
        )
        await order.run(target, claim)


def _target(config: Config) -> Target:
    strategy = LOCK if config.strategy in ASK_NOBODY else config.strategy
    return Target(strategy, config.group, config.store.api, config.store.endpoints)

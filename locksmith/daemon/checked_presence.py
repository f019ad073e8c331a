"""The presence of an idle machine, with a check whether the store went back in time.

Without the check an idle machine would detect a restored backup only at its next take. By then the store may have
passed all revisions that this machine has seen.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from locksmith.agent.ports import Presence
from locksmith.daemon.group_sight import GroupSight
from locksmith.daemon.store_check import check
from locksmith.errors import StoreError
from locksmith.lock.admission import Watermark
from locksmith.lock.group_size import GroupSize
from locksmith.lock.membership import Membership
from locksmith.lock.records import states
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import OTHER_CLUSTER, RESTORED
from locksmith.store.protocol import Store

CHECK_AFTER = 300.0
"""Seconds between two checks: two requests."""
RESUME_AFTER = 60.0
"""The same while the store is not believed: after so long an idle machine hears of a `resume`."""
HOLD_OFF = 20.0
"""Seconds after a check that failed before the next, and after the first, if slots are held."""

log = logging.getLogger(__name__)


class CheckedPresence:
    """The presence of one machine, with a check of the store's history now and then; it shows the verdict.

    With its presence it also counts the machines of its group, if the time has come. The membership follows it. What it
    checks also tells `sight` about the group, in the same request.
    """

    def __init__(
        self,
        presence: Presence,
        store: Store,
        group: str,
        mark: Watermark,
        size: GroupSize | None = None,
        *,
        sight: GroupSight | None = None,
        membership: Membership | None = None,
    ) -> None:
        self._presence = presence
        self._store = store
        self._group = group
        self._mark = mark
        self._size = size
        self._sight = sight
        self._membership = membership
        self._next = float("-inf")

    @property
    def clone(self) -> str:
        """Name another machine that was seen with this machine's id."""
        return self._presence.clone

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when news that were put off are to be shown."""
        self._presence.listen(wake)

    @property
    def machines(self) -> int:
        """How many machines the group has, as last counted; 0: that is not known."""
        return self._size.machines if self._size else 0

    async def show(self, now: Node) -> None:
        """Show the state of this machine, then check the store if it is time; a new verdict is shown too.

        The presence comes first: a full etcd refuses the check, and still accepts keep-alives.
        """
        before = self._mark.verdict, self._mark.split
        await self._presence.show(self._told(now))
        if self._membership is not None:
            await self._membership.follow()
        await self._check_in_time()
        if (self._mark.verdict, self._mark.split) != before:
            await self._presence.show(self._told(now))
        if self._size is not None:
            await self._size.count_in_time()

    async def confirm(self, now: Node, longer: float) -> None:
        """Write that this machine goes down."""
        await self._presence.confirm(now, longer)

    async def leave(self) -> None:
        """End the presence of this machine, whose daemon stops and holds nothing; its group remembers it."""
        await asyncio.gather(self._presence.leave(), *([self._membership.leave()] if self._membership else []))

    async def close(self) -> None:
        """Let go of the store."""
        await self._presence.close()

    async def _check_in_time(self) -> None:
        time = asyncio.get_running_loop().time()
        if time < self._next:
            return
        self._next = time + HOLD_OFF
        try:
            await check(self._store, self._group, self._mark, self._sight)
        except StoreError as error:
            log.debug("the store is not compared with what this machine has seen of it: %s", error)
        else:
            again = RESUME_AFTER if self._mark.verdict else CHECK_AFTER
            self._next = time + (HOLD_OFF if self._sight is not None and self._sight.hurries else again)
            if self._membership is not None and not self._mark.verdict:
                await self._membership.observe(self.machines)

    def _told(self, now: Node) -> Node:
        code, reason = (RESTORED, self._mark.verdict) if self._mark.verdict else (OTHER_CLUSTER, self._mark.split)
        if not reason or now.state not in {states.IDLE, states.WAITING}:
            return now
        return replace(now, code=code, reason=reason, until=None)

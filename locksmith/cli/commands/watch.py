"""`--watch`: a live view that follows etcd by watch, and goes on by itself when etcd was away."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import click

from locksmith.cli.commands.nodes_view import layout, summary
from locksmith.cli.go_flags import GoOption
from locksmith.cli.output import print_json, say
from locksmith.cli.painted import painted, steers
from locksmith.cli.session import Session
from locksmith.errors import StoreError, UsageError
from locksmith.fleet.fields import view_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import holder_statuses
from locksmith.fleet.phrases import how_words
from locksmith.fleet.reader import read_group
from locksmith.fleet.rollout import Rollout
from locksmith.lock.records import keys
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.text import one_line
from locksmith.util.words import clock, span

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

READ_AGAIN = 30.0
"""Seconds after which everything is read again, also if the watch is silent: a frozen member is silent too."""
RETRY = 2.0
"""Seconds between two tries while etcd is away."""
CALM = 0.2
"""Seconds between two reads at least: a burst of changes is one picture."""
RESTS = 5
"""How many times as long as a read took it rests after it: a large fleet is large for etcd too."""
TICK = 1.0
"""Seconds between two pictures of the same view: how long something lasts is in it."""
MOST_WAITERS = 10

watch_option = click.option(
    "--watch", "watches", cls=GoOption, is_flag=True, help="Go on showing it as it changes, until Ctrl-C."
)


@dataclass
class Seen:
    """The last view, what the rollout was up to then, and since when etcd is away."""

    view: GroupView
    rollout: Rollout = field(default_factory=Rollout)
    away: str = ""
    away_since: datetime | None = None


def watch(session: Session, *, as_json: bool, everything: bool, ids: bool = False) -> None:
    """Show a group as it changes: in place if the terminal can, else a block or an object of JSON for each change."""
    session.load()
    if as_json:
        boottime.run(_plain(session, _print_object))
    elif steers(sys.stdout):
        boottime.run(_live(session, everything=everything, ids=ids))
    else:
        boottime.run(_plain(session, lambda seen: _print_block(seen, everything=everything, ids=ids)))


async def _plain(session: Session, show: Callable[[Seen], None]) -> None:
    def told(seen: Seen) -> None:
        show(seen)
        sys.stdout.flush()

    await session.use_store(lambda store: _follow(store, session.config.group, told), session.config.store)


async def _live(session: Session, *, everything: bool, ids: bool) -> None:
    try:
        from rich.live import Live
    except ImportError:
        raise UsageError("a live view needs rich: pip install 'locksmith[tool]', or pipe it: | cat") from None

    with Live(auto_refresh=False) as live:
        last: list[Seen] = []

        def show(seen: Seen) -> None:
            last[:] = [seen]
            live.update(_picture(seen, live.console, everything=everything, ids=ids), refresh=True)

        async def tick() -> None:
            while True:
                await asyncio.sleep(TICK)
                for seen in last:
                    show(seen)

        ticking = asyncio.ensure_future(tick())
        try:
            await session.use_store(lambda store: _follow(store, session.config.group, show), session.config.store)
        finally:
            ticking.cancel()


async def _follow(store: Store, group: str, show: Callable[[Seen], None]) -> None:
    """Read and show at each change, for ever. At the beginning etcd has to be there; afterwards it is waited for."""
    seen = Seen(await read_group(store, group))
    while True:
        seen.rollout.observe(seen.view, _now())
        show(seen)
        took = await _changed(store, seen, show)
        await asyncio.sleep(max(CALM, RESTS * took))


async def _changed(store: Store, seen: Seen, show: Callable[[Seen], None]) -> float:
    """Wait until there is something new, read it, and tell how long that took, in seconds."""
    passed = asyncio.get_running_loop().time
    prefix = keys.group_prefix(seen.view.group)
    while True:
        try:
            await store.wait(prefix, seen.view.revision, prefix=True, limit=READ_AGAIN)
            began = passed()
            view = await read_group(store, seen.view.group)
        except StoreError as error:
            if not seen.away:
                seen.away_since = _now()
            seen.away = str(error)
            show(seen)
            await asyncio.sleep(RETRY)
            continue
        news = bool(seen.away) or view != seen.view
        seen.view, seen.away = view, ""
        if news:
            return passed() - began


def _print_object(seen: Seen) -> None:
    print_json({**view_fields(seen.view, _now()), "stale": seen.away or None})


def _print_block(seen: Seen, *, everything: bool, ids: bool) -> None:
    from locksmith.cli.table import width

    now = _now()
    lines = layout(seen.view, now, width(), ids=ids) if everything else _lines(seen, now)
    say(f"{now:%H:%M:%S} {summary(seen.view, now)}{_stale(seen, now)}", *lines, "")


def _lines(seen: Seen, now: datetime) -> list[str]:
    return [_progress(seen.rollout), *_slots(seen.view, now), *_waiting(seen.view, now)]


def _progress(rollout: Rollout) -> str:
    times = "; ".join(f"{one.name} {span(one.took)}" for one in rollout.last[-3:])
    return one_line(f"done: {len(rollout.done)} of {len(rollout.wanted)}{f' (last: {times})' if times else ''}")


def _slots(view: GroupView, now: datetime) -> list[str]:
    return [
        one_line(f"slot {number}: {one.name}, {how_words(one, now)}{f', {span(now - one.since)}' if one.since else ''}")
        for number, one in enumerate(holder_statuses(view), 1)
    ]


def _waiting(view: GroupView, now: datetime) -> list[str]:
    shown = [
        one_line(f"{place:>4}. {waiter.name}, for {span(now - waiter.since)}")
        for place, waiter in enumerate(view.waiters[:MOST_WAITERS], 1)
    ]
    more = len(view.waiters) - len(shown)
    return [*shown, *([f"      and {more} more queued"] if more else [])]


def _stale(seen: Seen, now: datetime) -> str:
    since = f" since {clock(seen.away_since, now)}" if seen.away_since else ""
    return one_line(f" [as it was{since}: {seen.away}]") if seen.away else ""


def _picture(seen: Seen, console: "Console", *, everything: bool, ids: bool) -> "RenderableType":
    """Draw the terminal's picture, no higher than that."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    now = _now()
    lines = layout(seen.view, now, console.width, ids=ids) if everything else _lines(seen, now)[1:]
    room = max(3, console.height - 5)
    cut = [*lines[: room - 1], f"... {len(lines) - room + 1} lines more"] if len(lines) > room else lines
    parts: list[RenderableType] = [
        Text(painted(summary(seen.view, now)), style="bold", overflow="ellipsis", no_wrap=True)
    ]
    if seen.away:
        parts.append(Text(_stale(seen, now).strip(), style="red"))
    if seen.rollout.wanted:
        bar = ProgressBar(
            total=len(seen.rollout.wanted), completed=len(seen.rollout.done), width=min(60, console.width)
        )
        parts += [Padding(bar, 0), Text(_progress(seen.rollout), overflow="ellipsis", no_wrap=True)]
    parts.append(Text.from_ansi("\n".join(map(painted, cut)), overflow="ellipsis", no_wrap=True))
    return Group(*parts)


def _now() -> datetime:
    return datetime.now().astimezone()

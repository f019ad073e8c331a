"""`simulate`: what a rollout will do, from a plan or from the fleet as it is."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.errors import LocksmithError, UsageError
from locksmith.fleet import moment
from locksmith.forecast.answer import Answer, forecast
from locksmith.forecast.picture import svg
from locksmith.forecast.plan import RolloutPlan, parse_plan
from locksmith.forecast.spread import Spread
from locksmith.host.clock import local_zone
from locksmith.why import group_name
from locksmith.words import span

if TYPE_CHECKING:
    from locksmith.history import Event


@click.command(cls=GoCommand)
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from-etcd", cls=GoOption, is_flag=True, help="Take the fleet as it is: all its groups, as they stand.")
@click.option(
    "--reboot", "takes", cls=GoOption, default="3m", help="How long a reboot takes, where no history says it."
)
@click.option("--runs", cls=GoOption, type=click.IntRange(1, 1000), default=20, help="How often to play it.")
@click.option("--seed", cls=GoOption, type=int, default=1, help="Another one is another chance.")
@click.option(
    "--plot", cls=GoOption, type=click.Path(dir_okay=False, path_type=Path), help="Draw it, into an .svg file."
)
@json_flag
@pass_session
def simulate(
    session: Session,
    *,
    plan: Path | None,
    from_etcd: bool,
    takes: str,
    runs: int,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Say when a rollout will be done, how many windows it takes, and what limits it.

    PLAN is a TOML file with groups, machines, slots, windows, and how long a reboot takes; docs/simulate.md has an
    example. With --from-etcd it is the fleet as it is, and every machine of it is to reboot.
    """
    if (plan is None) != from_etcd:
        raise UsageError("say either a PLAN or --from-etcd")
    if plot is not None and plot.suffix != ".svg":
        raise UsageError(f"--plot draws an .svg file, not {plot.name}")
    rollout = _read(plan) if plan is not None else _from_etcd(session, takes)
    with _progress(runs * len(rollout.groups)) as told:
        answer = forecast(rollout, runs, seed, told, keep=plot is not None)
    if plot is not None:
        _save(plot, svg(answer, rollout.start.tzinfo))
    if as_json:
        print_json(_fields(answer, runs))
        return
    click.echo("\n".join(_lines(answer, runs)))


def _read(path: Path) -> RolloutPlan:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {why}") from None
    try:
        return parse_plan(text, datetime.now(local_zone()).replace(microsecond=0))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _from_etcd(session: Session, takes: str) -> RolloutPlan:
    from locksmith.forecast.fleet_plan import group_plan
    from locksmith.forecast.plan import GroupPlan
    from locksmith.group_reader import list_groups, read_group
    from locksmith.history import MOST, History
    from locksmith.kv.store import Store

    try:
        reboot = Spread.parse(takes)
    except ValueError as error:
        raise UsageError(f"--reboot: {error}") from None

    async def read(store: Store) -> list[GroupPlan]:
        found = []
        for name in await list_groups(store):
            try:
                view = await read_group(store, name)
            except LocksmithError as error:
                note(f"{group_name(name)} is left out: {error}")
                continue
            events = await History(store, name).read(MOST)
            plan = group_plan(view, [took for event in events if (took := _took(event)) is not None], reboot)
            found += [plan] if plan is not None else []
        return found

    groups = session.with_store(read)
    if not groups:
        raise UsageError("no machine shows itself in etcd: write a plan instead")
    return RolloutPlan(datetime.now(local_zone()).replace(microsecond=0), tuple(groups))


def _took(event: "Event") -> float | None:
    """Give for how many seconds a slot was held for a reboot that came to its end."""
    from locksmith.history import HELD, REBOOTED

    if event.act != HELD or event.detail != REBOOTED or event.taken is None:
        return None
    return max(0.0, (event.at - event.taken).total_seconds())


@contextlib.contextmanager
def _progress(steps: int) -> Iterator[Callable[[], None]]:
    """Show how far it is, on a terminal that has `rich` (the extra `tool`)."""
    with contextlib.ExitStack() as stack:
        told: Callable[[], None] = lambda: None  # noqa: E731 - where nobody looks
        if sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from rich.console import Console
                from rich.progress import Progress

                bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
                task = bar.add_task("playing the rollout", total=steps)
                told = lambda: bar.advance(task)  # noqa: E731 - as above
        yield told


def _save(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    note(f"drawn into {path}")


def _lines(answer: Answer, runs: int) -> list[str]:
    rows = [
        Row(
            (
                group.plan.name,
                f"{group.plan.machines:,}",
                f"{group.plan.slots:,}",
                "always" if group.plan.windows is None else f"{group.openings:.0f}",
                f"{group.most:,}",
                _when(group.p50, answer),
                _when(group.p95, answer),
            )
        )
        for group in answer.groups
    ]
    head = ("GROUP", "MACHINES", "SLOTS", "WINDOWS", "MOST", "DONE (P50)", "DONE (P95)")
    whole = timedelta(seconds=answer.p50 - answer.plan.start.timestamp())
    return [
        *table(head, rows, width()),
        "",
        f"all done by {_when(answer.p50, answer)} in half of {runs} runs ({span(whole)})",
        f"       and by {_when(answer.p95, answer)} in 95 of 100",
        *_limits(answer),
    ]


def _limits(answer: Answer) -> list[str]:
    name = answer.last.plan.name
    if not answer.savings:
        return [f"group {name} ends last; nothing tried would save much: its reboots take that long"]
    saved = [f"{one.change} would save {span(timedelta(seconds=one.seconds))}" for one in answer.savings]
    return [f"group {name} ends last: {'; '.join(saved)}"]


def _when(at: float, answer: Answer) -> str:
    return f"{datetime.fromtimestamp(at, answer.plan.start.tzinfo):%Y-%m-%d %H:%M}"


def _fields(answer: Answer, runs: int) -> dict[str, object]:
    def at(seconds: float) -> str:
        return moment(datetime.fromtimestamp(seconds, answer.plan.start.tzinfo))

    return {
        "start": moment(answer.plan.start),
        "runs": runs,
        "p50": at(answer.p50),
        "p95": at(answer.p95),
        "p50_seconds": answer.p50 - answer.plan.start.timestamp(),
        "groups": [
            {
                "name": group.plan.name,
                "machines": group.plan.machines,
                "slots": group.plan.slots,
                "windows": None if group.plan.windows is None else group.openings,
                "most": group.most,
                "failed": group.failed,
                "p50": at(group.p50),
                "p95": at(group.p95),
                "p50_seconds": group.p50 - answer.plan.start.timestamp(),
            }
            for group in answer.groups
        ],
        "last": answer.last.plan.name,
        "savings": [{"change": one.change, "seconds": one.seconds} for one in answer.savings],
    }

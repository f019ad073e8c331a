"""`simulate`: what a rollout will do, from a plan or from the fleet as it is."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from locksmith.cli.commands.simulate_view import lines
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.progress_bar import progress
from locksmith.cli.session import Session, pass_session
from locksmith.errors import LocksmithError, UsageError
from locksmith.fleet.forecast.advice import advise
from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.fields import fields
from locksmith.fleet.forecast.picture import draw
from locksmith.fleet.forecast.plan import RolloutPlan, parse_plan
from locksmith.fleet.forecast.spread import Spread
from locksmith.fleet.phrases import group_name
from locksmith.host.clock import local_zone
from locksmith.util.commands import with_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from locksmith.fleet.forecast.drawing import Drawing


@click.command(cls=GoCommand)
@click.argument("plan", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from-etcd", cls=GoOption, is_flag=True, help="Take the fleet as it is: all its groups, as they stand.")
@click.option(
    "--reboot", "takes", cls=GoOption, default="3m", help="How long a reboot takes, where no history says it."
)
@click.option("--runs", cls=GoOption, type=click.IntRange(1, 1000), default=20, help="How often to play it.")
@click.option("--seed", cls=GoOption, type=int, default=1, help="Another one is another chance.")
@click.option(
    "--plot",
    cls=GoOption,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw it, into an .svg or a .png file.",
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
    render = _renderer(plot) if plot is not None else None
    rollout = _read(plan) if plan is not None else _from_etcd(session, takes)
    with progress() as told:
        answer = forecast(rollout, runs, seed, told)
        advice = advise(answer, told)
    if plot is not None and render is not None:
        _save(plot, render(draw(answer, answer.drawn())))
    if as_json:
        print_json(fields(answer, advice))
    else:
        say_all(lines(answer, advice))


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
    from locksmith.fleet.forecast.fleet_plan import group_plan, times_seen
    from locksmith.fleet.forecast.plan import GroupPlan
    from locksmith.fleet.reader import list_groups, read_group
    from locksmith.lock.history import MOST, History
    from locksmith.store.protocol import Store

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
                note(f"{group_name(name)} is left out: {with_group(str(error), name)}")
                continue
            events = await History(store, name).read(MOST)
            plan = group_plan(view, times_seen(events), reboot)
            found += [plan] if plan is not None else []
        return found

    groups = session.with_store(read)
    if not groups:
        raise UsageError("no machine shows itself in etcd: write a plan instead")
    return RolloutPlan(datetime.now(local_zone()).replace(microsecond=0), tuple(groups))


def _renderer(path: Path) -> "Callable[[Drawing], bytes]":
    """Give what draws into such a file, before anything else is done: a typo ends the program before the long run."""
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    match path.suffix.lower():
        case ".svg":
            from locksmith.fleet.forecast.svg import svg

            return lambda drawing: svg(drawing).encode()
        case ".png":
            from locksmith.cli.png import png

            return png
    raise UsageError(f"--plot draws an .svg or a .png, not {path.name}")


def _save(path: Path, drawn: bytes) -> None:
    try:
        path.write_bytes(drawn)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    note(f"drawn into {path}")

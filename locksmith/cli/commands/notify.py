"""`notify`: the targets of locksmith-server's notifications, and a test message to each."""

import asyncio
import os
from typing import TYPE_CHECKING

import click

from locksmith.cli import complete
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import fail, json_flag, print_json, say
from locksmith.cli.run import FAILED
from locksmith.cli.session import Session, invoking_user, pass_session
from locksmith.fleet.phrases import group_name
from locksmith.host.hostname import read_hostname
from locksmith.util import boottime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locksmith.config.notify_model import NotifySettings, Target
    from locksmith.lock.records.notice import Notice

TEST = "test"
"""The event of a test message, which no other message has."""


@click.command(cls=GoCommand)
@click.option("--test", "is_test", cls=GoOption, is_flag=True, help="Send a test message to each target.")
@click.argument(
    "target",
    required=False,
    callback=not_empty("TARGET", "name a target, or leave it out for all"),
    shell_complete=complete.targets,
)
@json_flag
@pass_session
def notify(session: Session, *, is_test: bool, target: str | None, as_json: bool) -> int:
    """Show where locksmith-server sends notifications, or test it.

    Run it on the machine of locksmith-server, as root: it reads that server's configuration, and no etcd.
    """
    from locksmith.config.load import load_notify
    from locksmith.config.notify import chosen

    settings = load_notify(session.paths, os.environ).notify
    targets = chosen(settings, target or "")
    if not is_test:
        _show(targets, as_json=as_json)
        return 0

    from locksmith.server.delivery import refuse_missing_library

    refuse_missing_library()
    problems = boottime.run(_send(targets, settings, _message(session)))
    if as_json:
        tried = [
            {"name": one.name, "sent": not why, "problem": why} for one, why in zip(targets, problems, strict=True)
        ]
        print_json({"targets": tried})
    else:
        for one, why in zip(targets, problems, strict=True):
            if why:
                fail(f"{one.name}: {why}")
            else:
                say(f"{one.name}: the test message was sent")
    return FAILED if any(problems) else 0


def _show(targets: "Sequence[Target]", *, as_json: bool) -> None:
    if as_json:
        shown = [
            {
                "name": one.name,
                "url_file": str(one.url_file),
                "events": list(one.events),
                "groups": None if one.groups is None else list(one.groups),
            }
            for one in targets
        ]
        print_json({"targets": shown})
        return
    for one in targets:
        groups = "all groups" if one.groups is None else ", ".join(map(group_name, one.groups))
        say(f"{one.name}: {', '.join(one.events)}; of {groups}; its URL is in {one.url_file}")


def _message(session: Session) -> "Notice":
    from locksmith.host.clock import local_clock
    from locksmith.lock.records.notice import Notice, digest

    now = local_clock()()
    host = read_hostname(session.paths)
    return Notice(
        f"{TEST}-{digest(host, now.isoformat())}",
        TEST,
        "",
        now,
        "a test message",
        f"This is a test message, sent by {invoking_user()} on {host}. Nothing has happened.",
    )


async def _send(targets: "Sequence[Target]", settings: "NotifySettings", told: "Notice") -> list[str]:
    """Send a message to all targets at once, and give what went wrong with each; empty: nothing."""
    from locksmith.server.delivery import Delivery, DeliveryError

    async def sent(target: "Target") -> str:
        try:
            await Delivery(target, settings.templates).send(told)
        except DeliveryError as error:
            return str(error)
        return ""

    return await asyncio.gather(*map(sent, targets))

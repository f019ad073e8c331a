"""`reboot`, `send-need-reboot` and `cancel`: this machine, over its system bus.

What speaks D-Bus is imported where it runs: the list of all commands, and its completion, need none of it.
"""

import os

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.reboot.wait import SKIPPABLE, timeout_option, wait_option
from locksmith.cli.reboot.wait import queue_wait as read_queue_wait
from locksmith.cli.rehearsing import IN_EARNEST, note_dry_run
from locksmith.cli.session import Session, pass_session
from locksmith.cli.wake import wake_daemon
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.util import boottime


@click.command(cls=GoCommand)
@click.option("--reason", cls=GoOption, default="", help="Why, for people who find the slot taken.")
@click.option("--now", cls=GoOption, is_flag=True, help="At any time: do not ask for the window.")
@click.option(
    "--skip-gate",
    "skip",
    cls=GoOption,
    multiple=True,
    type=click.Choice(SKIPPABLE),
    help="Leave a gate out, which is recorded; repeated, several.",
)
@wait_option
@timeout_option
@json_flag
@pass_session
def reboot(
    session: Session,
    *,
    reason: str,
    now: bool,
    skip: tuple[str, ...],
    waits: bool,
    timeout: str | None,
    as_json: bool,
) -> None:
    """Reboot this machine, holding the lock, through the same gates, queue and hooks as for an update.

    If something blocks the reboot, the command ends, or waits with --wait and says what it waits for. Nothing skips the
    lock. If the reboot fails, the command releases the slot. Otherwise locksmithd releases it after the reboot, when
    the machine is healthy. Needs root.
    """
    from locksmith.cli.reboot.run import Wanted, order_reboot

    queue_wait = read_queue_wait(note, waits=waits, timeout=timeout)
    if os.geteuid() != 0 and session.paths == Paths():
        raise HostError("a reboot needs root: run `sudo locksmithctl reboot`")
    session.own_config()
    note_dry_run(session, IN_EARNEST)
    try:
        boottime.run(order_reboot(session, Wanted(reason, now, frozenset(skip)), queue_wait))
    finally:
        wake_daemon(session.paths)
    if as_json:
        print_json({"group": session.config.group, "id": session.machine_id, "rebooting": True})


@click.command("send-need-reboot", cls=GoCommand)
@json_flag
@pass_session
def send_need_reboot(session: Session, *, as_json: bool) -> None:
    """Tell this machine's locksmithd that a reboot is needed, as update_engine would.

    Root may do it, and users whom polkit allows org.locksmith1.manage.
    """
    from locksmith.cli.request import request_over_bus, send_request

    if os.geteuid() == 0:
        noted = boottime.run(send_request(session.paths))
    else:
        boottime.run(request_over_bus(session.paths, "locksmithctl send-need-reboot"))
        noted = True
    if as_json:
        print_json({"sent": True, "noted": noted})
    elif not noted:
        note("sent, but no locksmithd has noted it: is it running, and are you root?")


@click.command(cls=GoCommand)
@click.option("--reason", cls=GoOption, required=True, help="Why, for people who ask the machine.")
@json_flag
@pass_session
def request(session: Session, *, reason: str, as_json: bool) -> None:
    """Ask for a reboot of this machine, for scripts and units: through the same gates and queue as for an update.

    It stays until the machine has rebooted, or until `cancel`; locksmithd need not run yet. Root may do it, and users
    whom polkit allows org.locksmith1.manage.
    """
    from locksmith.cli.request import keep_request, request_over_bus

    if os.geteuid() == 0:
        boottime.run(keep_request(session.paths, reason))
        running = wake_daemon(session.paths)
    else:
        boottime.run(request_over_bus(session.paths, reason))
        running = True
    if as_json:
        print_json({"requested": True, "running": running})
        return
    say("requested: `locksmithctl why` says what the reboot waits for, `locksmithctl cancel` removes the request")
    if not running:
        note("locksmithd does not run on this machine: it sees the request when it starts")
    note_dry_run(session)


@click.command(cls=GoCommand)
@json_flag
@pass_session
def cancel(session: Session, *, as_json: bool) -> None:
    """Remove a `request` or `send-need-reboot`. Past the point of no return it is too late, which is an error."""
    from locksmith.cli.request import cancel_over_bus, cancel_request, engine_wants

    if os.geteuid() == 0:
        cancelled = cancel_request(session.paths, session.machine_id)
        wake_daemon(session.paths)
    else:
        cancelled = boottime.run(cancel_over_bus(session.paths))
    engine = boottime.run(engine_wants())
    if as_json:
        print_json({"cancelled": cancelled, "update_engine": engine})
        return
    say("cancelled: the request for a reboot is removed" if cancelled else "nothing to cancel")
    if engine is not None:
        note(
            f"update_engine itself needs a reboot{f' into {engine}' if engine else ''}; to remove that need, run: "
            "update_engine_client -reset_status"
        )


@click.command(cls=GoCommand)
@json_flag
@pass_session
def recheck(session: Session, *, as_json: bool) -> None:
    """Have this machine's locksmithd check everything now, and try again after reboots that failed too often."""
    from locksmith.cli.request import recheck_over_bus

    note_dry_run(session)
    local = boottime.run(recheck_over_bus(session.paths))
    if as_json:
        print_json({"state": local.state, "code": local.code, "reason": local.reason})
    else:
        words = f": {local.reason}" if local.reason else ""
        say(f"locksmithd checks everything now; it was {local.state}{words}")

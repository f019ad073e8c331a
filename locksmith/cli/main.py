"""`locksmithctl`: the group of its commands, each loaded when it is called."""

import atexit
import gc
import importlib
import logging
from collections.abc import Mapping
from typing import Any

import click

from locksmith.cli.complete import keep_quiet
from locksmith.cli.go_flags import GoCommand, GoGroup, store_flags, version_flag
from locksmith.cli.output import say_own
from locksmith.cli.pasted import use_flags
from locksmith.cli.run import run
from locksmith.cli.session import Session
from locksmith.cli.shells import register
from locksmith.host.paths import Paths
from locksmith.util.words import did_you_mean, nearest

PROGRAM = "locksmithctl"

COMMANDS: Mapping[str, str] = {
    "status": "locksmith.cli.commands.status:status",
    "why": "locksmith.cli.commands.why:why",
    "nodes": "locksmith.cli.commands.nodes:nodes",
    "groups": "locksmith.cli.commands.groups:groups",
    "lock": "locksmith.cli.commands.lock:lock",
    "unlock": "locksmith.cli.commands.lock:unlock",
    "set-max": "locksmith.cli.commands.set_max:set_max",
    "freeze": "locksmith.cli.commands.freeze:freeze",
    "thaw": "locksmith.cli.commands.freeze:thaw",
    "hold": "locksmith.cli.commands.freeze:hold",
    "unhold": "locksmith.cli.commands.freeze:unhold",
    "forget": "locksmith.cli.commands.forget:forget",
    "resume": "locksmith.cli.commands.resume:resume",
    "reboot": "locksmith.cli.commands.machine:reboot",
    "run": "locksmith.cli.commands.run:run",
    "send-need-reboot": "locksmith.cli.commands.machine:send_need_reboot",
    "request": "locksmith.cli.commands.machine:request",
    "cancel": "locksmith.cli.commands.machine:cancel",
    "triggers": "locksmith.cli.commands.triggers:triggers",
    "check": "locksmith.cli.commands.check:check",
    "recheck": "locksmith.cli.commands.machine:recheck",
    "window": "locksmith.cli.commands.window:window",
    "simulate": "locksmith.cli.commands.simulate:simulate",
    "history": "locksmith.cli.commands.history:history",
    "repair": "locksmith.cli.commands.repair:repair",
    "forget-claim": "locksmith.cli.commands.forget_claim:forget_claim",
    "retire-v2": "locksmith.cli.commands.repair:retire_v2",
    "import-airlock": "locksmith.cli.commands.import_airlock:import_airlock",
    "enroll": "locksmith.cli.commands.enroll:enroll",
    "notify": "locksmith.cli.commands.notify:notify",
    "completion": "locksmith.cli.commands.completion:completion",
    "help": "locksmith.cli.main:help_",
}
"""Where each command is: a call loads just its own."""


class Commands(GoGroup):
    """The group that finds its commands in `COMMANDS`, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Name the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; an unknown one gets the nearest names instead of a mere refusal."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(nearest(args[0], COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog="Flags take one dash or two. Each can be set in the environment, as LOCKSMITHCTL_ENDPOINT; "
    "for the others see /etc/locksmith/locksmith.toml.",
)
@store_flags
@version_flag(PROGRAM)
@click.pass_context
def locksmithctl(context: click.Context, /, **flags: Any) -> None:
    """Show the reboot lock of a fleet, change it, and reboot this machine with it."""
    logging.getLogger("locksmith").addHandler(logging.NullHandler())  # what a person has to know is printed
    context.obj = session = Session(Paths.from_environment(), flags)
    use_flags(session.hint_flags)
    if context.invoked_subcommand is None:
        say_own(context.get_help())


@click.command("help", cls=GoCommand)
@click.argument("command", metavar="[COMMAND]", required=False, type=click.Choice(list(COMMANDS)))
@click.pass_context
def help_(context: click.Context, *, command: str | None) -> None:
    """Show what a command does, or all commands."""
    root = context.find_root()
    found = None if command is None else locksmithctl.get_command(root, command)
    asked = root if found is None else click.Context(found, parent=root, info_name=command)
    say_own(asked.get_help())


def main() -> None:
    """Run the tool."""
    # The interpreter's last garbage collection frees what the process's end frees anyway: a sixth of a call's time.
    atexit.register(gc.freeze)
    keep_quiet(PROGRAM)
    register()
    run(locksmithctl, PROGRAM)

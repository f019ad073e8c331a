"""`completion`: the script that makes a shell complete the tool's commands and flags."""

import click
from click.shell_completion import get_completion_class

from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import say_own


@click.command(cls=GoCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the completion script for a shell, to be sourced there."""
    root = context.find_root()
    program = root.info_name or ""
    maker = get_completion_class(shell)
    if maker is not None:
        say_own(maker(root.command, {}, program, f"_{program.upper()}_COMPLETE").source())

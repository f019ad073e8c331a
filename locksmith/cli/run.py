"""Run a program's command so that it always ends with an exit status and at most one line.

def main() -> None:
    run(command, "locksmithctl")
"""

import errno
import os
import sys
from typing import NoReturn

import click

from locksmith.cli.output import fail, spell_out_unwritable
from locksmith.errors import LocksmithError, UsageError

FAILED = 1
BAD_USAGE = 2
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""


def run(command: click.Command, program: str) -> NoReturn:
    """Run `command` with this process's arguments and exit.

    `LocksmithError`: `Error: ...` on standard error, 1; `UsageError` and bad arguments: 2; Ctrl-C: 130, in silence; a
    reader that went away (`| head -1`): 1, in silence; standard output on a full disk: one line, 1.
    """
    sys.exit(_status(command, program))


def _status(command: click.Command, program: str) -> int:
    spell_out_unwritable()
    try:
        status = command.main(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        fail(error.format_message(), _usage(context) if context else "")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except LocksmithError as error:
        fail(str(error))
        return BAD_USAGE if isinstance(error, UsageError) else FAILED
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and not _is_of_output(error):
            raise
        # What is still buffered would fail again, loudly, when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(f"standard output cannot be written: {error.strerror}")
        return FAILED
    return status if isinstance(status, int) else 0


def _is_of_output(error: OSError) -> bool:
    """Tell whether standard output could not be written: it cannot still, or it has no buffer and its disk is full."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return error.filename is None and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _usage(context: click.Context) -> str:
    hint = f"\nTry '{context.command_path} {context.help_option_names[0]}' for help.\n"
    return context.get_usage() + (hint if context.command.get_help_option(context) is not None else "")

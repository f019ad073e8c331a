"""Flags as Go's `flag` package has them: one dash or two, `-flag value` or `-flag=value`, `-switch=false`.

For both programs:

    @click.command(cls=GoCommand)               # or cls=GoGroup, for a group of commands
    @store_flags                                # -endpoint, -etcd-..., -group, -debug
    @version_flag("locksmithd")
    @click.option("--check-config", cls=GoOption, is_flag=True, help="...")
    def command(*, check_config: bool, **flags: object) -> None:
        config = load_daemon(Paths(...), os.environ, flags)

`flags` is what `locksmith.config` takes: a flag that was not given is None (`endpoint`: an empty tuple).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from locksmith import __version__
from locksmith.cli import complete

F = TypeVar("F", bound=Callable[..., Any])

_LONG = re.compile(r"--\w[\w-]+")
_FLAG = re.compile(r"--?(?P<name>[^-=][^=]*)(?P<equals>=(?P<value>.*))?", re.DOTALL)
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
"""With `_TRUE` all that Go's `strconv.ParseBool` reads."""


class GoOption(click.Option):
    """An option that is declared as `--name` and takes `-name` too; the help shows it as it was declared."""

    def __init__(self, param_decls: Sequence[str] | None = None, **attrs: Any) -> None:
        declared = [*(param_decls or ())]
        with_one_dash = [name[1:] for names in declared for name in names.split("/")[:1] if _LONG.fullmatch(name)]
        super().__init__([*declared, *with_one_dash], **attrs)
        self._shown = [name for name in self.opts if name not in with_one_dash]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Describe the option without its second spelling."""
        every, self.opts = self.opts, self._shown
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every


class _GoFlags(click.Command):
    """What click lacks: `-switch=false`, and an unknown `-flag` that is not read as `-f -l -a -g`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Spell the flags as click reads them, then parse."""
        return super().parse_args(ctx, list(self._respelt(ctx, iter(args))))

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Ask for help as Go's programs are asked; `-help` is `--help`."""
        return [*super().get_help_option_names(ctx), "-h"]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete `-fl` to `-flag`; after one dash alone offer each flag once, with two."""
        items = super().shell_complete(ctx, incomplete)
        return [item for item in items if incomplete != "-" or str(item.value).startswith("--")]

    def _respelt(self, ctx: click.Context, args: Iterator[str]) -> Iterator[str]:
        options = {name: param for param in self.get_params(ctx) for name in param.opts}
        for arg in args:
            flag = _FLAG.fullmatch(arg)
            if flag is None:
                yield arg
                if arg == "--" or not ctx.allow_interspersed_args:
                    break
                continue
            option = options.get(arg.partition("=")[0])
            yield from _respell(ctx, option, flag)
            if flag["equals"] is None and option is not None and not getattr(option, "is_flag", False):
                yield from [value for value in [next(args, None)] if value is not None]
        yield from args


class GoCommand(_GoFlags):
    """A command with Go's flags."""


class GoGroup(_GoFlags, click.Group):
    """A group of commands with Go's flags, which come before the command."""

    command_class = GoCommand


def _respell(ctx: click.Context, option: click.Parameter | None, flag: re.Match[str]) -> list[str]:
    if option is None and not ctx.ignore_unknown_options:
        return [f"--{flag['name']}{flag['equals'] or ''}"]
    if flag["equals"] is None or not isinstance(option, click.Option) or not option.is_flag:
        return [flag[0]]
    if flag["value"] in _TRUE:
        return option.opts[:1]
    if flag["value"] in _FALSE:
        return option.secondary_opts[:1]
    raise click.BadParameter(f"must be true or false, not {flag['value']!r}", ctx, option)


_FILE = click.Path(dir_okay=False)  # completed as a file; whether it can be read, the configuration says

_STORE_OPTIONS = (
    click.option(
        "--endpoint",
        cls=GoOption,
        multiple=True,
        metavar="URL[,URL]",
        help="etcd's endpoints, tried in turn; repeated, it adds.",
    ),
    click.option(
        "--etcd-api",
        cls=GoOption,
        type=click.Choice(["2", "3"]),
        help="The API of etcd to speak: 3, or 2 as CoreOS locksmith does. The two do not see each other's lock.",
    ),
    click.option("--etcd-cafile", cls=GoOption, type=_FILE, metavar="FILE", help="The CA of etcd's certificates."),
    click.option("--etcd-certfile", cls=GoOption, type=_FILE, metavar="FILE", help="A client certificate."),
    click.option("--etcd-keyfile", cls=GoOption, type=_FILE, metavar="FILE", help="The client certificate's key."),
    click.option("--etcd-username", cls=GoOption, metavar="USER", help="The user, where etcd wants one."),
    click.option(
        "--etcd-password",
        cls=GoOption,
        metavar="PASSWORD",
        help="The user's password; others see it in the process list: better is etcd.password-file.",
    ),
    click.option(
        "--group",
        cls=GoOption,
        metavar="GROUP",
        shell_complete=complete.groups,
        help="The group of machines that share the lock.",
    ),
    click.option("--debug/--no-debug", cls=GoOption, default=None, help="Log more, on standard error."),
)


check_config_flag = click.option(
    "--check-config",
    cls=GoOption,
    is_flag=True,
    help="Show every setting and where it comes from, and end: 0, or 2 when it cannot be used.",
)


def store_flags(command: F) -> F:
    """Add the flags of both programs that the configuration has keys for (`config_keys.FLAGS`)."""
    for option in reversed(_STORE_OPTIONS):
        command = option(command)
    return command


def version_flag(program: str) -> Callable[[F], F]:
    """Add `-version`."""
    text = f"{program} version {__version__}"
    return click.version_option(__version__, "--version", cls=GoOption, message=text, help="Show the version and end.")

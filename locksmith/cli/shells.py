"""What click's completion lacks in each shell: values after `=`, in `-group=web why n7` and in `-group=w`."""

import os

from click import shell_completion
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

_LINE = "COMP_LINE"


class Bash(BashComplete):
    """bash splits words at `=` and `:`, so the line itself is read. What is offered replaces the part after `=`."""

    # Only what stands before the cursor, and only of this command: bash gives no more.
    source_template = BashComplete.source_template.replace(
        "$(env COMP_WORDS=", f'$(env {_LINE}="${{COMP_LINE:0:COMP_POINT}}" COMP_WORDS='
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words before the one that is typed, and that one."""
        line = os.environ.get(_LINE)
        if not line:
            return super().get_completion_args()
        words = shell_completion.split_arg_string(line)[1:]
        return (words, "") if line[-1].isspace() else (words[:-1], words[-1] if words else "")


class _WholeWord(ShellComplete):
    """A shell that replaces the whole word, the flag before `=` too."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Give the values with their flag."""
        found = super().get_completions(args, incomplete)
        flag, equals, _ = incomplete.partition("=")
        if not (equals and flag.startswith("-")):
            return found
        return [CompletionItem(f"{flag}={item.value}", item.type, item.help) for item in found]


class Zsh(_WholeWord, ZshComplete):
    """zsh has `-group=w` as one word."""


class Fish(_WholeWord, FishComplete):
    """So has fish."""


def register() -> None:
    """Have click use these."""
    for shell in (Bash, Zsh, Fish):
        shell_completion.add_completion_class(shell)

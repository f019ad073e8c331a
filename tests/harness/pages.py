"""The commands of a page, as a reader pastes them."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def section(page: str, heading: str) -> str:
    """Give the text below a heading of a page, without the sections that follow."""
    text = (REPOSITORY / page).read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}$\n(.*)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise AssertionError(f"{page} has no heading {heading!r}")
    marks, rest = found.groups()
    # A `#` in a block of code begins a comment, and no heading.
    parts = re.split(r"(^ *```.*?^ *```)", rest, flags=re.DOTALL | re.MULTILINE)
    taken = []
    for part in parts:
        ends = None if part.lstrip().startswith("```") else re.search(rf"^#{{1,{len(marks)}}} ", part, re.MULTILINE)
        taken.append(part[: ends.start()] if ends else part)
        if ends:
            break
    return "".join(taken)


def blocks(page: str, heading: str) -> list[str]:
    """Give the blocks of shell below a heading, those in lists too."""
    found = re.findall(r"^( *)```sh\n(.*?)^\1```", section(page, heading), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def without_apt(block: str) -> str:
    """Replace the one command that needs the network: machines have the packages already, and are asked whether."""
    return block.replace("apt-get install -y", "dpkg-query --show")


@dataclass(frozen=True)
class Marked:
    """A block of shell that a page marks for kinds of nodes: `<!-- node: debian12 -->` in the line before it."""

    page: str
    kinds: tuple[str, ...]
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines that a reader pastes; a line that ends with a backslash goes on."""
        return [line for line in self.text.replace("\\\n", "").splitlines() if line.strip()]


def marked(page: str) -> list[Marked]:
    """Give the marked blocks of a page."""
    text = (REPOSITORY / page).read_text()
    found = re.findall(r"^<!-- node: ([\w ]+) -->\n+```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if len(found) != text.count("<!-- node:"):
        raise AssertionError(f"{page}: after each `<!-- node: KIND -->` follows a block of sh")
    return [Marked(page, tuple(kinds.split()), block) for kinds, block in found]


def pages_for_nodes() -> list[str]:
    """Name the pages that may have such blocks."""
    return ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("install*.md"))]

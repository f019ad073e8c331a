"""Markdown to roff, in man(7) macros: the constructs that our documentation uses, and an error for any other.

A build of a package has only what locksmith itself needs. docs/dependencies.md says why this is no library.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise

_WIDTH = 76
_LONG = 60
"""Characters of code that may not fit into a line that is indented."""
_INLINE = re.compile(
    r"(?P<code>`[^`]+`)|\*\*(?P<bold>(?:`[^`]*`|[^*`])+)\*\*|\*(?P<italic>[^*\s][^*]*)\*"
    r"|(?P<image>!\[)|\[(?P<text>(?:`[^`]*`|[^\]`])+)\]\((?P<link>[^)]*)\)"
)
_HEADING = re.compile(r"(#{1,4}) (.+)")
_ITEM = re.compile(r"(-|\d+\.) +(.+)")
_UNKNOWN = re.compile(r"\s*(<|>|\* |\+ |\|)|\s{1,3}(-|\d+\.) ")
_FONT = re.compile(r"\\f[BIR]")
_LITERAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


class UnknownMarkdownError(ValueError):
    """The documentation has a construct that this writer does not know."""


def escape(text: str) -> str:
    """Write text so that a terminal shows each character as it is: a command can be pasted from it."""
    return "".join(_LITERAL.get(char, char) for char in text)


def inline(text: str) -> str:
    """Write one paragraph: code and strong words are bold, emphasis is italic, a link is its text."""
    text = text.replace("\\|", "|")
    done, at = "", 0
    for found in _INLINE.finditer(text):
        done += escape(text[at : found.start()])
        at = found.end()
        if found["code"]:
            code = escape(found["code"][1:-1])
            done += rf"\fB{_breakable(code) if len(code) > _LONG else code}\fR"
        elif found["bold"]:
            done += rf"\fB{_FONT.sub('', inline(found['bold']))}\fR"
        elif found["italic"]:
            done += rf"\fI{escape(found['italic'])}\fR"
        elif found["image"]:
            raise UnknownMarkdownError(f"a picture: {text}")
        else:
            done += inline(found["text"])
            done += f" <{_breakable(escape(found['link']))}>" if found["link"].startswith("http") else ""
    return done + escape(text[at:])


def _breakable(written: str) -> str:
    """Let a line end after each slash of an address or a path that may be longer than a line."""
    return written.replace("/", r"/\:")


def fill(written: str) -> list[str]:
    """Break a paragraph into lines, of which none is taken for a request."""
    lines = textwrap.wrap(written, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line[:1] in {".", "'"} else line for line in lines]


def example(lines: list[str]) -> list[str]:
    """Write lines that stay as they are."""
    kept = [escape(line) or r"\&" for line in lines]
    return [".PP", ".RS 4", ".EX", *(rf"\&{line}" if line[:1] in {".", "'"} else line for line in kept), ".EE", ".RE"]


def tagged(tag: str, text: str) -> list[str]:
    """Write a term, which has to be one line, and what it means."""
    return [".TP", tag, *fill(text)]


def heading(level: int, text: str) -> list[str]:
    """Write the heading of a section (1), or of a part of it (2)."""
    return [f'.S{"H" if level == 1 else "S"} "{escape(text.upper() if level == 1 else text)}"'.replace('""', '"')]


def blocks(markdown: str) -> list[str]:
    """Write the text of a page. Its headings of the second level are sections, the first level is left out."""
    written: list[str] = []
    for kind, lines in _parts(markdown.splitlines()):
        match kind:
            case "heading":
                written += _heading(lines[0])
            case "example":
                written += example(lines)
            case "table":
                written += _table(lines)
            case "item":
                found = _ITEM.fullmatch(" ".join(line.strip() for line in lines))
                bullet, text = (found[1], found[2]) if found else ("", "")
                written += [r".IP \(bu 2" if bullet == "-" else f".IP {bullet} 4", *fill(inline(text))]
            case _:
                if _UNKNOWN.match(lines[0]):
                    raise UnknownMarkdownError(lines[0])
                written += [".PP", *fill(inline(" ".join(line.strip() for line in lines)))]
    return _without_empty_macros(written)


def _heading(line: str) -> list[str]:
    found = _HEADING.fullmatch(line)
    level = len(found[1]) if found else 0
    return heading(level - 1, plain(found[2])) if found and level > 1 else []


def plain(text: str) -> str:
    """Give the words of Markdown without its signs."""
    return re.sub(r"[`*]|\[([^\]]+)\]\([^)]*\)", lambda found: found[1] or "", text)


def _parts(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Give the blocks of a text, each with its kind and its lines."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("```"):
            end = lines.index("```", at + 1)
            yield "example", lines[at + 1 : end]
            at = end + 1
        elif _HEADING.fullmatch(line):
            yield "heading", [line]
            at += 1
        else:
            kind, belongs = _kind(line)
            end = next((end for end in range(at + 1, len(lines)) if not belongs(lines[end])), len(lines))
            part = lines[at:end]
            yield kind, textwrap.dedent("\n".join(part)).strip("\n").splitlines() if kind == "example" else part
            at = end


def _kind(line: str) -> tuple[str, Callable[[str], bool]]:
    """Tell what a line begins, and which lines after it belong to that."""
    if line.startswith("    "):
        return "example", lambda next_: next_.startswith("    ") or not next_.strip()
    if line.startswith("|"):
        return "table", lambda next_: next_.startswith("|")
    return "item" if _ITEM.match(line) else "paragraph", _continues


def _continues(line: str) -> bool:
    if line.strip() and not _ITEM.match(line) and _ITEM.match(line.lstrip()):
        raise UnknownMarkdownError(f"an item in an item: {line}")
    return bool(line.strip()) and not _ITEM.match(line)


def _table(lines: list[str]) -> list[str]:
    """Write a table as terms: 80 columns have no place for sentences in columns."""
    names, rule, *rows = [_cells(line) for line in lines]
    if not all(re.fullmatch(":?-+:?", cell) for cell in rule):
        raise UnknownMarkdownError(lines[1])
    written: list[str] = []
    for first, *others in rows:
        *middle, last = [(name, cell) for name, cell in zip(names[1:], others, strict=True) if cell]
        if names[-1] in _PROSE or not middle:
            notes = "; ".join(f"{inline(name)}: {inline(cell)}" for name, cell in middle)
            written += tagged(rf"{inline(first)}{f' ({notes})' if notes else ''}", inline(last[1]))
        else:
            written += tagged(
                inline(first), "; ".join(f"{inline(name)}: {inline(cell)}" for name, cell in [*middle, last])
            )
    return written


_PROSE = {"meaning", "what happened", "effect"}
"""The last columns that explain their row, and need no name."""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def _without_empty_macros(lines: list[str]) -> list[str]:
    """Leave out each paragraph macro that follows a heading: the heading begins a paragraph by itself."""
    headings = (".SH", ".SS")
    return [line for before, line in pairwise(["", *lines]) if line != ".PP" or not before.startswith(headings)]

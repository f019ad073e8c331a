"""Search texts and code for the words that docs/words.toml replaces; exit with 1 if there is one.

    python scripts/check_words.py [--sentences]

`--sentences` lists the sentences of the texts that are too long; without it they are only counted, and never an error.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LIST = "docs/words.toml"
CODE = ("locksmith", "strategies")
TEXTS = ("*.md", "docs/**/*.md", "contrib/**/*.md")
LONGEST_SENTENCE = 25
OK = re.compile(r"words: ok, \w")
"""A line with this mark is not searched. The mark has a reason."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word to avoid, and what to write instead."""

    find: str
    instead: str

    def search(self, text: str) -> Iterator[re.Match[str]]:
        """Find each place of the word; a space in the word may be the end of a line."""
        pattern = self.find.replace(" ", r"\s+")
        return re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A word that a whole file may have, and why."""

    find: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Words:
    """The content of docs/words.toml."""

    words: tuple[Word, ...]
    allowed: tuple[Allowed, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A word in a file."""

    path: str
    line: int
    word: Word
    found: str

    def __str__(self) -> str:
        """Say where the word is, and what to write."""
        return f"{self.path}:{self.line}: {self.found!r}: write {self.word.instead}"


@dataclass(frozen=True, slots=True)
class Passage:
    """Some prose of a file, and the line at which it begins."""

    line: int
    text: str


def read_list(text: str) -> Words:
    """Read docs/words.toml. `ValueError` says what is wrong with it."""
    table = tomllib.loads(text)
    words = [Word(entry["find"], entry["instead"]) for entry in table.get("words", [])]
    allowed = [Allowed(entry["find"], entry["path"], entry["reason"]) for entry in table.get("allowed", [])]
    found = {word.find for word in words}
    if unknown := [entry.find for entry in allowed if entry.find not in found]:
        raise ValueError(f"{LIST}: allowed {unknown[0]!r} is not among the words")
    return Words(tuple(words), tuple(allowed))


def prose(text: str) -> str:
    """Give a text without the parts between backticks and without indentation; keep the lines."""
    text = re.sub(r"(`+).+?\1", lambda found: re.sub(r"[^\n]", " ", found[0]), text, flags=re.DOTALL)
    return re.sub(r"\n[ \t]+", "\n", text)


def markdown(text: str) -> Iterator[Passage]:
    """Give the prose of a Markdown text by its paragraphs, without code and without the targets of links."""
    text = re.sub(r"^ *```.*?^ *```", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)\s]*\)", lambda found: "]" + " " * (len(found[0]) - 1), text)
    for found in re.finditer(r"(?:^(?!\s*$).*\n?)+", text, re.MULTILINE):
        if re.fullmatch(r"(?: {4}.*\n?)+", found[0]):
            continue  # a block of code
        yield Passage(text.count("\n", 0, found.start()) + 1, prose(found[0]))


def python(text: str) -> Iterator[Passage]:
    """Give the docstrings, the comments, and the strings with a space in them: messages, help."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            last = lines[(node.end_lineno or node.lineno) - 1]
            if not OK.search(last):
                yield Passage(node.lineno, prose(node.value))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(token.start[0], prose(token.string))


def search(path: str, passages: Iterable[Passage], words: Words) -> Iterator[Hit]:
    """Give each word to avoid, except those that the file may have."""
    allowed = {entry.find for entry in words.allowed if entry.path == path}
    wanted = [word for word in words.words if word.find not in allowed]
    for passage in passages:
        lines = passage.text.splitlines()
        for word in wanted:
            for found in word.search(passage.text):
                line = passage.text.count("\n", 0, found.start())
                if not OK.search(lines[line]):
                    yield Hit(path, passage.line + line, word, " ".join(found[0].split()))


def long_sentences(path: str, passages: Iterable[Passage]) -> Iterator[str]:
    """Name each sentence of a text that has too many words."""
    for passage in passages:
        for part in re.split(r"^\s*(?:[-*>]|\d+\.|#+) |\|", passage.text, flags=re.MULTILINE):
            for sentence in re.split(r"(?<=[.:?!])[)*]*\s+", " ".join(part.split())):
                if len(sentence.split()) > LONGEST_SENTENCE:
                    yield f"{path}:{passage.line}: {len(sentence.split())} words: {sentence}"


def files(patterns: Iterable[str], root: Path) -> Iterator[tuple[str, str]]:
    """Give the path of each file, from the root on, and its text."""
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        yield path.relative_to(root).as_posix(), path.read_text()


def in_texts(words: Words, root: Path) -> list[Hit]:
    """Search the texts: no word of the list may be there."""
    return [hit for path, text in files(TEXTS, root) for hit in search(path, markdown(text), words)]


def in_code(words: Words, root: Path) -> list[Hit]:
    """Search the code."""
    patterns = [f"{folder}/**/*.py" for folder in CODE]
    return [hit for path, text in files(patterns, root) for hit in search(path, python(text), words)]


def main(arguments: list[str], root: Path = REPOSITORY) -> int:
    """Print the errors, and give the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sentences", action="store_true", help=f"list sentences over {LONGEST_SENTENCE} words")
    options = parser.parse_args(arguments)
    words = read_list((root / LIST).read_text())
    errors = [*in_texts(words, root), *in_code(words, root)]
    sentences = [one for path, text in files(TEXTS, root) for one in long_sentences(path, markdown(text))]
    for line in [*(sentences if options.sentences else []), *errors]:
        print(line)
    print(
        f"{len(errors)} words to replace; "
        f"{len(sentences)} sentences of the texts have more than {LONGEST_SENTENCE} words"
    )
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What people get of a forecast."""

import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta

from locksmith.cli.table import Row, table, width
from locksmith.fleet.forecast import sentences
from locksmith.fleet.forecast.advice import Advice
from locksmith.fleet.forecast.answer import Answer
from locksmith.util.text import one_line
from locksmith.util.words import span

HEAD = ("GROUP", "MACHINES", "SLOTS", "WINDOWS", "MOST", "DONE (P50)", "DONE (P95)", "LIMIT")


def lines(answer: Answer, advice: Advice) -> Iterator[str]:
    """Write it for a person: a table, when all is done, what limits it and what would help."""
    rows = [
        Row(
            (
                group.plan.name,
                f"{group.plan.machines:,}",
                f"{group.plan.slots:,}",
                "always" if group.plan.windows is None else f"{group.openings:.0f}",
                f"{group.most:,}",
                _short(group.p50, answer),
                _short(group.p95, answer),
                group.limit,
            )
        )
        for group in answer.groups
    ]
    whole = timedelta(seconds=answer.p50 - answer.plan.start.timestamp())
    yield from table(HEAD, rows, width())
    yield ""
    yield f"all done by {_when(answer.p50, answer)} in half of {len(answer.ends[0])} runs ({span(whole)})"
    yield f"       and by {_when(answer.p95, answer)} in 95 of 100"
    yield from _wrapped(sentences.limit(advice))
    for saving in advice.savings:
        yield from _wrapped(sentences.help_with(saving), "  ")
    if not advice.savings:
        yield "  nothing that was tried would save much"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Break a sentence between words where a terminal would break it within one; a pipe gets it whole."""
    line = f"{indent}{one_line(text)}"
    if not sys.stdout.isatty():
        return [line]
    return textwrap.wrap(line, width(), subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def _short(at: float, answer: Answer) -> str:
    """Write it as narrow as can be: with its year where that is not the one in which the rollout begins."""
    when = datetime.fromtimestamp(at, answer.plan.start.tzinfo)
    return f"{when:%m-%d %H:%M}" if when.year == answer.plan.start.year else f"{when:%Y-%m-%d}"


def _when(at: float, answer: Answer) -> str:
    return f"{datetime.fromtimestamp(at, answer.plan.start.tzinfo):%Y-%m-%d %H:%M}"

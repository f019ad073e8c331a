"""What people and scripts get of a forecast."""

import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta

from locksmith.cli.table import Row, table, width
from locksmith.fleet.forecast import sentences
from locksmith.fleet.forecast.advice import Advice
from locksmith.fleet.forecast.answer import Answer
from locksmith.util.records import moment
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


def fields(answer: Answer, advice: Advice) -> dict[str, object]:
    """Give what scripts get; docs/simulate.md has it."""
    began = answer.plan.start.timestamp()

    def at(seconds: float) -> str:
        return moment(datetime.fromtimestamp(seconds, answer.plan.start.tzinfo))

    return {
        "start": moment(answer.plan.start),
        "runs": len(answer.ends[0]),
        "p50": at(answer.p50),
        "p95": at(answer.p95),
        "p50_seconds": answer.p50 - began,
        "p95_seconds": answer.p95 - began,
        "groups": [
            {
                "name": group.plan.name,
                "machines": group.plan.machines,
                "slots": group.plan.slots,
                "windows": None if group.plan.windows is None else group.openings,
                "most": group.most,
                "failed": group.failed,
                "p50": at(group.p50),
                "p95": at(group.p95),
                "p50_seconds": group.p50 - began,
                "p95_seconds": group.p95 - began,
                "last": group.last,
                "limit": group.limit,
                "spent": {limit: round(seconds, 3) for limit, seconds in group.spent.items()},
            }
            for group in answer.groups
        ],
        "last": answer.last.plan.name,
        "limits": [{"group": group.plan.name, "what": group.limit} for group in advice.groups],
        "text": sentences.limit(advice),
        "savings": [
            {
                "change": saving.change,
                "what": saving.what,
                "groups": list(saving.groups),
                "seconds": saving.seconds,
                "then": saving.then or None,
            }
            for saving in advice.savings
        ],
    }


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

"""A forecast as a picture: machines over time, by what they do, as an SVG. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from html import escape

from locksmith.forecast.answer import Answer
from locksmith.forecast.model import GroupRun

WIDTH, HEIGHT, EDGE = 960, 360, 48
SAMPLES = 320
KINDS = (("done", "#3a7d44"), ("failed", "#c0392b"), ("rebooting", "#e69f00"), ("waiting", "#c9ced6"))
"""From the bottom up, with their colours."""


def svg(answer: Answer, zone: tzinfo | None) -> str:
    """Draw the first run of all groups together."""
    began = answer.plan.start.timestamp()
    ended = max(run.ended for run in answer.first_runs)
    times = [began + (ended - began) * sample / (SAMPLES - 1) for sample in range(SAMPLES)]
    counts = _counts(answer.first_runs, times)
    machines = sum(group.plan.machines for group in answer.groups)
    below = [0] * SAMPLES
    layers = []
    for (name, colour), kind in zip(KINDS, counts, strict=True):
        above = [low + more for low, more in zip(below, kind, strict=True)]
        layers.append(_layer(name, colour, below, above, machines))
        below = above
    return "\n".join([_head(answer, machines), *layers, *_axis(began, ended, zone), *_legend(), "</svg>", ""])


def _counts(runs: Sequence[GroupRun], times: Sequence[float]) -> tuple[list[int], ...]:
    """Count the machines of all groups at each time: done, failed, rebooting, waiting."""
    done, failed, down, waiting = ([0] * len(times) for _ in KINDS)
    for run in runs:
        for place, at in enumerate(times):
            waits, reboots, sick, ready = run.counts(at)
            waiting[place] += waits
            down[place] += reboots
            failed[place] += sick
            done[place] += ready
    return done, failed, down, waiting


def _head(answer: Answer, machines: int) -> str:
    title = f"{machines:,} machines, {len(answer.groups)} group{'s' if len(answer.groups) > 1 else ''}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        f'<text x="{EDGE}" y="20" font-size="14">{escape(title)}</text>'
    )


def _layer(name: str, colour: str, below: Sequence[int], above: Sequence[int], machines: int) -> str:
    points = [*((i, value) for i, value in enumerate(above)), *((i, below[i]) for i in reversed(range(SAMPLES)))]
    path = " ".join(f"{_x(i / (SAMPLES - 1)):.1f},{_y(value / machines):.1f}" for i, value in points)
    return f'<polygon points="{path}" fill="{colour}"><title>{name}</title></polygon>'


def _axis(began: float, ended: float, zone: tzinfo | None) -> list[str]:
    marks = []
    for part in range(5):
        at = datetime.fromtimestamp(began + (ended - began) * part / 4, zone)
        anchor = ("start", "middle", "middle", "middle", "end")[part]
        marks.append(
            f'<text x="{_x(part / 4):.1f}" y="{HEIGHT - 26}" text-anchor="{anchor}">{at:%a %d %b %H:%M}</text>'
        )
    return marks


def _legend() -> list[str]:
    spots = []
    for place, (name, colour) in enumerate(KINDS):
        left = EDGE + 110 * place
        spots.append(f'<rect x="{left}" y="{HEIGHT - 18}" width="10" height="10" fill="{colour}"/>')
        spots.append(f'<text x="{left + 15}" y="{HEIGHT - 9}">{name}</text>')
    return spots


def _x(share: float) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * share


def _y(share: float) -> float:
    return HEIGHT - EDGE + (2 * EDGE - HEIGHT + 6) * share

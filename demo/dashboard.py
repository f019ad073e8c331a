"""The dashboard of contrib/grafana, filled by a Prometheus: what each panel's queries give, and a drawing of all.

Grafana has no part in this, so the drawing is plainer than Grafana's.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.panels import Panel, Series, draw
from locksmith.fleet.forecast.svg import svg
from tests.harness.prometheus import REPOSITORY, Prometheus

DASHBOARD = REPOSITORY / "contrib/grafana/dashboard.json"
POINTS = 300
"""How many points of time a panel shows at most."""

EMPTY = ("Empty while", "No value")
"""How the description of a panel says that its queries may have no result."""

UNSEEN = {"__name__", "Time", "Value", "job", "alertstate"}
"""Labels that the tables leave out."""


@dataclass(frozen=True)
class Query:
    """One query of a panel, for all groups."""

    panel: str
    expression: str
    may_be_empty: bool
    """Whether the description of the panel says so."""


def queries() -> list[Query]:
    """Give every query of the dashboard."""
    return [
        Query(panel["title"], _expression(target), any(words in panel["description"] for words in EMPTY))
        for panel in _panels()
        for target in panel["targets"]
    ]


def picture(prometheus: Prometheus, begin: float, end: float) -> str:
    """Draw the dashboard from one Unix time to another as an SVG."""
    step = max(1.0, (end - begin) / POINTS)

    def filled(panel: Mapping[str, Any]) -> Panel:
        is_graph = panel["type"] == "timeseries"
        series: list[Series] = []
        for target in panel["targets"]:
            asked = _expression(target)
            found = prometheus.history(asked, begin, end, step) if is_graph else prometheus.query(asked)
            series += [_series(one, target.get("legendFormat", ""), begin) for one in found]
        defaults, place = panel["fieldConfig"]["defaults"], panel["gridPos"]
        return Panel(
            title=panel["title"],
            kind=panel["type"],
            corner=(place["x"], place["y"]),
            size=(place["w"], place["h"]),
            series=series,
            is_stacked="stacking" in defaults.get("custom", {}),
            is_time=defaults["unit"] == "s",
            none=defaults.get("noValue", "no data"),
        )

    return svg(draw([filled(panel) for panel in _panels()], end - begin))


def _panels() -> Sequence[Mapping[str, Any]]:
    panels: Sequence[Mapping[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _expression(target: Mapping[str, Any]) -> str:
    """Give the query as Prometheus gets it when all groups are chosen."""
    expression: str = target["expr"]
    return expression.replace("$group", ".*")


def _series(found: Mapping[str, Any], legend: str, begin: float) -> Series:
    labels: Mapping[str, str] = found["metric"]
    name = legend
    for label, value in labels.items():
        name = name.replace("{{" + label + "}}", value)
    if not legend:
        name = "  ".join(value for label, value in sorted(labels.items()) if label not in UNSEEN)
    points = [(float(at) - begin, float(value)) for at, value in found.get("values") or [found["value"]]]
    return Series(name, tuple(point for point in points if not math.isnan(point[1])))

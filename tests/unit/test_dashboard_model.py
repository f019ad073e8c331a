"""contrib/grafana/dashboard.json against Grafana's own model of a dashboard.

Grafana is not to be had in the tests. Its makers publish the model as the package grafana-foundation-sdk, which is
generated from the schemas of Grafana. What the model reads and writes again is what it knows. A key that it loses, or a
value that it changes, is none of Grafana.
"""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

REPOSITORY = Path(__file__).parents[2]
DASHBOARD = json.loads((REPOSITORY / "contrib/grafana/dashboard.json").read_text())
RULES = (REPOSITORY / "contrib/prometheus/alerts.yml").read_text()
COLUMNS = 24


def known(value: Any) -> Any:
    """What Grafana's model makes of the dashboard."""
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(value), cls=JSONEncoder))


def lost(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where theirs lacks something of ours; what it adds are defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            found
            for key, value in ours.items()
            for found in (lost(value, theirs[key], f"{place}.{key}") if key in theirs else [f"{place}.{key}"])
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            found
            for number, pair in enumerate(zip(ours, theirs, strict=True))
            for found in lost(*pair, f"{place}[{number}]")
        ]
    return [] if ours == theirs else [place]


def test_grafanas_model_knows_every_key_and_value():
    assert lost(DASHBOARD, known(DASHBOARD)) == []


@pytest.mark.parametrize("key", ["heading", "gridpos"])
def test_a_key_that_grafana_does_not_know_is_noticed(key):
    wrong = json.loads(json.dumps(DASHBOARD))
    wrong["panels"][0][key] = wrong["panels"][0]["title"]
    assert lost(wrong, known(wrong)) == [f".panels[0].{key}"]


def test_the_panels_have_ids_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x + column, y + row) for column in range(w) for row in range(h)}
        for x, y, w, h in ([panel["gridPos"][side] for side in "xywh"] for panel in panels)
    ]
    assert not [pair for pair in combinations(cells, 2) if pair[0] & pair[1]]
    assert max(x for cell in cells for x, _ in cell) < COLUMNS


def test_each_panel_asks_the_chosen_prometheus_for_the_chosen_groups():
    for panel in DASHBOARD["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert 'group=~"$group' in target["expr"], panel["title"]


def test_the_panels_ask_only_for_what_the_rules_record():
    recorded = set(re.findall(r"- record: (\S+)", RULES))
    asked = {
        name
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"[\w:]*locksmith_[\w:]+", target["expr"])
    }
    assert asked <= recorded

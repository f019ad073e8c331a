"""docs/metrics.md says what the daemon serves, no more and no less; the names follow Prometheus' conventions.

https://prometheus.io/docs/practices/naming/
"""

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from locksmith.agent.steps import Wait
from locksmith.daemon.group_metrics import GroupMetrics
from locksmith.daemon.lock_metrics import LockMetrics
from locksmith.daemon.metrics import Identity, Metrics
from locksmith.daemon.stages import CHECKS
from locksmith.gates.alerts import OWN, Alerts
from locksmith.gates.inhibitors import Inhibitors
from locksmith.gates.synced_clock import SyncedClock
from locksmith.gates.uptime import MinimumUptime
from locksmith.lock.records import states
from locksmith.lock.records.order import FREEZE, HALT, HOLD, RESTORED, SPACING, TAKE_FAILS
from locksmith.lock.records.states import ERRORS, REASONS
from locksmith.server.figures import NO_FIGURES, OUTCOMES, Figures
from locksmith.server.notice_post import NoticeCounts
from locksmith.server.store_marks import StoreMarks
from locksmith.store.observed import KINDS, RESULTS
from locksmith.store.settings import StoreSettings
from locksmith_strategies.fleet_lock import SERVER

REPOSITORY = Path(__file__).parents[3]
DOCS = (REPOSITORY / "docs/metrics.md").read_text()
RULES = (REPOSITORY / "contrib/prometheus/alerts.yml").read_text()

LOWER_UNITS = ("milliseconds", "minutes", "hours", "days", "percent", "kilobytes", "megabytes")


def served() -> list[Metric]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    LockMetrics(registry, GroupMetrics(registry, "web"))
    metrics.show(Wait("slot", "no slot is free"), None)  # what has labels shows them once it has a value
    return list(registry.collect())


def samples(family: Metric):
    return [sample for sample in family.samples if not sample.name.endswith("_created")]


def documented(heading: str, columns: int) -> list[list[str]]:
    """The rows of a section's first table, without its head."""
    section = DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert rows
    return [row for row in rows if len(row) == columns]


def of_server() -> list[Metric]:
    """Give what a server serves."""
    families = list(Figures({"web": NO_FIGURES}, {("pre-reboot", "granted"): 1}, {("wait", "ok"): 1}).collect())
    more = (NoticeCounts(["ops"]), StoreMarks(StoreSettings(), ["web"]))
    families[-1:-1] = [family for one in more for family in one.collect()]
    return families


def test_the_list_is_what_is_served():
    def kind(family: Metric) -> str:
        return "gauge" if family.type == "info" else family.type

    def name(family: Metric) -> str:
        return family.name if family.type == "histogram" else samples(family)[0].name

    def labels(family: Metric) -> str:
        return " ".join(label for label in samples(family)[0].labels if label != "le")

    found = [[name(family), kind(family), labels(family), family.documentation] for family in served()]
    assert documented("List", columns=4) == found


def test_the_list_of_the_server_is_what_it_serves():
    found = []
    for family in of_server():
        [sample, *_] = family.samples
        kind = "gauge" if family.type == "info" else family.type
        found.append([sample.name, kind, " ".join(sample.labels), family.documentation])
    assert documented("The server", columns=4) == found


def test_the_figures_of_a_group_mean_the_same_on_the_server():
    own = {family.name for family in served() if family.name.startswith("locksmith_group_")}
    assert own <= {family.name for family in Figures({"web": NO_FIGURES}, {}, {}).collect()}


def test_every_kind_of_answer_is_documented():
    section = DOCS.partition("\n## The server\n")[2].partition("\n## ")[0]
    assert [name for name in OUTCOMES if f"`{name}`" not in section] == []


def test_every_state_is_documented():
    assert [state for state, _ in documented("`state`", columns=2)] == list(states.ALL)


@pytest.mark.slow
def test_every_reason_and_component_is_documented():
    rows = [name for name, _ in documented("`reason`", columns=2) if name not in {"component", "---"}]
    assert sorted(rows) == sorted({*reasons(), *ERRORS})


@pytest.mark.slow
def test_every_reason_has_a_series_from_the_start():
    assert sorted(REASONS) == sorted({*reasons(), *ERRORS})


def test_every_result_is_documented():
    family = next(family for family in served() if family.name == "locksmith_reboots")
    results = [sample.labels["result"] for sample in samples(family)]
    assert [result for result, _ in documented("`result`", columns=2)] == results


def test_every_kind_of_call_and_every_result_is_documented():
    rows = [row[0] for row in documented("Calls of the store", columns=2)]
    assert {word for row in rows for word in re.findall(r"[a-z_]+", row)} - {"result"} == {*KINDS, *RESULTS}


def test_the_alerts_of_the_documentation_are_those_of_the_file():
    assert DOCS.partition("\n## Alerts\n")[2].partition("```yaml\n")[2].partition("```")[0] == RULES


def test_each_alert_has_its_line_in_the_documentation():
    rows = [name for name, _, _ in documented("Alerts", columns=3)]
    assert sorted(rows) == sorted(re.findall(r"- alert: (\w+)", RULES))
    assert all(name.startswith(OWN) for name in rows)


@pytest.mark.slow
def test_the_alerts_and_examples_ask_for_what_is_served():
    names = {sample.name for family in [*served(), *of_server()] for sample in family.samples}
    recorded = set(re.findall(r"- record: (\S+)", RULES))
    expressions = re.findall(r"^ +(?:expr: (?!\|)|(?! *(?:- |\w+: )) {10,})(.*\blocksmith_.*)", RULES, re.MULTILINE)
    examples = re.findall(r"```promql\n(.*?)```", DOCS, re.DOTALL)
    assert len(expressions) > len(recorded)
    assert examples
    asked = {name for text in [*expressions, *examples] for name in re.findall(r"[\w:]*locksmith_[\w:]+", text)}
    assert asked <= names | recorded
    results = [word for example in examples for match in re.findall(r'=~"(.*)"', example) for word in match.split("|")]
    assert set(results) <= {*RESULTS}
    [sick, shared, failure] = [set(words.split("|")) for words in re.findall(r'=~"(.*?)"', "\n".join(expressions))]
    assert (sick, shared, failure) == ({*states.SICK}, {"etcd-lock", "server"}, {*ERRORS})


@pytest.mark.slow
def test_the_documentation_says_how_many_series_there_are():
    registry = CollectorRegistry()
    Metrics(registry, Identity("web", "etcd-lock"))
    LockMetrics(registry, GroupMetrics(registry, "web"))
    found = [sample.name for family in registry.collect() for sample in samples(family)]
    [dropped] = re.findall(r"regex: (locksmith_.*)", (REPOSITORY / "contrib/prometheus/scrape.yml").read_text())
    rest = [name for name in found if not re.fullmatch(dropped, name)]
    assert f"Each machine has {len(found)} series; {len(rest)} with that." in DOCS.replace("\n", " ")
    assert not [name for name in re.findall(r"locksmith_\w+", RULES) if re.fullmatch(dropped, name)]


@pytest.mark.parametrize("family", served(), ids=lambda family: family.name)
def test_a_name_follows_the_conventions(family):
    name = family.name if family.type == "histogram" else samples(family)[0].name
    assert re.fullmatch(r"locksmith(_[a-z]+)+", name)
    assert name.endswith("_total") == (family.type == "counter")
    assert name.endswith("_info") == (family.type == "info")
    assert ("timestamp" in name) == name.endswith("_timestamp_seconds")
    assert not any(unit in name for unit in LOWER_UNITS)
    assert family.documentation.endswith(".")


def reasons() -> set[str]:
    """Every word that the code gives for a wait, or for a denial; one that loses a permission leads to no wait."""
    files = [path for folder in ("locksmith", "strategies") for path in (REPOSITORY / folder).rglob("*.py")]
    calls = [node for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    waits = [call for call in calls if ast.unparse(call.func) in {"Wait", "Denied"}]
    codes = [call.args[0] for call in waits if call.args and "lost" not in {keyword.arg for keyword in call.keywords}]
    words = [node.value for code in codes for node in ast.walk(code) if isinstance(node, ast.Constant)]
    gates = {Inhibitors.name, MinimumUptime.name, SyncedClock.name, Alerts.name, CHECKS}
    named = {FREEZE, HOLD, SPACING, HALT, RESTORED, TAKE_FAILS, SERVER}
    return {word for word in words if isinstance(word, str)} | gates | named | set(states.SICK)

"""The rules of contrib/prometheus pass promtool and its tests, and each alert is shown to fire there, and not to."""

import re
import subprocess

import pytest

from tests.harness.prometheus import PROMTOOL, RULES, lacking_promtool

pytestmark = pytest.mark.skipif(bool(lacking_promtool()), reason=lacking_promtool())

FOLDER = RULES.parent
TESTS = ("alerts_test.yml", "alerts_days_test.yml")


def promtool(*arguments: str) -> str:
    ran = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_rules_are_valid():
    assert "rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


def test_the_scrape_example_is_valid():
    promtool("check", "config", "--syntax-only", "scrape.yml")


def test_the_alerts_fire_and_do_not_fire():
    promtool("test", "rules", *TESTS)


def test_each_alert_fires_in_a_test_of_promtool():
    shown = "".join((FOLDER / name).read_text() for name in TESTS)
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert alerts
    assert {alert for alert in alerts if f'alertname="{alert}",alertstate="firing"' not in shown} == set()

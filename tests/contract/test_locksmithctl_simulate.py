"""`simulate`: a forecast from a plan, and from a fleet as it is, which the fleet then keeps."""

import json

import pytest

from tests.contract.test_locksmithctl_fleet import api, ctl, fleet, root
from tests.harness.waiting import until

__all__ = ["api", "ctl", "fleet", "root"]

PLAN = """
start = "2026-12-01T12:00"
[groups.db]
machines = 100
slots = 2
reboot = "4m"
[groups.db.window]
open = ["Mon..Fri 02:00 for 2h"]
zone = "UTC"
[groups.web]
machines = 10
slots = "20%"
reboot = "2m"
"""


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    return file


def test_a_plan_has_an_answer_and_says_what_would_help(ctl, plan, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    ended, slots = ctl("simulate", str(plan)), "two more slots would save 23 h 36 min"
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "GROUP  MACHINES  SLOTS  WINDOWS  MOST  DONE (P50)        DONE (P95)",
        "db     100       2      2        2     2026-12-03 03:16  2026-12-03 03:16",
        "web    10        2      always   2     2026-12-01 12:10  2026-12-01 12:10",
        "",
        "all done by 2026-12-03 03:16 in half of 20 runs (39 h 16 min)",
        "       and by 2026-12-03 03:16 in 95 of 100",
        f"group db ends last: windows that are always open would save 35 h 56 min; {slots}",
    ]


def test_scripts_and_pictures(ctl, plan, tmp_path):
    picture = tmp_path / "rollout.svg"
    ended = ctl("simulate", str(plan), "--json", "--runs", "3", "--plot", str(picture))
    fields = json.loads(ended.out)
    assert [(one["name"], one["most"], one["windows"]) for one in fields["groups"]] == [("db", 2, 2), ("web", 2, None)]
    assert (fields["last"], fields["savings"][0]["change"]) == ("db", "windows that are always open")
    assert picture.read_text().startswith("<svg ")
    assert f"drawn into {picture}" in ended.err


def test_what_cannot_be_is_refused_with_a_sentence(ctl, plan, tmp_path):
    assert "say either a PLAN or --from-etcd" in ctl.fails("simulate", status=2)
    assert "say either a PLAN or --from-etcd" in ctl.fails("simulate", str(plan), "--from-etcd", status=2)
    assert "--plot draws an .svg file, not x.png" in ctl.fails("simulate", str(plan), "--plot", "x.png", status=2)
    gone = ctl.fails("simulate", str(tmp_path / "gone.toml"), status=2)
    assert gone.endswith("gone.toml cannot be read: No such file or directory")
    plan.write_text(PLAN.replace("slots = 2", "slotts = 2"))
    assert f"{plan}: groups.db has 'slotts', which is no key of it: did you mean slots?" in ctl.fails(
        "simulate", str(plan), status=2
    )


def test_a_fleet_as_it_is_is_forecast_from_its_history(site):
    """Three real daemons have rebooted twice; `bench.forecast` compares the forecast with what the fleet then does."""

    async def story(*nodes):
        for node in nodes:
            node._reboot_time = lambda: 1.0
            await node.says("idle")
        for number in (1, 2):
            for node in nodes:
                node.need_reboot(f"{number}.0.0")
            for node in nodes:
                await node.rebooted(number)
            await until(lambda: not site.lock.holders, "all slots are given back")
        code, said = await nodes[0].tool("simulate", "--from-etcd", "--json")
        assert code == 0, said
        [line] = [line for line in said.splitlines() if line.startswith("{")]
        [found] = [group for group in json.loads(line)["groups"] if group["name"] == site.group]
        assert (found["machines"], found["slots"]) == (3, 1)
        assert 3 * 1.0 <= found["p50_seconds"] < 3 * 20.0

    site.play(story, nodes=3)

"""`simulate`: a forecast from a plan, and from a fleet as it is, which the fleet then keeps."""

import json
import sys

import pytest

from tests.contract.fleets import api, ctl, fleet, root
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
    ended = ctl("simulate", str(plan))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "GROUP  MACHINES  SLOTS  WINDOWS  MOST  DONE (P50)   DONE (P95)   LIMIT",
        "db     100       2      2        2     12-03 03:16  12-03 03:16  window",
        "web    10        2      always   2     12-01 12:10  12-01 12:10  slots",
        "",
        "all done by 2026-12-03 03:16 in half of 20 runs (39 h 16 min)",
        "       and by 2026-12-03 03:16 in 95 of 100",
        "the window of group db limits it: nothing is open for 36 h of 39 h 16 min",
        "  two more slots would save 23 h 36 min",
        "  a window of 4 h instead of 2 h would save 21 h 56 min",
    ]


def test_scripts_and_pictures(ctl, plan, tmp_path):
    for name, begins in (("rollout.svg", b"<svg "), ("rollout.png", b"\x89PNG\r\n"), ("B.SVG", b"<svg ")):
        picture = tmp_path / name
        ended = ctl("simulate", str(plan), "--json", "--runs", "3", "--plot", str(picture))
        assert picture.read_bytes().startswith(begins)
        assert f"drawn into {picture}" in ended.err
    fields = json.loads(ended.out)
    assert [(one["name"], one["most"], one["windows"]) for one in fields["groups"]] == [("db", 2, 2), ("web", 2, None)]
    assert [(one["limit"], one["last"]) for one in fields["groups"]] == [("window", 1), ("slots", 0)]
    assert (fields["last"], fields["limits"]) == ("db", [{"group": "db", "what": "window"}])
    assert fields["text"].startswith("the window of group db limits it")
    [slots, window] = fields["savings"]
    assert (slots["change"], slots["what"], slots["groups"], slots["then"]) == ("two more slots", "slots", ["db"], None)
    assert (round(slots["seconds"] / 60), window["what"]) == (23 * 60 + 36, "window")
    spent = fields["groups"][0]["spent"]
    assert sum(spent.values()) == pytest.approx(fields["p50_seconds"])
    assert (spent["window"], fields["p95_seconds"]) == (36 * 3600, fields["p50_seconds"])


def test_without_pillow_a_png_is_refused_with_the_way_out(ctl, plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "locksmith.cli.png", raising=False)
    picture = tmp_path / "x.png"
    said = ctl.fails("simulate", str(plan), "--plot", str(picture), status=2)
    assert "--plot draws .png with Pillow: pip install 'locksmith[plot]', or name an .svg" in said
    assert not picture.exists()


def test_what_cannot_be_is_refused_with_a_sentence(ctl, plan, tmp_path):
    def refused(*args):
        return ctl.fails("simulate", *args, status=2)

    assert "say either a PLAN or --from-etcd" in refused()
    assert "say either a PLAN or --from-etcd" in refused(str(plan), "--from-etcd")
    assert "--plot draws an .svg or a .png, not x.pdf" in refused(str(plan), "--plot", "x.pdf")
    nowhere = tmp_path / "nowhere" / "x.svg"
    assert f"{nowhere} cannot be written: there is no folder" in refused(str(plan), "--plot", str(nowhere))
    gone = refused(str(tmp_path / "gone.toml"))
    assert gone.endswith("gone.toml cannot be read: No such file or directory")
    plan.write_text(PLAN.replace("slots = 2", "slotts = 2"))
    assert f"{plan}: groups.db has 'slotts', which is no key of it: did you mean slots?" in refused(str(plan))
    plan.write_bytes(b"\xff")
    assert refused(str(plan)).endswith("plan.toml cannot be read: it is not UTF-8")
    plan.write_text(PLAN.replace('zone = "UTC"', 'zone = "UTC"\nmin-remaining = "3h"'))
    never = "group db never comes to its end: after 2026-12-01 no window opens that is long enough"
    assert refused(str(plan)).endswith(never)


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

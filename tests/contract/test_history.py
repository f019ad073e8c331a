"""The history that real daemons and operators write, on real etcd."""

import json
import uuid

import pytest

from tests.contract.daemons import QUICK
from tests.harness.ctl import Ctl, flags_for
from tests.harness.logind import RebootMode
from tests.harness.waiting import until


def test_the_history_tells_how_each_hold_of_a_machine_ended(site):
    async def story(node):
        node.machine.mode = RebootMode.REFUSE
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        node.machine.mode = RebootMode.OBEY
        await node.rebooted()
        await site.is_free()
        await until(lambda: node.claim is None, "the journal forgets the claim")
        status, said = await node.tool("history", "--json")
        assert status == 0, said
        failed, done = json.loads(said)["events"]
        assert (failed["act"], done["act"]) == ("held", "held")
        assert failed["detail"].startswith("logind refused the reboot")
        assert done["detail"] == "rebooted"
        assert done["id"] == node.machine_id
        assert done["version"] == "4081.2.0"
        assert done["since"] <= done["taken"] <= done["at"]
        assert done["held_seconds"] >= 0
        [_, gave_back, rebooted] = (await node.tool("history"))[1].splitlines()[:-1]
        assert "released" in gave_back
        assert "rebooted" in rebooted

    site.play(story, reboot=QUICK)


@pytest.fixture
def operator(monkeypatch, capfd, wheel_etcd, tmp_path):
    """The tool on one API, by its number, in a group of its own."""
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "alice")
    group = f"g-{uuid.uuid4()}"
    return lambda api: Ctl(monkeypatch, capfd, *flags_for(wheel_etcd, api=api, group=group))


def test_what_was_retired_on_v2_is_told_there(operator):
    operator(2)("set-max", "2")
    assert operator(3)("retire-v2", "--reason", "the last node moved").status == 0
    assert ": the last node moved" in operator(2)("history").out
    assert operator(3)("history").out == ""

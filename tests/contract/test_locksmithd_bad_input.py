"""locksmithd on a machine, or beside a lock, that is not as it should be: a sentence, no lock lost or taken."""

import json
import signal

import pytest

from locksmith.lock.records.keys import holder_key
from tests.contract.daemons import QUICK
from tests.harness.delay_proxy import commit, release
from tests.harness.engine import IDLE
from tests.harness.waiting import until

OTHER = "5" * 32
NOTHING = (0, 0.0, IDLE, "", 0)


@pytest.mark.parametrize("text", ["", "\n", "uninitialized\n", None], ids=["empty", "blank", "early", "missing"])
def test_a_machine_without_an_id_takes_no_part(site, text):
    async def story(node):
        if text is None:
            node.paths.machine_id.unlink()
        else:
            node.paths.machine_id.write_text(text)
        await node.start_daemon()
        assert await node.ended() == 1
        line = node.said.splitlines()[-1]
        assert line.startswith(f"Error: this machine has no id: {node.paths.machine_id}")

    site.play(story, running=False)


def test_a_torn_journal_is_a_reason_to_wait_and_stays_as_it_is(site):
    async def story(node):
        path = write_journal(node, '{"schema": 1, "machine_id": "')
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (corrupt): {path}: not a reboot journal")
        assert site.lock.history == []
        assert path.read_text() == '{"schema": 1, "machine_id": "'
        path.unlink()
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story, running=False)


def test_a_journal_of_another_machine_is_moved_aside_and_its_claim_left_alone(site):
    async def story(node):
        claim = await site.lock.take(OTHER, "reboot")
        journal = {"schema": 1, "machine_id": OTHER, "entry": {"claim": {"nonce": claim.nonce}}, "failure": None}
        path = write_journal(node, json.dumps(journal))
        await node.start_daemon()
        await node.says("idle")
        assert site.lock.holders == [OTHER]
        assert json.loads(path.with_name("journal.of-another-machine.json").read_text()) == journal
        await site.lock.release(claim)
        node.need_reboot("4081.2.0")
        await node.rebooted()

    site.play(story, running=False)


def test_a_journal_that_cannot_be_written_keeps_the_slot_from_being_taken(site):
    async def story(node):
        obstacle = node.paths.state / "journal.new"
        obstacle.mkdir(parents=True)
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says(
            f"waiting (host): the reboot journal {node.paths.state / 'journal.json'} cannot be written: Is a dir"
        )
        assert site.lock.history == []
        obstacle.rmdir()
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story, running=False)


def test_a_journal_that_can_no_longer_be_written_keeps_the_machine_from_rebooting(site):
    """The slot is taken already: it goes on as soon as the point of no return can be written down."""

    async def story(node):
        obstacle = node.paths.state / "journal.new"
        rival = await site.lock.take(OTHER)
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        obstacle.mkdir()
        await site.lock.release(rival)
        await node.says("waiting (host): the reboot journal")
        assert site.lock.holders == [node.machine_id]
        assert node.machine.reboots == 0
        obstacle.rmdir()
        node.send_signal(signal.SIGHUP)
        await node.rebooted()
        await site.is_free()

    site.play(story)


def test_a_corrupt_semaphore_is_named_with_its_way_out_and_never_overwritten(site):
    async def story(node):
        site.lock.put(b'{"semaphore":"one"}')
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (corrupt): {site.lock.key}: ")
        assert f"`locksmithctl -group={site.group} repair" in node.said
        assert site.lock.raw() == '{"semaphore":"one"}'
        assert node.machine.reboots == 0
        site.lock.put(b'{"semaphore":1,"max":1,"holders":null}')
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story)


def test_a_semaphore_that_is_corrupted_during_the_reboot_is_not_overwritten_either(site):
    async def story(node):
        held = way.hold(release)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the slot is to be given back")
        sound = site.lock.raw()
        site.lock.put(b"[]")
        held.let_go()
        await node.says(f"waiting (corrupt): {site.lock.key}: ")
        assert site.lock.raw() == "[]"
        assert node.claim is not None
        site.lock.put(sound.encode())
        node.send_signal(signal.SIGHUP)
        await site.is_free()

    with site.delay_proxy() as way:
        site.play(story)


def test_an_id_held_without_a_record_is_neither_ridden_on_nor_given_back(site):
    async def story(node):
        hold_bare(site, node)
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (other_claim): {node.machine_id} is in the semaphore without a record")
        assert f"`locksmithctl -group={site.group} unlock {node.machine_id}` frees it" in node.said
        assert site.lock.holders == [node.machine_id]
        assert (await node.tool("unlock"))[0] == 0
        await node.rebooted()

    site.play(story)


def test_adopt_gives_a_bare_id_back_once_in_a_boot(site):
    async def story(node):
        hold_bare(site, node)
        await node.start_daemon()
        await node.says("released a slot that this machine held without a record (adopt = true)")
        await node.says("idle")
        assert site.lock.holders == []
        hold_bare(site, node)
        await node.stop_daemon()
        await node.start_daemon()
        await node.says("idle", times=2)
        assert site.lock.holders == [node.machine_id]
        assert node.said.count("released a slot") == 1

    site.play(story, running=False, adopt=True)


def test_a_slot_that_is_held_by_hand_says_by_whom_and_why(site):
    async def story(node):
        claim = await site.lock.take(node.machine_id)
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (other_claim): {node.machine_id} is held manually by alice since ")
        assert ": disk swap" in node.said
        assert site.lock.holders == [node.machine_id]
        await site.lock.release(claim)
        await node.rebooted()

    site.play(story)


def test_a_corrupt_record_of_its_own_is_a_reason_to_wait(site):
    async def story(node):
        hold_bare(site, node)
        site.lock.put(b"not a record", holder_key(site.group, node.machine_id))
        node.need_reboot("4081.2.0")
        await node.says("not a holder's record")
        assert site.lock.holders == [node.machine_id]
        assert (await node.tool("unlock"))[0] == 0
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story)


def test_a_semaphore_on_v2_keeps_v3_from_taking_until_it_is_retired(site):
    async def story(node):
        status, said = await node.tool("-etcd-api=2", "set-max", "2")
        assert status == 0, said
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (store): {site.lock.key} exists on etcd's v2 API, and locks on v2 and v3 do not see")
        assert site.lock.history == []
        assert (await node.tool("retire-v2"))[0] == 0
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story)


def test_a_whole_reboot_on_etcds_v2_api(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await node.says("idle")
        status, said = await node.tool("status")
        assert (status, said) == (0, f"Available: 1\nMax: 1\n(group {site.group})\n")
        assert "rebooted and healthy: releasing the slot" in node.said

    site.play(story, strategy="etcd-lock", etcd={"api": 2})


def test_a_dry_run_takes_nothing_and_says_what_it_would_do(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("DRY RUN: waiting (dry_run): would ask the strategy etcd-lock now, and reboot")
        assert site.lock.history == []
        assert node.machine.reboots == 0
        assert node.claim is None

    site.play(story, dry_run=True)


@pytest.mark.parametrize("changes", [{"group": "another"}, {"strategy": "reboot"}, {"dry_run": True}])
def test_a_configuration_that_changed_over_a_restart_gives_back_on_the_old_lock(site, changes):
    async def story(node):
        held = way.hold(commit)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the slot is taken")
        await node.kill_daemon()
        node.engine.status = NOTHING
        node.configure(site.settings(reboot=QUICK, **changes))
        await node.start_daemon()
        await site.is_free()
        await until(lambda: node.claim is None, "the journal forgets the claim")
        assert node.machine.reboots == 0

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


@pytest.mark.parametrize("changes", [{"group": "another"}, {"strategy": "reboot"}, {"dry_run": True}])
def test_a_configuration_that_changed_over_a_reboot_gives_back_on_the_old_lock(site, changes):
    async def story(node):
        await node.says("idle")
        node.configure(site.settings(**changes))
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await site.is_free()
        await until(lambda: node.claim is None, "the journal forgets the claim")

    site.play(story)


def write_journal(node, text):
    path = node.paths.state / "journal.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def hold_bare(site, node):
    """Hold the only slot as a node of the original does."""
    site.lock.put(f'{{"semaphore":0,"max":1,"holders":["{node.machine_id}"]}}'.encode())

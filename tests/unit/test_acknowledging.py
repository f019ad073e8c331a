"""A `resume`, swap by swap: what was wrong at its beginning is acknowledged, and what goes wrong later is not."""

from dataclasses import replace

from locksmith import acknowledging, halt, keys
from locksmith.acknowledging import Acknowledgement
from locksmith.fleet import FAILED
from locksmith.halt import EXPIRED, Incident
from tests.unit.test_brakes import NOW, claim, scene
from tests.unit.test_lock_orders import noted


def note(group, *names: str) -> None:
    """Write that the slots of these machines have expired."""
    key = keys.incidents_key("")
    found = [Incident(claim(name), EXPIRED, "it was lost") for name in names]
    group.server.put(key, halt.encode(found), group.server.read(key).version)


def test_a_slot_that_expires_while_a_resume_is_under_way_is_still_news(monkeypatch):
    monkeypatch.setattr(acknowledging, "WRITES", 1)

    async def story(group):
        await group.orders.lock.set_max(2)
        for name in ("n1", "n2"):
            await group.lock().take(claim(name))
        for name in ("n1", "n2"):
            await group.lock().blame(claim(name), FAILED, "rolled back")
        note(group, "n8")
        work = Acknowledgement(group.store(), "", "alice: seen", lambda: NOW)
        assert await work.some()
        assert [one.name for one in work.done] == ["n1"]
        note(group, "n8", "n9")
        assert not await work.some()
        assert sorted(one.name for one in work.done) == ["n1", "n2", "n8"]
        assert noted(group) == ["n9"]
        record = await group.lock().look("n2")
        assert record.claim == replace(
            claim("n2"), taken=NOW, state=FAILED, trouble="rolled back", acknowledged="alice: seen"
        )

    scene(story, halt_after=halt.HaltAfter(9))


def test_a_resume_leaves_no_empty_note_behind():
    async def story(group):
        note(group, "n8")
        work = Acknowledgement(group.store(), "", "alice: seen", lambda: NOW)
        assert not await work.some()
        assert group.server.read(keys.incidents_key("")).entry is None

    scene(story)

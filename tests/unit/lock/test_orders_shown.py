"""An order that an operator changes on a page: only the one that was shown there, whatever was ordered since."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.lock.errors import ChangedOrderError
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys
from locksmith.lock.records.order import FREEZE, HOLD, Order, way_out
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT
from locksmith.util.zincati import client_of
from tests.builders.claims import NOW

ALICES = Order("alice", NOW, "the database moves", nonce="a")
BOBS = Order("bob", NOW, "the disks are full", nonce="b")
OTHER = "there is another {} now, by alice since 2026-05-01T02:10:00Z: the database moves; nothing was changed"


class Desk:
    """The orders of a group, and the versions of its freeze and of the hold of n1."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.orders = OperatorOrders(MemoryStore(self.server), "", clock=lambda: NOW)

    def version(self, kind: str) -> int:
        return self.server.read(self.key(kind)).version

    def key(self, kind: str) -> str:
        return keys.freeze_key("") if kind == FREEZE else keys.hold_key("", "n1")

    async def order(self, kind: str, order: Order, shown: int | None = None) -> None:
        if kind == FREEZE:
            await self.orders.freeze(order, shown=shown)
        else:
            await self.orders.hold("n1", order, shown=shown)

    async def end(self, kind: str, shown: int | None = None):
        return await (self.orders.thaw(shown=shown) if kind == FREEZE else self.orders.unhold("n1", shown=shown))


@pytest.mark.parametrize("kind", [FREEZE, HOLD])
async def test_the_order_that_was_shown_is_replaced_and_ended(kind):
    desk = Desk()
    await desk.order(kind, ALICES, shown=ABSENT)
    await desk.order(kind, BOBS, shown=desk.version(kind))
    assert await desk.end(kind, shown=desk.version(kind)) == BOBS
    assert desk.version(kind) == ABSENT


@pytest.mark.parametrize("kind", [FREEZE, HOLD])
async def test_an_order_that_was_not_shown_is_named_and_stays(kind):
    desk = Desk()
    await desk.order(kind, ALICES)
    version = desk.version(kind)
    for shown in (ABSENT, version + 7):
        with pytest.raises(ChangedOrderError) as replacing:
            await desk.order(kind, BOBS, shown=shown)
        with pytest.raises(ChangedOrderError) as ending:
            await desk.end(kind, shown=shown)
        assert str(replacing.value) == str(ending.value) == OTHER.format(kind)
    assert desk.version(kind) == version


@pytest.mark.parametrize("kind", [FREEZE, HOLD])
async def test_an_order_that_has_ended_meanwhile_is_neither_replaced_nor_ended(kind):
    desk = Desk()
    await desk.order(kind, ALICES)
    shown = desk.version(kind)
    await desk.end(kind)
    for change in (desk.order(kind, BOBS, shown=shown), desk.end(kind, shown=shown)):
        with pytest.raises(ChangedOrderError) as caught:
            await change
        assert str(caught.value) == f"the {kind} that was shown has ended; nothing was changed"
    assert desk.version(kind) == ABSENT


@pytest.mark.parametrize("kind", [FREEZE, HOLD])
async def test_an_order_that_cannot_be_read_is_another_one_than_was_shown(kind):
    desk = Desk()
    desk.server.put(desk.key(kind), b"rubbish", ABSENT)
    with pytest.raises(ChangedOrderError, match="which cannot be read; nothing was changed"):
        await desk.end(kind, shown=ABSENT)


async def test_a_hold_that_comes_while_one_that_has_ended_is_ended_stays():
    desk = Desk()

    class Late(MemoryStore):
        async def get(self, key):
            reading = await super().get(key)
            if reading.entry is None:
                await desk.order(HOLD, ALICES)
            return reading

    assert await OperatorOrders(Late(desk.server), "").unhold("n1", shown=ABSENT) is None
    assert desk.version(HOLD) != ABSENT


@pytest.mark.parametrize("legacy", [True, False])
async def test_a_longer_freeze_stays_unless_it_has_to_stop_legacy_nodes_too(legacy):
    desk = Desk()
    await desk.orders.admin.set_max(2)
    await desk.orders.freeze(ALICES)
    kept = (await desk.orders.freeze(BOBS, legacy=legacy, keep_longer=True)).kept
    assert kept != legacy
    assert (await desk.orders.admin.read()).semaphore == Semaphore(0 if legacy else 2, ())
    if legacy:
        assert (await desk.orders.freeze(ALICES, legacy=True, keep_longer=True)).kept, "max is 0 already"


@pytest.mark.parametrize(
    ("own", "others", "outlasts"),
    [(None, None, True), (None, 1, True), (1, None, False), (1, 1, True), (2, 1, True), (1, 2, False)],
)
def test_an_order_outlasts_one_that_ends_no_later(own, others, outlasts):
    first, second = (replace(ALICES, until=hours and NOW + timedelta(hours=hours)) for hours in (own, others))
    assert first.outlasts(second) == outlasts


def test_the_way_out_of_a_hold_names_its_machine():
    assert way_out(HOLD, keys.hold_key("web", "a b")) == "`locksmithctl unhold 'a b'` removes it"


async def test_a_hold_that_cannot_be_read_can_be_ended_too():
    desk = Desk()
    desk.server.put(desk.key(HOLD), b"rubbish", ABSENT)
    await desk.end(HOLD)
    assert desk.version(HOLD) == ABSENT


async def test_the_hold_of_a_machine_ends_no_other_order_for_its_zincati():
    desk, machine = Desk(), "0123456789abcdef0123456789abcdef"
    client = client_of(machine)
    assert client
    await desk.orders.hold(machine, ALICES)
    await desk.orders.hold(client, BOBS)
    assert await desk.orders.unhold(machine) == ALICES
    assert await desk.orders.unhold(client) == BOBS

"""Sets of windows in the store: their record, and how a machine reads them."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.config.model import WindowSettings
from locksmith.daemon.windows import IDLE, WAITING, ConfiguredWindows
from locksmith.errors import CorruptValueError, LockError, StoreUnavailableError
from locksmith.lock.records import keys
from locksmith.lock.window_sets import WindowStore
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.window import window_set
from locksmith.window.window_set import WindowSet

KEY = keys.window_key("nights")
NIGHTS = WindowSet.parse(["Mon..Fri 02:00 for 3h"], ["*-12-20..*-01-06"], "Europe/Berlin")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_set_reads_back_as_it_was_written():
    whole = replace(NIGHTS, who="alice", since=NOON, reason="the contract")
    assert window_set.decode(window_set.encode(whole), KEY) == whole
    assert str(whole.resolved()) == ("Mon..Fri 02:00 Europe/Berlin for 3h, but not *-12-20..*-01-06 Europe/Berlin")


def test_what_a_later_release_adds_is_kept():
    raw = json.dumps({"schema": 1, "open": ["02:00 for 1h"], "colour": "red"}).encode()
    assert json.loads(window_set.encode(window_set.decode(raw, KEY)))["colour"] == "red"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not JSON"),
        (b"[]", "a JSON object is needed"),
        (b"{}", "it has neither a window nor a blackout"),
        (b'{"open":[1]}', "the field 'open' must be a list of strings"),
        (b'{"open":"02:00 for 1h"}', "the field 'open' must be a list"),
        (b'{"open":["02:00"]}', "'02:00' is not a window"),
        (b'{"open":["02:00 for 1h"],"zone":"Mars"}', "'Mars' is no time zone here"),
        (b'{"open":["02:00 for 1h"],"blackouts":["x"]}', "'x' is not a blackout"),
    ],
)
def test_what_is_no_set_is_named_with_the_way_out(raw, problem):
    with pytest.raises(CorruptValueError) as refused:
        window_set.decode(raw, KEY)
    assert problem in str(refused.value)
    assert str(refused.value).endswith("`locksmithctl window set nights --open '02:00 for 3h'` writes it again")


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(["open", "zone", "since"]), st.text() | st.lists(st.text())).map(
        lambda fields: json.dumps(fields).encode()
    )
)
def test_any_value_is_a_set_or_refused(raw):
    try:
        assert isinstance(window_set.decode(raw, KEY), WindowSet)
    except CorruptValueError as error:
        assert str(error).startswith(KEY)  # noqa: PT017 (most values are refused, some are not)


class CountingStore(MemoryStore):
    """A store that counts what is read, and may be away."""

    reads = 0
    away = False

    async def get(self, key):
        self.reads += 1
        if self.away:
            raise StoreUnavailableError("no endpoint answers")
        return await super().get(key)


class Machine:
    """A machine that names the set, its store, and a clock by which what it has read grows old."""

    def __init__(self, settings=None):
        self.store = CountingStore(MemoryServer())
        self.seconds = 0.0
        settings = settings or WindowSettings(sets=("nights",))
        self.source = ConfiguredWindows(settings, lambda: self.store, lambda: self.seconds)

    async def write(self, *windows):
        await WindowStore(self.store).write("nights", WindowSet.parse(windows, []))

    async def is_open(self, *, wanted=True):
        sight = await self.source.check(NOON, wanted=wanted)
        return sight.error or (sight.windows is None or sight.windows.contains(NOON))


def tell(story):
    asyncio.run(story())


def test_a_waiting_machine_sees_a_window_that_an_operator_opens_in_half_a_minute():
    async def story():
        machine = Machine()
        await machine.write("02:00 for 1h")
        assert await machine.is_open() is False
        await machine.write("12:00 for 1h")
        assert await machine.is_open() is False
        machine.seconds += WAITING
        assert await machine.is_open() is True

    tell(story)


def test_while_the_window_is_open_each_look_sees_whether_it_still_is():
    async def story():
        machine = Machine()
        await machine.write("12:00 for 1h")
        assert await machine.is_open() is True
        await machine.write("02:00 for 1h")
        assert await machine.is_open() is False

    tell(story)


def test_an_idle_machine_asks_seldom():
    async def story():
        machine = Machine()
        await machine.write("12:00 for 1h")
        machine.store.reads = 0
        for _ in range(29):
            await machine.is_open(wanted=False)
            machine.seconds += 30
        assert machine.store.reads == 1
        machine.seconds = IDLE
        await machine.is_open(wanted=False)
        assert machine.store.reads == 2

    tell(story)


def test_a_set_that_is_not_there_or_cannot_be_read_is_a_doubt_with_its_way_out():
    async def story():
        machine = Machine()
        missing = await machine.is_open()
        assert missing == (
            "there is no set of windows 'nights' in the file or in the store: "
            "`locksmithctl window set nights --open '02:00 for 3h'` makes one"
        )
        await machine.store.create(KEY, b"rubbish")
        assert "not a set of windows" in str(await machine.is_open())

    tell(story)


def test_without_the_store_the_windows_are_an_error_if_a_reboot_is_needed():
    async def story():
        machine = Machine()
        machine.store.away = True
        assert await machine.is_open(wanted=False) == "the windows of nights are not known: no endpoint answers"
        with pytest.raises(StoreUnavailableError):
            await machine.is_open()

    tell(story)


def test_a_set_of_the_file_is_not_looked_for_in_the_store():
    async def story():
        own = WindowSettings(sets=("nights",), known={"nights": WindowSet.parse(["12:00 for 1h"], [])})
        machine = Machine(own)
        assert await machine.is_open() is True
        assert machine.store.reads == 0

    tell(story)


def test_the_blackouts_of_all_win_over_the_windows_of_all():
    async def story():
        settings = WindowSettings(
            own=WindowSet.parse([], ["2026-05-01"]),
            sets=("nights", "days"),
            known={"days": WindowSet.parse(["12:00 for 1h"], [])},
        )
        machine = Machine(settings)
        await machine.write("02:00 for 1h")
        assert await machine.is_open() is False
        sight = await machine.source.check(NOON, wanted=True)
        assert sight.windows is not None
        assert sight.windows.contains(NOON + timedelta(days=1))
        assert sight.windows.contains(datetime(2026, 5, 2, 2, 30, tzinfo=UTC))

    tell(story)


def test_a_set_is_removed_once():
    async def story():
        machine = Machine()
        await machine.write("02:00 for 1h")
        await WindowStore(machine.store).remove("nights")
        assert await WindowStore(machine.store).read_all() == {}
        with pytest.raises(LockError, match="there is no set of windows 'nights'"):
            await WindowStore(machine.store).remove("nights")

    tell(story)

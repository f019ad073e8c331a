"""No value costs more than its length: what is too long, too deep or too dense is refused in a sentence."""

import gc
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.cli.table import Row, table
from locksmith.errors import CorruptValueError, LockError, UsageError
from locksmith.gates import alerts
from locksmith.lock.records import airlock, claim, event, incident, node, order, semaphore, share, waiter
from locksmith.lock.records.semaphore import Semaphore
from locksmith.util import limits
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.text import one_line
from locksmith.window import window_set
from locksmith.window.calendar import Calendar
from locksmith.window.window_set import WindowSet
from tests.junk import mutate

RECORDS = {
    "semaphore": (semaphore.decode, b'{"semaphore":0,"max":1,"holders":["n1"]}', limits.SEMAPHORE, "repair --max 1"),
    "airlock": (airlock.decode, b'{"total_slots":1,"holders":["n1"]}', limits.SEMAPHORE, "etcdctl get a/key"),
    "mark of airlock": (airlock.decode_mark, mutate.MARK, limits.SEMAPHORE, "etcdctl del a/key"),
    "claim": (lambda raw, key: claim.decode(raw, key, "n1"), mutate.CLAIM, limits.CLAIM, "unlock n1"),
    "presence": (lambda raw, key: node.decode(raw, key, "n1"), mutate.NODE, limits.NODE, "locksmithd writes it again"),
    "place": (waiter.decode, mutate.PLACE, limits.WAITER, "expires by itself"),
    "order": (lambda raw, key: order.decode(raw, key, order.FREEZE), mutate.ORDER, limits.ORDER, "locksmithctl thaw"),
    "incidents": (incident.decode, mutate.INCIDENTS, limits.INCIDENTS, "locksmithctl resume"),
    "share": (share.decode, b'{"schema":1,"percent":"10%","wrote":[3,4]}', limits.SHARE, "set-max 1"),
    "set": (window_set.decode, mutate.SET, limits.WINDOW_SET, "window set"),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_is_too_long_is_refused_with_its_key_size_limit_and_way_out(kind):
    decode, good, most, way_out = RECORDS[kind]
    assert decode(good.ljust(most), "a/key")
    with pytest.raises(CorruptValueError) as caught:
        decode(good.ljust(most + 1), "a/key")
    assert str(caught.value).startswith("a/key: ")
    assert f"it has {most + 1} bytes, and at most {most} are read" in str(caught.value)
    assert way_out in str(caught.value)


def test_a_record_of_the_history_that_is_too_long_is_refused():
    with pytest.raises(BadJsonError, match="at most 65536 are read"):
        event.decode(b"{}".ljust(limits.EVENT + 1))


@pytest.mark.parametrize("kind", [kind for kind in RECORDS if kind not in {"semaphore", "airlock"}])
def test_a_record_that_is_too_deep_to_be_written_again_is_refused(kind):
    decode, good, _, _ = RECORDS[kind]
    deep = b'{"later":' + b"[" * 500 + b"]" * 500 + b"," + good.lstrip(b"{\n ")
    with pytest.raises(CorruptValueError, match="more than 32 lists or objects within one another"):
        decode(deep, "a/key")


def test_what_is_as_deep_as_may_be_is_read():
    good = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
    assert json.loads(good) == load_record(good, 1000)
    many = json.dumps({"a": [{} for _ in range(1000)]}).encode()
    assert load_record(many, 10_000)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_is_in_a_record_its_error_is_short(raw):
    for decode, _, _, _ in RECORDS.values():
        with pytest.raises(CorruptValueError) as caught:
            decode(b'{"\\u0007' + b"x" * 1000 + raw, "a/key")
        assert len(str(caught.value)) < 800


@pytest.mark.slow
def test_a_semaphore_of_thousands_is_read_in_time_that_grows_with_its_length():
    assert ratio(lambda raw: semaphore.decode(raw, "k"), holders(3_500), holders(28_000)) < 24


@pytest.mark.slow
def test_a_name_that_comes_twice_is_found_in_time_that_grows_with_the_length():
    def refused(raw):
        with pytest.raises(BadJsonError, match="appears twice"):
            load_record(raw, len(raw))

    def fields(number):
        return b"{%s}" % b",".join(b'"f%d":1' % one for one in [*range(number), number - 1])

    assert ratio(refused, fields(5_000), fields(40_000)) < 24


def test_a_holder_that_stands_there_twice_is_still_refused():
    with pytest.raises(CorruptValueError, match="the holder 'b' is in it twice"):
        semaphore.decode(b'{"semaphore":0,"max":3,"holders":["a","b","b"]}', "k")


def test_a_semaphore_that_could_not_be_read_again_is_not_written():
    names = tuple(f"{number:032x}" for number in range(30_000))
    with pytest.raises(LockError, match=r"a semaphore with 30000 holders has \d+ bytes, and at most 1048576 are read"):
        semaphore.encode(Semaphore(40_000, names))


@pytest.mark.parametrize("text", ["*:*:0/0.000001", "*-*-* *:*:0.5/0.00001", "2026-12-24 02:00:0..59/0.000001"])
def test_a_start_of_millions_of_times_is_refused_before_they_are_counted_out(text):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="oftener than once a minute"):
            Calendar.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_set_of_more_windows_than_are_looked_at_is_refused():
    assert WindowSet.parse(["02:00 for 1h"] * 300, ["Fri"] * 200)
    with pytest.raises(UsageError, match="it has 501 windows and blackouts together, and at most 500 are allowed"):
        WindowSet.parse(["02:00 for 1h"] * 300, ["Fri"] * 201)


def test_an_answer_of_alertmanager_that_is_too_deep_is_refused():
    deep = b'[{"labels":{"alertname":' + b"[" * 900 + b"]" * 900 + b"}}]"
    with pytest.raises(BadJsonError, match="within one another"):
        alerts.parse(deep, "http://a/api?x")


def test_a_table_cuts_a_cell_in_time_that_grows_with_its_length():
    def shown(text):
        assert table(("A", "B"), [Row((text, "b"))], 40)[1].startswith("xxxxxxxx")

    assert ratio(shown, "x" * 1000, "x" * 3000) < 6


def test_a_text_of_a_megabyte_is_one_line_with_both_its_ends():
    line = one_line("begin " + "x\n" * 1_000_000 + "; `locksmithctl resume`")
    assert line.startswith("begin x x")
    assert line.endswith("x ; `locksmithctl resume`")
    assert "[... 1996029 more characters ...]" in line
    assert len(line) < 4100


def holders(number):
    names = [f"{one:032x}" for one in range(number)]
    return json.dumps({"semaphore": 1, "max": number + 1, "holders": names}).encode()


def ratio(act, small, large):
    """Tell how much longer the large one takes, of the best runs: of eight times the length 8 if linear, else 64."""
    gc.disable()
    try:
        return best(act, large) / best(act, small)
    finally:
        gc.enable()


def best(act, value):
    times = []
    for _ in range(5):
        began = time.process_time()
        act(value)
        times.append(time.process_time() - began)
    return min(times)

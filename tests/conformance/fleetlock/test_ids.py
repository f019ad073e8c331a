"""Ids: any text that is not empty names one client, or is refused as the client's fault."""

import pytest

from .fleet import Fleet, new_id

USUAL = ["{}", "{}.example.org", "978a225b-3d7b-40e9-acd7-{}", "{:.32}", "NODE_{}"]
UNUSUAL = {
    "letters of others": "{}-b\u00fcro-\u0436-\u8282\u70b9",
    "emoji": "{}-\U0001f680",
    "right to left": "{}-\u202e\u05d0",
    "spaces": "  {}  ",
    "slashes": "../{}/../x//",
    "percent": "{}%2F%00",
    "quotes": "{}\"'\\`",
    "HTML": "<script>{}</script>",
    "a shell": "$(reboot) ; {}",
    "line breaks": "{}\r\nfleet-lock-protocol: x",
    "control characters": "{}\x01\x1b[31m\x7f",
    "NUL": "{}\x00",
    "half a surrogate pair": "{}\ud800",
    "1 KiB": "{}" + "x" * 1024,
    "100 KiB": "{}" + "x" * 102_400,
}
ALIKE = {
    "a space more": ("{}", "{} "),
    "leading zeros": ("{}-1", "{}-01"),
    "composed and not": ("{}-\u00e9", "{}-e\u0301"),
    "sharp s": ("{}-stra\u00dfe", "{}-strasse"),
    "escaped": ("{}/a", "{}%2Fa"),
    "cut at NUL": ("{}", "{}\x00a"),
    "long": ("{}" + "x" * 300 + "1", "{}" + "x" * 300 + "2"),
}


@pytest.mark.must
@pytest.mark.parametrize("form", USUAL)
def test_names_and_uuids_are_ids(fleet: Fleet, form: str):
    client = fleet.take(form.format(new_id()))
    fleet.assert_holds(client, "an id as machines have it")
    fleet.release(client)


@pytest.mark.should
@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_id_is_served_or_refused_as_bad(fleet: Fleet, name: str):
    client = UNUSUAL[name].format(new_id())
    answer = fleet.pre_reboot(client)
    if not answer.granted:
        assert answer.is_clients_fault, f"an id with {name}: {answer}"
        assert fleet.steady_state(client).status < 500, f"an id with {name}: the steady-state is a server's error"
        fleet.forget(client)
        return
    fleet.assert_holds(client, f"an id with {name}")
    fleet.fill(client)
    fleet.assert_full(f"an id with {name}")
    fleet.release(client)
    fleet.take()


@pytest.mark.should
@pytest.mark.parametrize("name", ALIKE)
def test_ids_that_are_almost_alike_are_two_clients(fleet: Fleet, name: str):
    common = new_id()
    first, second = (form.format(common) for form in ALIKE[name])
    if not fleet.pre_reboot(first).granted:
        fleet.forget(first)
        pytest.skip(f"the server refuses {first!r:.80}")
    fleet.fill(first)
    answer = fleet.pre_reboot(second)
    assert not answer.granted, f"{name}: {second!r:.80} got the slot of {first!r:.80}"
    fleet.steady_state(second)
    fleet.forget(second)
    fleet.assert_full(f"{name}: {second!r:.80} has sent steady-state, not {first!r:.80}")

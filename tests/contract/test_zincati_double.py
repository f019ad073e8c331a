"""The double of Zincati does on the wire what Zincati does: other tests rely on it."""

import asyncio
from contextlib import suppress

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from tests.harness.fleetlock_double import Double, serving
from tests.harness.waiting import until
from tests.harness.zincati import PRE_REBOOT, STEADY_STATE, Zincati, client_id

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"


class Recording(Double):
    """Answers as it is told, and keeps the calls."""

    def __init__(self, *answers: Response) -> None:
        super().__init__(1)
        self.calls: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers = list(answers)

    @property
    def paths(self) -> list[str]:
        return [path.rpartition("/")[2] for _, path, _, _ in self.calls]

    async def answer(self, request):
        self.calls.append((request.method, request.url.path, dict(request.headers), await request.body()))
        return self.answers.pop(0) if self.answers else JSONResponse({})


def lived(double: Double, until_holds, prefix: str = "", **changes) -> Zincati:
    """Let a machine live that needs a reboot, until something holds, and give it."""

    async def no_time() -> None:
        await asyncio.sleep(0)

    async def story(url: str) -> Zincati:
        machine = Zincati(url, "workers", MACHINE, no_time, period=0.01, postponement=0.01)
        machine.users_are_logged_in = changes.get("users", False)
        machine.need_reboot()
        life = asyncio.ensure_future(machine.run())
        await until(lambda: until_holds(machine), "the story of the machine")
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
        return machine

    with serving(double, prefix) as url:
        return asyncio.run(story(url))


def rebooted(machine: Zincati) -> bool:
    return machine.reboots == 1 and machine.is_steady


def refusal(status: int) -> Response:
    return JSONResponse({"kind": "no_slot", "value": "n2 has it"}, status)


def test_its_id_comes_from_the_machine_id():
    assert client_id(MACHINE) == "978a225b3d7b40e9acd7ce9b62f68444"


def test_it_is_steady_before_it_asks_and_after_it_has_rebooted():
    double = Recording()
    lived(double, rebooted)
    assert double.paths == [STEADY_STATE, PRE_REBOOT, STEADY_STATE]


def test_a_call_has_the_header_and_no_content_type():
    double = Recording()
    lived(double, rebooted)
    method, path, headers, body = double.calls[1]
    assert (method, path) == ("POST", "/v1/pre-reboot")
    assert headers["fleet-lock-protocol"] == "true"
    assert "content-type" not in headers
    assert (
        body
        == b'{\n  "client_params": {\n    "id": "%s",\n    "group": "workers"\n  }\n}' % client_id(MACHINE).encode()
    )


def test_it_repeats_steady_state_until_it_succeeds():
    double = Recording(refusal(503), refusal(409))
    machine = lived(double, rebooted)
    assert double.paths == [*[STEADY_STATE] * 3, PRE_REBOOT, STEADY_STATE]
    assert machine.errors == {(STEADY_STATE, "no_slot"): 2}


def test_it_repeats_pre_reboot_until_it_succeeds():
    double = Recording(JSONResponse({}), refusal(409), Response("gateway", 502))
    machine = lived(double, rebooted)
    assert double.paths == [STEADY_STATE, *[PRE_REBOOT] * 3, STEADY_STATE]
    assert machine.errors == {(PRE_REBOOT, "no_slot"): 1, (PRE_REBOOT, "generic_http_502"): 1}


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_2xx_of_pre_reboot_is_a_permission(status):
    double = Recording(JSONResponse({}), Response(status_code=status))
    lived(double, rebooted)
    assert double.paths == [STEADY_STATE, PRE_REBOOT, STEADY_STATE]


def test_it_asks_again_while_users_are_logged_in_and_then_reboots():
    double = Recording()
    lived(double, rebooted, users=True)
    assert double.paths == [STEADY_STATE, *[PRE_REBOOT] * 11, STEADY_STATE]


def test_a_redirected_call_becomes_a_get():
    double = Recording(RedirectResponse("/v1/steady-state", 302))
    lived(double, rebooted)
    assert [(method, body) for method, _, _, body in double.calls][1] == ("GET", b"")


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h/base/", "http://h/base/v1/x"),
        ("http://h/base", "http://h/v1/x"),
        ("http://h", "http://h/v1/x"),
        ("http://h/${group}/$stream/", "http://h/workers/stable/v1/x"),
    ],
)
def test_its_base_url_is_joined_as_a_browser_does(base, url):
    machine = Zincati(base, "workers", MACHINE, asyncio.Event().wait)
    assert machine.url_of("x") == url

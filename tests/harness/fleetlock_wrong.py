"""Wrong FleetLock servers, each with one fault that servers have had or may well have: doubles for the suite.

WRONG names for each the checks of the suite that must fail on it.
"""

import asyncio
import json
import re
import unicodedata
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from tests.harness.fleetlock_double import Double, RefusedError, Semaphore


class Draining(Double):
    """Answers 202 while it drains: Zincati reboots then."""

    async def pre_reboot(self, group: str, client: str) -> Response:
        again = client in self.semaphore(group).holders
        answer = await super().pre_reboot(group, client)
        return answer if again else JSONResponse({}, 202)


class NoContent(Double):
    def success(self) -> Response:
        return Response(status_code=204)


class OneTooMany(Double):
    def semaphore(self, group: str) -> Semaphore:
        return self.groups.setdefault(group, Semaphore(self.slots + 1))


class RefusesOthers(Double):
    """Refuses the steady-state of a client that holds nothing."""

    async def steady_state(self, group: str, client: str) -> Response:
        if client not in self.semaphore(group).holders:
            raise RefusedError(409, "not_held", "you hold nothing")
        return await super().steady_state(group, client)


class RefusesOthersWhileHeld(Double):
    async def steady_state(self, group: str, client: str) -> Response:
        holders = self.semaphore(group).holders
        if holders and client not in holders:
            raise RefusedError(409, "not_held", "another holds")
        return await super().steady_state(group, client)


class FreesForAnybody(Double):
    """Has no owner of a slot: any steady-state frees one."""

    async def steady_state(self, group: str, client: str) -> Response:
        holders = self.semaphore(group).holders
        if holders and client not in holders:
            holders.pop()
        return await super().steady_state(group, client)


class LosesRaces(Double):
    """Answers 500 when another call was faster, as airlock does."""

    calls = 0

    async def compare_and_swap(self) -> None:
        self.calls += 1
        mine = self.calls
        await asyncio.sleep(0.01)
        if mine != self.calls:
            raise RefusedError(500, "failed_lock", "conflict on semaphore detected, aborting")

    async def pre_reboot(self, group: str, client: str) -> Response:
        await self.compare_and_swap()
        return await super().pre_reboot(group, client)

    async def steady_state(self, group: str, client: str) -> Response:
        await self.compare_and_swap()
        return await super().steady_state(group, client)


class ReadsThenWrites(Double):
    """Looks whether a slot is free, and takes it a moment later."""

    async def pre_reboot(self, group: str, client: str) -> Response:
        found = self.semaphore(group)
        free = len(found.holders) < found.slots
        await asyncio.sleep(0.1)
        if free and client not in found.holders:
            found.holders.append(client)
            return self.success()
        return await super().pre_reboot(group, client)


class WritesTheWhole(Double):
    """Writes what it had read, so that one of two steady-states at once is lost."""

    async def steady_state(self, group: str, client: str) -> Response:
        found = self.semaphore(group)
        left = [name for name in found.holders if name != client]
        await asyncio.sleep(0.01)
        if left != found.holders:
            found.holders = left
        return self.success()


class CountsTakes(Double):
    """Counts how often a client has taken, as a mutex that is recursive does."""

    async def pre_reboot(self, group: str, client: str) -> Response:
        found = self.semaphore(group)
        if client in found.holders:
            found.holders.append(client)
        return await super().pre_reboot(group, client)


class NotIdempotent(Double):
    async def pre_reboot(self, group: str, client: str) -> Response:
        if client in self.semaphore(group).holders:
            raise RefusedError(409, "held", "you hold it already")
        return await super().pre_reboot(group, client)


class KeepsTheQueue(Double):
    """Serves clients in their order, also those that are gone."""

    async def pre_reboot(self, group: str, client: str) -> Response:
        found = self.semaphore(group)
        if client not in [*found.waiting, *found.holders]:
            found.waiting.append(client)
        if found.waiting and found.waiting[0] != client and client not in found.holders:
            raise RefusedError(409, "queued", "others wait")
        answer = await super().pre_reboot(group, client)
        if client in found.waiting:
            found.waiting.remove(client)
        return answer


class FoldsCase(Double):
    def client_of(self, body: Any) -> tuple[str, str]:
        group, client = super().client_of(body)
        return group, client.casefold()


class Trims(Double):
    def client_of(self, body: Any) -> tuple[str, str]:
        group, client = super().client_of(body)
        return group, unicodedata.normalize("NFC", client.partition("\0")[0].strip())[:255]


class OneSemaphore(Double):
    def semaphore(self, group: str) -> Semaphore:
        assert group
        return super().semaphore("all")


class Prefixes(Double):
    """Ends every slot whose holder's id begins so, in all groups."""

    async def steady_state(self, group: str, client: str) -> Response:
        for found in self.groups.values():
            found.holders = [name for name in found.holders if name != client]
        return await super().steady_state(group, client)


class NeedsContentType(Double):
    def check_request(self, request: Request) -> None:
        super().check_request(request)
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise RefusedError(415, "bad_request", "the Content-Type is not application/json")


class NeedsNoHeader(Double):
    def check_request(self, request: Request) -> None:
        if request.method != "POST":
            raise RefusedError(405, "bad_request", "only POST is a call")


class AnyValue(Double):
    def check_request(self, request: Request) -> None:
        if "fleet-lock-protocol" not in request.headers:
            raise RefusedError(400, "bad_request", "no header")


class AnyPath(Double):
    """Takes everything that ends so, and everything else, for a call."""

    def app(self, prefix: str) -> Any:
        app = super().app(prefix)
        app.add_route("/{rest:path}", self.answer, methods=["POST"])
        return app


class Redirects(Double):
    async def answer(self, request: Request) -> Response:
        return RedirectResponse(str(request.url) + "/")


class EmptyKind(Double):
    def refusal(self, error: RefusedError) -> Response:
        return JSONResponse({"kind": "", "value": str(error)}, error.status)


class PlainText(Double):
    def refusal(self, error: RefusedError) -> Response:
        return PlainTextResponse(str(error), error.status)


class OneKind(Double):
    def refusal(self, error: RefusedError) -> Response:
        return JSONResponse({"kind": "Failed: 1", "value": str(error)}, error.status)


class KindHasTheClient(Double):
    async def pre_reboot(self, group: str, client: str) -> Response:
        try:
            return await super().pre_reboot(group, client)
        except RefusedError as error:
            raise RefusedError(error.status, f"no_slot_for_{client}", str(error)) from None


class RefusesBy300(Double):
    def refusal(self, error: RefusedError) -> Response:
        return JSONResponse({"kind": error.kind, "value": str(error)}, 300)


class Crashes(Double):
    def parse(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(500, "internal", "bad body") from None


class Coerces(Double):
    """Makes a text of whatever the id and the group are."""

    def client_of(self, body: Any) -> tuple[str, str]:
        params = (body.get("client_params") if isinstance(body, dict) else None) or {}
        return super().client_of({"client_params": {name: str(value) for name, value in dict(params).items()}})


class AnyGroup(Double):
    def is_group(self, name: str) -> bool:
        return re.match(r"^[a-zA-Z0-9.-]+$", name) is not None


class Strict(Double):
    """Refuses fields that it does not know."""

    def client_of(self, body: Any) -> tuple[str, str]:
        found = super().client_of(body)
        if set(body) != {"client_params"} or set(body["client_params"]) != {"id", "group"}:
            raise RefusedError(400, "bad_request", "unknown fields")
        return found


class Ascii(Double):
    def client_of(self, body: Any) -> tuple[str, str]:
        group, client = super().client_of(body)
        if not client.isascii() or len(client) > 64:
            raise RefusedError(500, "internal", "the key cannot be written")
        return group, client


class OnlyHex(Double):
    def client_of(self, body: Any) -> tuple[str, str]:
        group, client = super().client_of(body)
        if "." in client:
            raise RefusedError(400, "bad_request", "the id is no UUID")
        return group, client


class NeedsLength(Double):
    async def read(self, request: Request) -> bytes:
        body = await super().read(request)
        return body[: int(request.headers.get("content-length", 0))]


class OneAtATime(Double):
    """Serves a call only when the last one has ended, however slow its client is."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._turn = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        async with self._turn:
            return await super().answer(request)


class TakesWithoutReading(Double):
    """Reads a body as far as it came, and takes what it can read."""

    def parse(self, body: bytes) -> Any:
        try:
            return super().parse(body)
        except RefusedError:
            found = re.search(rb'"id": "([^"]+)".*?"group": "([^"]+)"', body)
            if found is None:
                raise
            return {"client_params": {"id": found[1].decode(errors="replace"), "group": found[2].decode()}}


WRONG: dict[type[Double], tuple[str, ...]] = {
    Draining: ("test_slots.py::test_success_has_status_200",),
    NoContent: (
        "test_slots.py::test_success_has_status_200",
        "test_refusals.py::test_a_refused_call_has_no_2xx_of_another_number[steady-state]",
    ),
    OneTooMany: ("test_slots.py::test_no_more_holders_than_slots",),
    RefusesOthers: (
        "test_slots.py::test_steady_state_may_come_first",
        "test_slots.py::test_steady_state_may_come_again",
    ),
    RefusesOthersWhileHeld: ("test_slots.py::test_steady_state_of_another_is_a_success",),
    FreesForAnybody: ("test_slots.py::test_steady_state_of_another_frees_no_slot",),
    LosesRaces: ("test_parallel.py::test_a_lost_race_is_no_server_error",),
    ReadsThenWrites: (
        "test_parallel.py::test_parallel_clients_are_no_more_than_slots",
        "test_parallel.py::test_a_storm_never_has_more_holders_than_slots",
    ),
    WritesTheWhole: ("test_parallel.py::test_parallel_steady_states_of_all_free_all",),
    CountsTakes: (
        "test_slots.py::test_one_steady_state_ends_many_pre_reboots",
        "test_slots.py::test_pre_reboot_again_keeps_the_one_slot",
        "test_parallel.py::test_one_client_on_many_connections_has_one_slot",
        "test_lost_answers.py::test_pre_reboot_after_a_lost_answer_is_granted[closes]",
    ),
    NotIdempotent: ("test_slots.py::test_pre_reboot_again_keeps_the_one_slot",),
    KeepsTheQueue: ("test_slots.py::test_a_refused_client_may_report_steady_state",),
    FoldsCase: ("test_slots.py::test_ids_that_differ_in_case_are_two_clients",),
    Trims: tuple(
        f"test_ids.py::test_ids_that_are_almost_alike_are_two_clients[{name}]"
        for name in ("a space more", "composed and not", "cut at NUL", "long")
    ),
    OneSemaphore: ("test_slots.py::test_groups_share_no_slots",),
    Prefixes: ("test_slots.py::test_one_id_in_two_groups_is_two_clients",),
    NeedsContentType: ("test_headers.py::test_any_content_type_or_none_will_do[pre-reboot-None]",),
    NeedsNoHeader: (
        "test_headers.py::test_a_call_without_the_header_is_refused[pre-reboot]",
        "test_headers.py::test_a_call_without_the_header_is_refused[steady-state]",
    ),
    AnyValue: (
        "test_headers.py::test_a_call_with_another_value_of_the_header_is_refused[false]",
        "test_headers.py::test_only_post_is_a_call[pre-reboot-GET]",
        "test_headers.py::test_other_methods_take_and_free_nothing",
    ),
    AnyPath: ("test_headers.py::test_other_paths_are_no_calls[/v2/{}-pre-reboot]",),
    Redirects: ("test_headers.py::test_calls_are_answered_and_not_redirected",),
    EmptyKind: ("test_refusals.py::test_a_refusal_has_a_kind_and_a_value[full]",),
    PlainText: (
        "test_refusals.py::test_a_refusal_has_a_kind_and_a_value[full]",
        "test_refusals.py::test_a_refusal_has_a_kind_and_a_value[no_json]",
    ),
    OneKind: (
        "test_refusals.py::test_kinds_are_words_of_small_letters",
        "test_refusals.py::test_a_full_semaphore_is_told_from_a_bad_request",
    ),
    KindHasTheClient: ("test_refusals.py::test_kinds_are_few_and_name_no_client",),
    RefusesBy300: ("test_refusals.py::test_a_refusal_is_4xx_or_5xx[full]",),
    Crashes: (
        "test_bodies.py::test_a_bad_body_is_the_clients_fault[not JSON]",
        "test_bodies.py::test_a_strange_body_is_refused_and_breaks_nothing[a hundred thousand brackets]",
    ),
    Coerces: ("test_bodies.py::test_a_bad_body_is_refused[id is a number-pre-reboot]",),
    AnyGroup: ("test_bodies.py::test_a_group_with_other_characters_is_refused[{}\\n]",),
    Strict: ("test_bodies.py::test_unknown_fields_are_no_error",),
    Ascii: (
        "test_ids.py::test_an_unusual_id_is_served_or_refused_as_bad[emoji]",
        "test_ids.py::test_an_unusual_id_is_served_or_refused_as_bad[1 KiB]",
    ),
    OnlyHex: ("test_ids.py::test_names_and_uuids_are_ids[{}.example.org]",),
    NeedsLength: ("test_http.py::test_a_chunked_body_is_read[7]",),
    OneAtATime: ("test_http.py::test_a_slow_client_holds_up_no_other",),
    TakesWithoutReading: ("test_bodies.py::test_bad_bodies_take_no_slot",),
}

"""Wrong FleetLock servers, each with one fault that servers have had or may well have: doubles for the suite.

`tests/harness/fleetlock_caught.py` names the checks of the suite that must fail on each.
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


class AnyCaseOfTrue(Double):
    def check_request(self, request: Request) -> None:
        if request.headers.get("fleet-lock-protocol", "").lower() != "true":
            raise RefusedError(400, "bad_request", "the header fleet-lock-protocol is not true")


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

    def __init__(self, slots: int, *, has_logins: bool = False) -> None:
        super().__init__(slots, has_logins=has_logins)
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


class NeverReleases(Double):
    async def steady_state(self, group: str, client: str) -> Response:
        assert group
        assert client
        return self.success()


class Starves(Double):
    """Refuses for ever who was refused once."""

    async def pre_reboot(self, group: str, client: str) -> Response:
        found = self.semaphore(group)
        if client in found.waiting:
            raise RefusedError(409, "no_slot", "as before")
        try:
            return await super().pre_reboot(group, client)
        except RefusedError:
            found.waiting.append(client)
            raise


class OneLine(Double):
    def parse(self, body: bytes) -> Any:
        if b"\n" in body:
            raise RefusedError(400, "bad_request", "the JSON has several lines")
        return super().parse(body)


class AnyLogin(Double):
    def check_login(self, shown: str | None) -> None:
        """Let everything in."""

"""`GET /whoami`: whose credential a request has. So a token, a certificate or a session can be tried."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.server.answers import Answer
from locksmith.server.ports import Identifies
from locksmith.server.reply import Reply, date


def whoami_routes(identifies: Identifies) -> list[Route]:
    """Give the route, for `make_app`."""

    async def answer(request: Request) -> Response:
        who = await identifies.identify(request)
        if isinstance(who, Answer):
            return Reply(request, who)
        said = {"role": who.role.value, "name": who.name, "groups": sorted(who.groups)}
        headers = {**date(), "Cache-Control": "no-store"}
        return Response(json.dumps(said), headers=headers, media_type="application/json")

    return [Route(path, answer, methods=["GET"]) for path in ("/whoami", "/{prefix:path}/whoami")]

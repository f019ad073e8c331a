"""The files that are served as they are: the style sheet, the script and the icon."""

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.server.web.render import answer

KINDS: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class StaticFiles:
    """The files, read once."""

    def __init__(self) -> None:
        folder = files("locksmith.server.web") / "static"
        self._files = {name: (folder / name).read_bytes() for name in KINDS}

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [Route("/static/{name}", self._file, methods=["GET"])]

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return answer(b"there is no such file\n", "text/plain; charset=utf-8", 404)
        return answer(self._files[name], KINDS[name], headers={"Cache-Control": "no-cache"})

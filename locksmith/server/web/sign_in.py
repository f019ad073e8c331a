"""Where a person signs in with a token, and out again."""

from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from locksmith.server.answers import Answer
from locksmith.server.web.render import HEADERS
from locksmith.server.web.requests import BadFormError, query, read_form
from locksmith.server.web.site import Site


class SignIn:
    """The form for a token, and what it and the button "Sign out" send."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [
            Route("/sign-in", self._form, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        return self._site.render(
            request, None, "sign_in.html", next=inside(query(request, "next", 500), self._site.root), wrong=""
        )

    async def _sign_in(self, request: Request) -> Response:
        try:
            form = await read_form(request)
        except BadFormError as error:
            return self._site.message(request, None, error.status, "This form cannot be read", f"{error}.")
        to = inside(form.get("next", ""), self._site.root)
        if problem := _of_another_site(request):
            return self._site.render(request, None, "sign_in.html", 403, next=to, wrong=problem)
        signed_in = await self._site.people.sign_in(request, form.get("token", "").strip())
        if isinstance(signed_in, Answer):
            sentence = signed_in.refusal.sentence if signed_in.refusal else "that is no token"
            return self._site.render(request, None, "sign_in.html", signed_in.status, next=to, wrong=f"{sentence}.")
        headers = {**HEADERS, "Cache-Control": "no-store", "Set-Cookie": signed_in.cookie}
        return RedirectResponse(to or self._site.root, 303, headers)

    async def _sign_out(self, request: Request) -> Response:
        try:
            form = await read_form(request)
        except BadFormError as error:
            return self._site.message(request, None, error.status, "This form cannot be read", f"{error}.")
        if (problem := self._site.people.csrf_problem(request, form.get("csrf", ""))) is not None:
            sentence = problem.refusal.sentence if problem.refusal else ""
            return self._site.message(request, None, problem.status, "You are still signed in", f"{sentence}.")
        headers = {**HEADERS, "Cache-Control": "no-store"}
        cookie = await self._site.people.sign_out(request)
        if cookie:
            headers["Set-Cookie"] = cookie
        return RedirectResponse(f"{self._site.root}sign-in", 303, headers)


def inside(path: str, root: str) -> str:
    """Give an address of this site, whose addresses begin with `root`; empty: it is one of another, or none."""
    if not path.startswith(root) or path.startswith(("//", "/\\")) or "\\" in path or not path.isprintable():
        return ""
    parts = urlsplit(path)
    # A browser takes `..` as the folder above, also if it is escaped: that may be another program's.
    above = any(unquote(part) in {".", ".."} for part in parts.path.split("/"))
    return path if not (parts.scheme or parts.netloc or above) else ""


def _of_another_site(request: Request) -> str:
    """Say that another site has sent a form; empty: it has not, as far as the browser tells."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return "" if site in {"same-origin", "none"} else "Another site has sent this form: sign in here."

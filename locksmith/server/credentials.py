# ruff: noqa: ARG002 - the interface alone, so far
"""Who calls: by a token, a client certificate, or a session of the page. Implements `ports.Identifies`."""

from dataclasses import dataclass

from starlette.requests import Request

from locksmith.server.answers import Answer, unauthorized
from locksmith.server.identity import Identity
from locksmith.store.protocol import Store


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person who has signed in, and the value of the header `Set-Cookie` that keeps them signed in."""

    identity: Identity
    cookie: str


class Credentials:
    """The credentials in a store. No call raises; what the store cannot answer is an `Answer` with 503."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def identify(self, request: Request) -> Identity | Answer:
        """Give the caller; an `Answer` says why it is not known: 401, 403, 429, 503."""
        return unauthorized("no credential is known here yet", 401)

    async def sign_in(self, request: Request, token: str) -> SignedIn | Answer:
        """Begin a session of the page with the token of a viewer or an operator."""
        return unauthorized("no credential is known here yet", 401)

    async def sign_out(self, request: Request) -> str:
        """End the session of a request, if it has one; gives the `Set-Cookie` that removes the cookie."""
        return ""

    def csrf_token(self, request: Request) -> str:
        """Give the value of the hidden field `csrf` of each form, for the session of a request; empty: it has none."""
        return ""

    def csrf_problem(self, request: Request, given: str) -> Answer | None:
        """Refuse a POST that another site may have caused; None: the caller itself has sent it.

        `given` is what the form's field had. A request with a token in `Authorization` needs none.
        """
        return unauthorized("no credential is known here yet")

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

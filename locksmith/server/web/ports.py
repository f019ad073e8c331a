"""What the page needs of the rest of the server."""

from typing import Protocol

from starlette.requests import Request

from locksmith.server.answers import Answer
from locksmith.server.credentials import SignedIn
from locksmith.server.identity import Identity


class People(Protocol):
    """Tells who sends a request, and keeps people signed in: `credentials.Credentials`. No call raises."""

    async def identify(self, request: Request) -> Identity | Answer:
        """Give the caller; an `Answer` says why it is not known."""
        ...

    async def sign_in(self, request: Request, token: str) -> SignedIn | Answer:
        """Begin a session with a token."""
        ...

    async def sign_out(self, request: Request) -> str:
        """End the session of a request; gives a value for `Set-Cookie`."""
        ...

    def csrf_token(self, request: Request) -> str:
        """Give the value of the hidden field `csrf` of each form."""
        ...

    def csrf_problem(self, request: Request, given: str) -> Answer | None:
        """Refuse a POST that another site may have caused."""
        ...

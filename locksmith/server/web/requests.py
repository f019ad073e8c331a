"""What a browser sends: the fields of forms and of addresses, within limits."""

import asyncio
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

BODY_LIMIT: Final = 10.0
"""Seconds for a form."""
LARGEST_FORM: Final = 16 * 1024
"""Bytes of a form."""
MOST_FIELDS: Final = 20
LONGEST_REASON: Final = 500
"""Characters of a reason."""


class BadFormError(Exception):
    """A form that cannot be read; `status` is HTTP's."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


async def read_form(request: Request) -> dict[str, str]:
    """Read the fields of a form, the last of each name. `BadFormError` says why it cannot be read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadFormError("a form must be application/x-www-form-urlencoded", 415)
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT):
            async for piece in request.stream():
                raw += piece
                if len(raw) > LARGEST_FORM:
                    raise BadFormError(f"a form must be at most {LARGEST_FORM} bytes", 413)
    except (TimeoutError, ClientDisconnect):
        raise BadFormError(f"the form did not come within {BODY_LIMIT:g} s", 408) from None
    try:
        fields = parse_qs(raw.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise BadFormError("the form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}


def query(request: Request, name: str, longest: int = 128) -> str:
    """Give a field of the address; empty: there is none."""
    return request.query_params.get(name, "").strip()[:longest]


def number(request: Request, name: str) -> int:
    """Give a number of the address, 1 if there is none."""
    text = query(request, name, 9)
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else 1

"""Templates to HTML, with the headers of each page. Text of others is text: it is escaped, and steers nothing."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import formatdate
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, unquote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from locksmith.util.commands import naming_group
from locksmith.util.text import cut, one_line
from locksmith.util.words import clock, span

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""What each answer of the page has. The pages are of one person: nothing in between may keep them."""

DEFAULT_GROUP: Final = "(default)"
"""The default group's place in an address; a group of that name has its brackets escaped."""
LONGEST: Final = 500
"""Characters of a text that is shown."""

_COMMAND = re.compile("`([^`]+)`")


def group_segment(group: str) -> str:
    """Give a group's place in an address. It is escaped twice: a slash in it would end it."""
    return quote(quote(group, safe=""), safe="") if group else DEFAULT_GROUP


def group_of(segment: str) -> str:
    """Read the group of an address, which was unescaped once."""
    return "" if segment == DEFAULT_GROUP else unquote(segment)


def id_segment(machine_id: str) -> str:
    """Give an id's place in an address, escaped twice as well."""
    return quote(quote(machine_id, safe=""), safe="")


def render_template(name: str, values: Mapping[str, Any]) -> str:
    """Give the HTML of a template."""
    return _templates().get_template(name).render(values)


def page(html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a page, for the person alone who has asked for it."""
    return answer(html.encode(), "text/html; charset=utf-8", status, {"Cache-Control": "no-store", **(headers or {})})


def answer(body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give an answer with the headers that all have."""
    given = {**HEADERS, "Date": formatdate(usegmt=True), "Content-Type": kind, **(headers or {})}
    return Response(body, status, given)


@cache
def _templates() -> Environment:
    """Give the templates of all pages. Each is compiled once, when it is first used."""
    templates = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(sentence=_sentence, group_segment=group_segment, id_segment=id_segment)
    templates.filters.update(moment=_moment, ago=_ago, number=lambda number: f"{number:,}")
    return templates


def _source(name: str) -> str:
    return (files("locksmith.server.web") / "templates" / name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Spell out what would steer the reader's eye, such as marks that turn the direction of text."""
    return cut(one_line(value), LONGEST) if type(value) is str else value


def _sentence(text: str, group: str | None = None) -> Markup:
    """Write a sentence; its commands are set apart, each with the group that it is about."""
    line = cut(one_line(naming_group(text, group) if group else text), 4 * LONGEST)
    parts, end = [], 0
    for found in _COMMAND.finditer(line):
        parts += [escape(line[end : found.start()]), Markup("<code>{}</code>").format(found[1])]
        end = found.end()
    return Markup("").join([*parts, escape(line[end:])])


def _moment(when: datetime | None, now: datetime) -> Markup:
    """Write a moment, with the whole of it for who points at it, and for programs."""
    if when is None:
        return Markup("")
    local = when.astimezone(now.tzinfo)
    whole = f"{local:%Y-%m-%d %H:%M:%S %Z}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(local.isoformat(), whole, clock(when, now))


def _ago(when: datetime | None, now: datetime) -> str:
    return span(now - when) if when else ""

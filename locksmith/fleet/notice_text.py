"""The texts of a notice: templates with known fields. Pure.

A template is `string.Template`: `$field` or `${field}`, and `$$` for a dollar sign. It can do nothing but insert a
field, so no text of a machine can do more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from types import MappingProxyType
from typing import Any, Final

from locksmith.fleet.phrases import group_name
from locksmith.lock.records.notice import Notice
from locksmith.util.records import moment
from locksmith.util.text import one_line
from locksmith.util.words import instead_of, named

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "headline": "the event in a few words",
        "sentence": "the event in a sentence or two, with what to do",
        "event": "its word, as in `events`",
        "group": "the group's name; empty for the default group",
        "group_name": "`group web`, or `the default group`",
        "machines": "the names of the machines that it is about, of the first ten if there are more",
        "count": "how many machines it is about",
        "at": "when it was noticed, in UTC: `2026-05-01T02:14:00Z`",
        "id": "the id of the event, the same for each target and each server",
    }
)
"""Each field of a template, and what it is."""

TITLE: Final = "locksmith: $headline"
MESSAGE: Final = "$sentence"
LONGEST_TITLE: Final = 300
"""Characters of a title that is sent."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of titles and messages; those of an event (`by_event`) take the place of the others."""

    title: str = TITLE
    message: str = MESSAGE
    by_event: Mapping[str, "Templates"] = field(default_factory=dict, hash=False)

    def render(self, told: Notice) -> tuple[str, str]:
        """Give the title, one line, and the message of a notice."""
        used, values = self.by_event.get(told.event, self), _values(told)
        title = Template(used.title).safe_substitute(values)
        return one_line(title, LONGEST_TITLE), Template(used.message).safe_substitute(values)


def problem_of(template: str) -> str:
    """Say what is wrong with a template, as the end of a sentence; empty: nothing."""
    found = Template(template)
    if not template.strip():
        return "is empty"
    if not found.is_valid():
        return f"has a $ that begins no field: write $$ for a dollar sign, or one of {_known()}"
    unknown = sorted(set(found.get_identifiers()) - FIELDS.keys())
    return f"has ${unknown[0]}, which is no field: known are {instead_of(unknown[0], FIELDS)}" if unknown else ""


def payload(told: Notice) -> dict[str, Any]:
    """Give what a JSON webhook gets of a notice, in addition to the title, the message and the severity."""
    return {
        "id": told.id,
        "event": told.event,
        "group": told.group,
        "at": moment(told.at),
        "machines": list(told.machines),
        "count": told.count,
    }


def _values(told: Notice) -> dict[str, str]:
    return {
        "headline": told.headline,
        "sentence": told.sentence,
        "event": told.event,
        "group": told.group,
        "group_name": group_name(told.group),
        "machines": named(told.machines) if told.count <= len(told.machines) else _some(told),
        "count": str(told.count),
        "at": moment(told.at),
        "id": told.id,
    }


def _some(told: Notice) -> str:
    return f"{', '.join(told.machines)} and {told.count - len(told.machines)} more"


def _known() -> str:
    return ", ".join(f"${name}" for name in FIELDS)

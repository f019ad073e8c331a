"""The templates of notices, as the configuration has them: known fields, and no others. Pure.

A template is `string.Template`: `$field` or `${field}`, and `$$` for a dollar sign. It can do nothing but insert a
field, so no text of a machine can do more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from types import MappingProxyType
from typing import Final

from locksmith.util.words import instead_of

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


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of titles and messages; those of an event (`by_event`) take the place of the others."""

    title: str = TITLE
    message: str = MESSAGE
    by_event: Mapping[str, "Templates"] = field(default_factory=dict, hash=False)

    def of(self, event: str) -> "Templates":
        """Give those of an event."""
        return self.by_event.get(event, self)


def problem_of(template: str) -> str:
    """Say what is wrong with a template, as the end of a sentence; empty: nothing."""
    found = Template(template)
    if not template.strip():
        return "is empty"
    if not found.is_valid():
        return f"has a $ that begins no field: write $$ for a dollar sign, or one of {_known()}"
    unknown = sorted(set(found.get_identifiers()) - FIELDS.keys())
    return f"has ${unknown[0]}, which is no field: known are {instead_of(unknown[0], FIELDS)}" if unknown else ""


def _known() -> str:
    return ", ".join(f"${name}" for name in FIELDS)

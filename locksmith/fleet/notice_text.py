"""The texts of a notice: its values, put into the templates (notice_templates.py). Pure."""

from string import Template
from typing import Any, Final

from locksmith.fleet.notice_templates import Templates
from locksmith.fleet.phrases import group_name
from locksmith.lock.records.notice import Notice
from locksmith.util.records import moment
from locksmith.util.text import one_line
from locksmith.util.words import named

LONGEST_TITLE: Final = 300
"""Characters of a title that is sent."""


def render(templates: Templates, told: Notice) -> tuple[str, str]:
    """Give the title, one line, and the message of a notice."""
    used, values = templates.of(told.event), _values(told)
    title = Template(used.title).safe_substitute(values)
    return one_line(title, LONGEST_TITLE), Template(used.message).safe_substitute(values)


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

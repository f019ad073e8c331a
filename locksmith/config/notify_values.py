"""The readers of `[notify]`: its targets, and the templates of their messages."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from locksmith.config.notify_model import Target
from locksmith.config.values import PATH, TEXTS, Kind, type_name
from locksmith.errors import UsageError
from locksmith.fleet.notice_templates import Templates, problem_of
from locksmith.lock.records.keys import group_prefix
from locksmith.lock.records.notice_events import EVENTS
from locksmith.util.words import instead_of

TARGET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""It is a part of the name of a credential, and of keys in etcd."""
_LONGEST_TEMPLATE: Final = 4000
_TARGET_KEYS: Final = ("url-file", "events", "groups")
_TEMPLATE_KEYS: Final = ("title", "message")


def _targets(value: object) -> Mapping[str, Target]:
    return {name: _target(name, fields) for name, fields in _table(value, "must be a table of tables").items()}


def _target(name: str, value: object) -> Target:
    if not TARGET_NAME.fullmatch(name):
        raise ValueError(
            f"has the target {name!r:.80}: a name has at most 64 of the characters a-z, A-Z, 0-9, ., _ and -, and "
            "begins with a letter or digit"
        )
    fields = _table(value, f"must have a table for {name!r}")
    if "url" in fields:
        raise ValueError(
            f"has {name}.url, and a URL is a secret, which this file must not show: write it as the only line of a "
            "file that root alone can read, and name that in url-file"
        )
    _refuse_unknown(name, fields, _TARGET_KEYS, "a target")
    read: dict[str, Any] = {}
    try:
        if "url-file" in fields:
            read["url_file"] = PATH.typed(fields["url-file"])
        if "events" in fields:
            read["events"] = _events(fields["events"])
        if "groups" in fields:
            read["groups"] = _groups(fields["groups"])
    except ValueError as error:
        raise ValueError(f"has the target {name}, in which {error}") from None
    return Target(name, **read)


def _events(value: object) -> tuple[str, ...]:
    found = _named("events", value)
    for one in found:
        if one not in EVENTS:
            raise ValueError(f"events has {one!r}, which is no event: known are {instead_of(one, EVENTS)}")
    if not found:
        raise ValueError("events is empty: leave it out for all events, or remove the target")
    return found


def _groups(value: object) -> tuple[str, ...]:
    found = _named("groups", value)
    for one in found:
        try:
            group_prefix(one)
        except UsageError as error:
            raise ValueError(f"groups cannot be used: {error}") from None
    if not found:
        raise ValueError('groups is empty: leave it out for all groups; "" is the default group')
    return found


def _named(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, not {type_name(value)}")  # noqa: TRY004 (one kind of error for all readers)
    if value == [""] and key == "groups":
        return ("",)
    try:
        others = TEXTS.typed([one for one in value if one != ""])
    except ValueError as error:
        raise ValueError(f"{key} {error}") from None
    return tuple(dict.fromkeys((*([""] if "" in value else []), *others)))


def _templates(value: object) -> Templates:
    fields = _table(value, "must be a table")
    _refuse_unknown("", fields, (*_TEMPLATE_KEYS, *EVENTS), "the templates")
    common = _with(Templates(), "", fields)
    events = {event: _table(fields[event], f"must have a table for {event!r}") for event in EVENTS if event in fields}
    for event, texts in events.items():
        _refuse_unknown(event, texts, _TEMPLATE_KEYS, "a template")
    return replace(common, by_event={event: _with(common, f"{event}.", texts) for event, texts in events.items()})


def _with(templates: Templates, place: str, fields: Mapping[str, Any]) -> Templates:
    found = {key: _template(f"{place}{key}", fields[key]) for key in _TEMPLATE_KEYS if key in fields}
    return replace(templates, by_event={}, **found)


def _template(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"has {place}, which must be a string, not {type_name(value)}")  # noqa: TRY004 (as above)
    if len(value) > _LONGEST_TEMPLATE:
        raise ValueError(f"has {place}, which has {len(value)} characters, and at most {_LONGEST_TEMPLATE} are read")
    if any(not one.isprintable() and one != "\n" for one in value) or ("\n" in value and place.endswith("title")):
        raise ValueError(f"has {place}, which must not have control characters in it (a message may have line breaks)")
    if problem := problem_of(value):
        raise ValueError(f"has {place}, which {problem}")
    return value


def _table(value: object, must: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{must}, not {type_name(value)}")  # noqa: TRY004 (as above)
    return value


def _refuse_unknown(place: str, fields: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    if unknown := sorted(fields.keys() - set(known)):
        name = f"{place}.{unknown[0]}" if place else unknown[0]
        raise ValueError(f"has {name}, which is no key of {what}: known are {instead_of(unknown[0], known)}")


def _no_text(_text: str) -> Any:
    raise ValueError("is for a file alone")


TARGETS: Final[Kind[Mapping[str, Target]]] = Kind(_targets, _no_text)
TEMPLATES: Final[Kind[Templates]] = Kind(_templates, _no_text)

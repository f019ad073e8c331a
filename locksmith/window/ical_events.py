"""The events of an iCalendar file (RFC 5545), read strictly: all that says when an event is must be known. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

MOST_EVENTS = 200
"""Of a file: each cycle of the loop checks each of them."""
_MOST_LINES = 50_000
_LONGEST_SHOWN = 60

_IGNORED = {"VTIMEZONE", "VALARM", "VTODO", "VJOURNAL"}
"""Components that are no time of a window. A time zone is known by its IANA name."""
_PARTS = {"": {"VCALENDAR"}, "VCALENDAR": {"VEVENT", *_IGNORED}, "VEVENT": {"VALARM"}}
"""The components of each component."""
_UNSUPPORTED = {"RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"}
_TIMES = {"DTSTART", "DTEND", "DURATION", "RRULE", "STATUS", "SUMMARY"}

_LINE = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)')
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^";:]*)')


@dataclass(frozen=True, slots=True)
class Property:
    """A line: its value and its parameters, with names in capitals."""

    value: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A VEVENT that is not cancelled; `line` is where it begins. Only properties that say when it is are kept."""

    line: int
    properties: dict[str, Property] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """Its status in capitals, if it has any."""
        return self.properties["STATUS"].value.strip().upper() if "STATUS" in self.properties else ""

    @property
    def name(self) -> str:
        """How an error names it."""
        title = self.properties["SUMMARY"].value.replace("\\", "") if "SUMMARY" in self.properties else ""
        return f"the event {title[:_LONGEST_SHOWN]!r} (line {self.line})" if title else f"the event of line {self.line}"


def read_events(text: str) -> list[Event]:
    """Give the events of a file; `ValueError` says in a sentence what is wrong. A file without an event is wrong."""
    reader = _Reader()
    for number, line in _unfolded(text):
        reader.read(number, *_property(number, line))
    if reader.inside:
        raise ValueError(f"it ends within {reader.inside[-1]}: a part of the file is missing")
    kept = [one for one in reader.found if one.status != "CANCELLED"]
    if not kept:
        raise ValueError("it has no event")
    return kept


@dataclass(slots=True)
class _Reader:
    """The events so far, and the components that the next line is in."""

    found: list[Event] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    def read(self, number: int, name: str, read: Property) -> None:
        if name == "BEGIN":
            self.inside.append(_component(number, read.value, self.inside))
            if self.inside[-1] == "VEVENT":
                self.found.append(Event(number))
        elif name == "END":
            if not self.inside or self.inside.pop() != read.value.strip().upper():
                raise ValueError(f"line {number} ends {read.value!r}, which was not begun")
        elif not self.inside:
            raise ValueError(f"line {number} is outside of BEGIN:VCALENDAR")
        elif self.inside == ["VCALENDAR", "VEVENT"]:
            _keep(self.found[-1], name, read)
        if len(self.found) > MOST_EVENTS:
            raise ValueError(f"it has more than {MOST_EVENTS} events, which is the limit: remove those that are past")


def _keep(event: Event, name: str, read: Property) -> None:
    if name in _UNSUPPORTED:
        raise ValueError(f"{event.name} has {name}, which is not supported: write each of its days as an event")
    if name in _TIMES:
        if name in event.properties:
            raise ValueError(f"{event.name} has {name} twice")
        event.properties[name] = read


def _component(number: int, value: str, inside: list[str]) -> str:
    name, within = value.strip().upper(), inside[-1] if inside else ""
    if name in _PARTS.get(within, ()) or any(one in _IGNORED for one in inside):
        return name
    raise ValueError(f"line {number} begins {name!r}{f' within {within}' if within else ''}, which is not supported")


def _property(number: int, line: str) -> tuple[str, Property]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"line {number} is no line of an iCalendar file: {line[:_LONGEST_SHOWN]!r}")
    name, parameters, value = found.groups()
    known = {key.upper(): text.strip('"') for key, text in _PARAMETER.findall(parameters)}
    return name.upper(), Property(value, known)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Give each line with its number. What begins with a blank belongs to the previous."""
    begun, parts = 0, list[str]()
    joined = partial("".join, parts)
    for number, line in enumerate(re.split(r"\r?\n", text.removeprefix("\ufeff")), 1):
        if number > _MOST_LINES:
            raise ValueError(f"it has more than {_MOST_LINES} lines, which is the limit")
        if line[:1] in {" ", "\t"} and parts:
            parts.append(line[1:])
            continue
        if parts:
            yield begun, joined()
        begun = number
        parts[:] = [line] if line.strip() else []
    if parts:
        yield begun, joined()

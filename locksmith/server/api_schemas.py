"""The schemas of what the API answers: JSON Schema 2020-12, as OpenAPI 3.1 has it. Pure.

An object has each property that is listed here. Later versions may add others, which clients must not mind.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
MAYBE_MOMENT: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
MAYBE_COUNT: Final[Schema] = {"type": ["integer", "null"]}


def ref(name: str) -> Schema:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """Allow null too."""
    return {"oneOf": [schema, {"type": "null"}]}


def several(schema: Schema) -> Schema:
    """Make it a list."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """Make it an object whose properties have any names."""
    return {"type": "object", "additionalProperties": schema}


def obj(says: str, optional: Mapping[str, Schema] | None = None, **properties: Schema) -> Schema:
    """Make an object; a property whose name is a word of Python ends in `_` here."""
    named = {name.rstrip("_"): schema for name, schema in properties.items()}
    return {
        "type": "object",
        "description": says,
        "properties": {**named, **(optional or {})},
        "required": list(named),
    }


_SUMS: Final[Mapping[str, Schema]] = {
    "group": TEXT,
    "max": {"type": "integer"},
    "available": {"type": "integer"},
    "share": maybe(obj("The share of the machines that `max` follows.", percent=TEXT, void=FLAG)),
    **dict.fromkeys(
        ("held", "waiting", "present", "lost", "overdue", "unhealthy", "failed", "orphaned", "dry_run"), COUNT
    ),
    "freeze": maybe(ref("Order")),
    "spacing": maybe(ref("Order")),
    "held_back": by_name(ref("Order")),
    "incidents": several(ref("Incident")),
    "halted": FLAG,
    "progress": ref("Progress"),
    "path": {"type": "string", "description": "Where more of the group is."},
}
_READ: Final[Mapping[str, Schema]] = {
    "schema": {"const": 1},
    "revision": {"type": "integer", "description": "The revision of the store that was read."},
    "at": {**MOMENT, "description": "When the store was read."},
    "stale": {
        "type": ["string", "null"],
        "description": "Why the store could not be read since; null: what is here is current.",
    },
}
_NEXT: Final[Schema] = {"type": ["string", "null"], "description": "The `cursor` of what follows; null: this is all."}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": obj("Why there is no answer.", kind=TEXT, value={"type": "string", "description": "A sentence."}),
    "Order": obj(
        "An operator's order, or the pause after a reboot.",
        who=TEXT,
        since=MOMENT,
        until=MAYBE_MOMENT,
        reason=TEXT,
        fenced_max=MAYBE_COUNT,
    ),
    "Incident": obj("A reboot that went wrong.", id=TEXT, name=TEXT, how=TEXT, why=TEXT),
    "Claim": obj(
        "Why an id holds a slot.",
        {"failure": TEXT, "acknowledged": TEXT},
        kind=TEXT,
        who=TEXT,
        hostname=TEXT,
        since=MOMENT,
        state=TEXT,
        reason=TEXT,
        version=TEXT,
    ),
    "Holder": obj(
        "Who holds a slot.",
        id=TEXT,
        name=TEXT,
        how=TEXT,
        since=MAYBE_MOMENT,
        lost_at=MAYBE_MOMENT,
        claim=maybe(ref("Claim")),
    ),
    "Waiter": obj(
        "A place in the queue.", id=TEXT, hostname=TEXT, kind=TEXT, who=TEXT, since=MOMENT, reason=TEXT, version=TEXT
    ),
    "Node": obj(
        "What a machine that is present says of itself.",
        id=TEXT,
        hostname=TEXT,
        group=TEXT,
        strategy=TEXT,
        boot_id=TEXT,
        version=TEXT,
        state=TEXT,
        code=TEXT,
        reason=TEXT,
        since=MOMENT,
        until=MAYBE_MOMENT,
        need=maybe(
            obj("Why a reboot is needed.", trigger=TEXT, version=TEXT, since=MAYBE_MOMENT, reasons=several(TEXT))
        ),
        window=maybe(obj("Its next window.", opens=MOMENT, closes=MAYBE_MOMENT, moment=MAYBE_MOMENT)),
        clone=MAYBE_TEXT,
        dry_run=FLAG,
    ),
    "Member": obj(
        "What is remembered of a machine that is not present.",
        id=TEXT,
        hostname=TEXT,
        gone=MAYBE_MOMENT,
        how=MAYBE_TEXT,
        need=maybe(obj("Why it needed a reboot.", what=TEXT, since=MAYBE_MOMENT)),
    ),
    "Progress": obj(
        "How far the rollout is. Without one `machines` is 0.",
        since=MAYBE_MOMENT,
        machines=COUNT,
        done=COUNT,
        left=COUNT,
        down=COUNT,
        share_done={"type": "number", "minimum": 0, "maximum": 1},
        median_seconds=MAYBE_COUNT,
    ),
    "Opening": obj("A window; null: it has no end in sight.", opens=MAYBE_MOMENT, closes=MAYBE_MOMENT),
    "Windows": obj(
        "Windows that several machines have.",
        {"closes": MAYBE_MOMENT, "opens": MAYBE_MOMENT},
        machines=COUNT,
        open=FLAG,
        at_any_time=FLAG,
        windows=several(TEXT),
        blackouts=several(TEXT),
        next=several(ref("Opening")),
    ),
    "Sums": obj("A group in numbers.", **_SUMS, revision=_READ["revision"], at=MOMENT, stale=_READ["stale"]),
    "Groups": obj("All groups.", schema=_READ["schema"], groups=several(ref("Sums")), problems=several(TEXT)),
    "Group": obj(
        "A group.",
        **_READ,
        **_SUMS,
        holders=several(ref("Holder")),
        waiters={**several(ref("Waiter")), "description": "The first 100; `waiting` is how many there are."},
        windows={**several(ref("Windows")), "description": "The windows of its machines, those of most first; 10."},
        absent=COUNT,
        problems=several(TEXT),
    ),
    "Machines": obj(
        "Machines.", **_READ, group=TEXT, nodes=several(ref("Node")), absent=several(ref("Member")), next=_NEXT
    ),
    "Machine": obj(
        "A machine.",
        **_READ,
        group=TEXT,
        id=TEXT,
        name=TEXT,
        present=FLAG,
        node=maybe(ref("Node")),
        position={"type": ["integer", "null"], "description": "Its place in the queue, from 1 on."},
        waiting=COUNT,
        holding=maybe(ref("Holder")),
        absent=maybe(ref("Member")),
        hold=maybe(ref("Order")),
        why=several(TEXT),
    ),
    "Event": obj(
        "What happened once.",
        at=MOMENT,
        act=TEXT,
        who=TEXT,
        host=TEXT,
        reason=TEXT,
        detail=TEXT,
        id=TEXT,
        hostname=TEXT,
        kind=TEXT,
        version=TEXT,
        since=MAYBE_MOMENT,
        taken=MAYBE_MOMENT,
        held_seconds=MAYBE_COUNT,
    ),
    "Hold": obj("A slot that is held.", id=TEXT, claim=maybe(ref("Claim")), held_seconds=MAYBE_COUNT),
    "History": obj(
        "What has happened.",
        **_READ,
        group=TEXT,
        events=several(ref("Event")),
        holds=several(ref("Hold")),
        problem=MAYBE_TEXT,
        next=_NEXT,
    ),
    "Span": obj(
        "A slot that was held. null is what is not known, or has not happened.",
        id=TEXT,
        name=TEXT,
        kind=MAYBE_TEXT,
        outcome={"enum": ["rebooted", "not_rebooted", "unlocked", "expired", "held"]},
        down={"enum": ["yes", "no", "unknown"]},
        down_from=MAYBE_MOMENT,
        from_=MAYBE_MOMENT,
        made=MAYBE_MOMENT,
        to=MAYBE_MOMENT,
        how=MAYBE_TEXT,
        who=TEXT,
        reason=TEXT,
        detail=TEXT,
        version=TEXT,
    ),
    "Timeline": obj(
        "Which slots were held when.",
        **_READ,
        group=TEXT,
        from_=MOMENT,
        to=MOMENT,
        complete_from={**MOMENT, "description": "Of the time before, not all is known."},
        most={**COUNT, "description": "How many slots were held at once at the most."},
        holds=several(ref("Span")),
    ),
    "Forecast": obj(
        "When a rollout will be done.",
        **_READ,
        group=TEXT,
        of={"enum": ["pending", "all"]},
        machines=COUNT,
        forecast=maybe(by_name({})),
        problem={"type": ["string", "null"], "description": "Why there is no forecast."},
    ),
    "Description": {"type": "object", "description": "An OpenAPI 3.1 description."},
}

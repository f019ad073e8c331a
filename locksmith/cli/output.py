"""What the tool prints: the result on standard output, everything said beside it on standard error."""

import json
from collections.abc import Mapping
from typing import Any

import click

from locksmith import fleet
from locksmith.cli.go_flags import GoOption
from locksmith.errors import CorruptValueError
from locksmith.fleet import Claim
from locksmith.share import Share
from locksmith.text import one_line

SCHEMA = 1

json_flag = click.option("--json", "as_json", cls=GoOption, is_flag=True, help="Print one JSON object instead.")


def note(text: str) -> None:
    """Tell the person something that no script parses."""
    click.echo(one_line(text), err=True)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one object on one line, after the schema's number."""
    click.echo(json.dumps({"schema": SCHEMA, **fields}))


def share_fields(share: Share | CorruptValueError | None, slots: int) -> dict[str, object] | None:
    """Give what scripts may know of a share beside a `max`; None where there is none that can be read."""
    return {"percent": share.percent, "void": share.is_void(slots)} if isinstance(share, Share) else None


def claim_fields(claim: Claim | CorruptValueError | None) -> dict[str, str] | None:
    """Give what scripts may know of a claim; None where there is no record that can be read."""
    if not isinstance(claim, Claim):
        return None
    return {
        "kind": claim.kind,
        "who": claim.who,
        "hostname": claim.hostname,
        "since": fleet.moment(claim.since),
        "state": claim.state,
        "reason": claim.reason,
        "version": claim.version,
        **({"trouble": claim.trouble} if claim.trouble else {}),
        **({"acknowledged": claim.acknowledged} if claim.acknowledged else {}),
    }

"""What the tool prints: the result on standard output, everything said beside it on standard error."""

import json
from collections.abc import Mapping
from typing import Any

import click

from locksmith import fleet
from locksmith.cli.go_flags import GoOption
from locksmith.cli.run import one_line
from locksmith.errors import CorruptValueError
from locksmith.fleet import Claim

SCHEMA = 1

json_flag = click.option("--json", "as_json", cls=GoOption, is_flag=True, help="Print one JSON object instead.")


def note(text: str) -> None:
    """Tell the person something that no script parses."""
    click.echo(one_line(text), err=True)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one object on one line, after the schema's number."""
    click.echo(json.dumps({"schema": SCHEMA, **fields}))


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
    }

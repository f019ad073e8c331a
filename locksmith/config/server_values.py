"""The reader of `[server.groups]`: a table for each group of FleetLock's clients."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_interface, ip_network
from typing import Any, Final

from locksmith.config.server_model import Network, ServedGroup
from locksmith.config.urls import public_url
from locksmith.config.values import BOOLEAN, PATH, SPAN, TEXT, TEXTS, Kind, type_name
from locksmith.errors import UsageError
from locksmith.lock.records.keys import group_prefix

GROUP_NAME: Final = re.compile(r"[a-zA-Z0-9.-]{1,200}")
"""FleetLock's names of groups."""


def _groups(value: object) -> Mapping[str, ServedGroup]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of tables, not {type_name(value)}")  # noqa: TRY004 (one kind of error for all readers)
    return {name: _group(name, fields) for name, fields in value.items()}


def _group(name: str, fields: object) -> ServedGroup:
    _refuse_name(name)
    if not isinstance(fields, dict):
        raise ValueError(f"must have a table for {name!r}, not {type_name(fields)}")  # noqa: TRY004 (as above)
    if unknown := fields.keys() - _FIELDS.keys():
        raise ValueError(f"has {name}.{min(unknown)}, which is no key of a group: known are {', '.join(_FIELDS)}")
    read: dict[str, Any] = {}
    for field, value in fields.items():
        attribute, reader = _FIELDS[field]
        try:
            read[attribute] = reader(value)
        except ValueError as error:
            raise ValueError(f"has {name}.{field}, which {error}") from None
        if field in _RULES and not read[attribute]:
            # Where a variable of a template is not set, a rule would be left out without a word.
            raise ValueError(f"has {name}.{field}, which is empty: leave it out if it is not to be asked for")
    group = ServedGroup(**read)
    if not (group.clients or group.password_file or group.certificates):
        raise ValueError(
            f"has the group {name!r} without a rule that says who its clients are: set clients, password-file or "
            f'certificates; for every client, clients = ["0.0.0.0/0", "::/0"]'
        )
    return group


def _refuse_name(name: str) -> None:
    if not GROUP_NAME.fullmatch(name):
        raise ValueError(
            f"has the group {name!r:.80}, which no FleetLock client can be in: "
            "a name has at most 200 of the characters a-z, A-Z, 0-9, . and -"
        )
    try:
        group_prefix(name)
    except UsageError as error:
        raise ValueError(f"has the group {name!r}, which cannot be used: {error}") from None


def _clients(value: object) -> tuple[Network, ...]:
    return tuple(dict.fromkeys(map(_network, TEXTS.typed(value))))


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        hint = f"did you mean {ip_interface(text).network}?"
    except ValueError:
        hint = "write ranges like 10.0.0.0/8 or fd00::/8, and addresses; names of machines are not looked up"
    raise ValueError(f"has {text!r}, which is no range of addresses: {hint}")


def _no_text(_text: str) -> Mapping[str, ServedGroup]:
    raise ValueError("is for a file alone")


_FIELDS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "clients": ("clients", _clients),
    "password-file": ("password_file", PATH.typed),
    "certificates": ("certificates", BOOLEAN.typed),
    "limit": ("limit", SPAN.typed),
    "window-sets": ("window_sets", TEXTS.typed),
}
"""Each key of a group, the attribute that it is, and its reader."""

_RULES: Final = {"clients", "password-file"}
"""Those that say who the clients are, and may not be empty."""

NETWORKS: Final[Kind[tuple[Network, ...]]] = Kind(_clients, lambda text: _clients(TEXTS.text(text)))
PUBLIC_URL: Final[Kind[str]] = Kind(
    lambda value: public_url(TEXT.typed(value)), lambda text: public_url(TEXT.text(text))
)
GROUPS = Kind(_groups, _no_text)

"""The names that earlier versions gave to fields and values of records: the only module that knows them. Pure.

This version writes the new names, and reads both. An older daemon keeps a new name as an unknown field, and so loses
the sentences for people: why a reboot went wrong, and why it is needed. No safety rule depends on those. The run of a
clone is another matter: a daemon that does not read it may reboot although another machine has its id. So a presence
names a clone's run in both ways.
"""

from collections.abc import Mapping
from typing import Any

CLAIM = {"trouble": "failure"}
"""Fields of a claim, in the store and in the reboot journal."""
NODE = {
    "wish": "need",
    "wish_version": "need_version",
    "wish_since": "need_since",
    "wish_reasons": "need_reasons",
    "twin": "clone",
    "twin_boot": "clone_boot",
}
"""Fields of a machine's presence."""
NODE_WORDS = {"state": {"withdrawing": "aborting"}, "code": {"line": "queue"}}
"""Values of a presence, by their fields."""


def of_claim(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a claim by their new names."""
    return _with_new_names(fields, CLAIM)


def of_node(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a presence by their new names, and their values in new words."""
    found = _with_new_names(fields, NODE)
    for name, words in NODE_WORDS.items():
        if isinstance(word := found.get(name), str):
            found[name] = words.get(word, word)
    return found


def with_clone_for_older(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a presence, with the run of a clone also by the name that older versions read."""
    return {**fields, **({"twin_boot": fields["clone_boot"]} if fields["clone_boot"] else {})}


def _with_new_names(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rename fields. If both names are there, the older counts: an older version wrote last, and kept the new one."""
    renamed = {new: fields[old] for old, new in names.items() if old in fields}
    return {**{name: value for name, value in fields.items() if name not in names}, **renamed}

"""Whether a group of FleetLock's clients keeps its rules where a later file replaces it. Pure."""

from typing import Final

BINDING: Final = ("certificates", "clients", "password-file", "window-sets")
"""The keys that let a client in, or let it reboot at times only."""


def refuse_fewer_rules(earlier: object, later: object) -> None:
    """Refuse groups that replace those of an earlier file and leave a rule of theirs out. `ValueError`: which."""
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return
    for name in sorted(earlier.keys() & later.keys()):
        for key in BINDING:
            attribute = key.replace("-", "_")
            if getattr(earlier[name], attribute) and not getattr(later[name], attribute):
                raise ValueError(
                    f"has the group {name} without {key}, which an earlier file sets for it. A group replaces the "
                    f"earlier one as a whole: repeat {name}.{key} here, or take it out there"
                )

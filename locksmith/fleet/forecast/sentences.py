"""The answer in words: what limits a rollout, for how long, and what would help. Pure."""

from datetime import timedelta

from locksmith.fleet.forecast.advice import Advice, Saving
from locksmith.fleet.forecast.answer import GroupAnswer
from locksmith.fleet.forecast.limit import Limit
from locksmith.util.words import listed, span

_NAMES = {
    Limit.WINDOW: ("the window", "the windows"),
    Limit.SLOTS: ("the slots", "the slots"),
    Limit.FAILURES: ("the failures", "the failures"),
    Limit.SPACING: ("the spacing", "the spacings"),
    Limit.ARRIVAL: ("the slow arrival", "the slow arrivals"),
    Limit.REBOOT: ("the length of a reboot", "the length of a reboot"),
}


def limit(advice: Advice) -> str:
    """Say what limits a rollout, and for how long: `the window of group db limits it: it is shut for 9 h of 12 h`."""
    if len(advice.groups) == 1:
        [group] = advice.groups
        subject = _subject(group.limit, [group])
        verb = "limit" if subject.partition(" of ")[0].endswith("s") else "limits"
        return f"{subject} {verb} it: {_how_long(group)}"
    by_limit: dict[Limit, list[GroupAnswer]] = {}
    for group in advice.groups:
        by_limit.setdefault(group.limit, []).append(group)
    subjects = [_subject(found, groups) for found, groups in by_limit.items()]
    return f"{listed(subjects)} limit it: any of them may end last"


def help_with(saving: Saving) -> str:
    """Say what a change saves of the whole."""
    then = f", until group {saving.then} ends last" if saving.then else ""
    return f"{saving.change} would save {span(timedelta(seconds=saving.seconds))}{then}"


def _subject(found: Limit, groups: list[GroupAnswer]) -> str:
    one, more = _NAMES[found]
    names = listed([group.plan.name for group in groups])
    if len(groups) > 1:
        return f"{more} of groups {names}"
    if found is Limit.SLOTS and _one_slot(groups[0]):
        return f"the one slot of group {names}"
    many = found is Limit.WINDOW and groups[0].plan.windows is not None and len(groups[0].plan.windows.windows) > 1
    return f"{more if many else one} of group {names}"


def _one_slot(group: GroupAnswer) -> bool:
    return group.limit is Limit.SLOTS and group.plan.slots == 1


def _how_long(group: GroupAnswer) -> str:
    spent, whole = (span(timedelta(seconds=one)) for one in (group.spent[group.limit], sum(group.spent.values())))
    what = {
        Limit.WINDOW: "nothing is open",
        Limit.SLOTS: "it is in use" if group.plan.slots == 1 else f"all {group.plan.slots:,} are in use",
        Limit.FAILURES: "machines that failed wait for their repair",
        Limit.SPACING: "only the pause is in the way",
        Limit.ARRIVAL: "no machine needs a reboot yet",
        Limit.REBOOT: "the last ones reboot",
    }[group.limit]
    return f"{what} for {spent} of {whole}"

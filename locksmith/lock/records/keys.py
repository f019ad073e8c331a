"""Where everything is in the store: CoreOS locksmith's keys, one folder for each group, escaped as Go does."""

from hashlib import sha256
from urllib.parse import quote_plus, unquote_plus

from locksmith.errors import UsageError

ROOT = "coreos.com/updateengine/rebootlock"


CREDENTIALS = "locksmith/credentials/"
"""The prefix of the credentials of locksmith-server.

It is apart from `ROOT`: the etcd user of a machine in the default group may write all that is below `ROOT`, and so it
would make itself an operator of all groups.
"""


def query_escape(text: str) -> str:
    """Escape as Go's `url.QueryEscape` does: a space is `+`, everything but letters, digits and `-_.~` is `%XX`."""
    return quote_plus(text, safe="")


def group_prefix(group: str) -> str:
    """Name the prefix, ending in `/`, of everything about a group; the empty group is the default one.

    `.` and `..` alone are refused: CoreOS locksmith collapses them in a path (`..` becomes the default group's key).
    """
    if group in {".", ".."}:
        raise UsageError(f"group {group!r} cannot be used: etcd paths collapse it; choose another name")
    return f"{ROOT}/groups/{query_escape(group)}/" if group else f"{ROOT}/"


def semaphore_key(group: str) -> str:
    """Name the key of a group's semaphore: CoreOS locksmith's, byte for byte."""
    return f"{group_prefix(group)}semaphore"


def holders_prefix(group: str) -> str:
    """Name the prefix of a group's holder records."""
    return f"{group_prefix(group)}holders/"


def holder_key(group: str, holder: str) -> str:
    """Name the key of one holder's record."""
    return holders_prefix(group) + segment(holder)


def waiters_prefix(group: str) -> str:
    """Name the prefix of a group's queue: who waits for a slot."""
    return f"{group_prefix(group)}waiters/"


def tickets_prefix(group: str, name: str) -> str:
    """Name the prefix of the tickets among which that of `name` is: one of `SLICES`, each as likely as any other."""
    return f"{group_prefix(group)}tickets/{sha256(name.encode()).hexdigest()[:2]}/"


SLICES = 256
"""How many prefixes the tickets of a group have: one of them tells roughly how many tickets there are."""


def ticket_key(group: str, name: str) -> str:
    """Name the key of the ticket by which `name` finds its place in the queue."""
    return tickets_prefix(group, name) + segment(name)


def nodes_prefix(group: str) -> str:
    """Name the prefix of a group's presence: which machines are there."""
    return f"{group_prefix(group)}nodes/"


def node_key(group: str, machine_id: str) -> str:
    """Name the key of one machine's presence."""
    return nodes_prefix(group) + segment(machine_id)


def members_prefix(group: str) -> str:
    """Name the prefix of the machines of a group that are remembered, and are not known to be gone."""
    return f"{group_prefix(group)}members/"


def member_key(group: str, machine_id: str) -> str:
    """Name the key of what a group remembers of a machine."""
    return members_prefix(group) + segment(machine_id)


def absent_prefix(group: str) -> str:
    """Name the prefix of the machines of a group that are gone."""
    return f"{group_prefix(group)}absent/"


def absent_key(group: str, machine_id: str) -> str:
    """Name the key of what a group remembers of a machine that is gone."""
    return absent_prefix(group) + segment(machine_id)


def share_key(group: str) -> str:
    """Name the key of the share that a group's `max` follows, where it does."""
    return f"{group_prefix(group)}share"


def freeze_key(group: str) -> str:
    """Name the key of an operator's order that no machine of a group begins a reboot."""
    return f"{group_prefix(group)}freeze"


def holds_prefix(group: str) -> str:
    """Name the prefix of the orders that a machine does not reboot."""
    return f"{group_prefix(group)}hold/"


def hold_key(group: str, machine_id: str) -> str:
    """Name the key of the order that one machine does not reboot."""
    return holds_prefix(group) + segment(machine_id)


def spacing_key(group: str) -> str:
    """Name the key of the pause after a reboot in a group."""
    return f"{group_prefix(group)}spacing"


def incidents_key(group: str) -> str:
    """Name the key of what is left of slots that expired."""
    return f"{group_prefix(group)}incidents"


def resume_key(group: str) -> str:
    """Name the key of the last `resume` of an operator."""
    return f"{group_prefix(group)}resume"


def reboot_key(group: str, machine_id: str) -> str:
    """Name the key of the last reboot of one machine that locksmith made."""
    return f"{group_prefix(group)}reboots/{segment(machine_id)}"


def hooks_key(group: str, client: str) -> str:
    """Name the key that exists while a server runs the hooks of a FleetLock client."""
    return f"{group_prefix(group)}hooks/{segment(client)}"


def ended_prefix(group: str) -> str:
    """Name the prefix of the claims that machines have ended through a server."""
    return f"{group_prefix(group)}ended/"


def forgotten_key(group: str) -> str:
    """Name the key that is written before such claims are forgotten: a request counts if its machine has seen that."""
    return f"{group_prefix(group)}forgotten"


def ended_key(group: str, machine_id: str) -> str:
    """Name the key of the last claims that a machine has ended through a server: none of them takes a slot later."""
    return ended_prefix(group) + segment(machine_id)


def windows_prefix() -> str:
    """Name the prefix of the sets of windows, which all groups share."""
    return f"{ROOT}/windows/"


def window_key(name: str) -> str:
    """Name the key of a set of windows."""
    return windows_prefix() + segment(name)


def airlock_key(group: str) -> str:
    """Name the key of the mark that a group was taken over from airlock."""
    return f"{group_prefix(group)}airlock"


def machines_prefix() -> str:
    """Name the prefix of the credentials of machines."""
    return f"{CREDENTIALS}machines/"


def certificates_prefix() -> str:
    """Name the prefix of the machines whose client certificates were revoked."""
    return f"{CREDENTIALS}certificates/"


def certificates_key(machine_id: str) -> str:
    """Name the key that exists while the client certificates of a machine count no more."""
    return certificates_prefix() + segment(machine_id)


def machine_of_certificates(key: str) -> str:
    """Undo `certificates_key`."""
    return unsegment(key.removeprefix(certificates_prefix()))


def people_prefix() -> str:
    """Name the prefix of the credentials of viewers and operators."""
    return f"{CREDENTIALS}people/"


def sessions_prefix() -> str:
    """Name the prefix of the sessions of the page."""
    return f"{CREDENTIALS}sessions/"


def enrolments_prefix() -> str:
    """Name the prefix of the secrets with which machines enrol."""
    return f"{CREDENTIALS}enrolments/"


def enrolled_key(public: str) -> str:
    """Name the key that counts the machines of an enrolment secret."""
    return f"{CREDENTIALS}enrolled/{public}"


def credential_changes_key() -> str:
    """Name the key that is written with each credential that is revoked or replaced."""
    return f"{CREDENTIALS}changes"


def history_prefix(group: str) -> str:
    """Name the prefix of a group's history."""
    return f"{group_prefix(group)}history/"


def credential_history_prefix(group: str) -> str:
    """Name the prefix of what became of the credentials for a group, which the history shows too."""
    return f"{group_prefix(group)}credential-history/"


def ledger_key(group: str) -> str:
    """Name the key of what the servers have told of a group."""
    return f"{group_prefix(group)}notices/ledger"


def outbox_prefix(group: str) -> str:
    """Name the prefix of the notices of a group that are to be sent."""
    return f"{group_prefix(group)}notices/outbox/"


def sent_prefix(group: str, target: str) -> str:
    """Name the prefix of what a target has of the notices of a group."""
    return f"{group_prefix(group)}notices/sent/{segment(target)}/"


def groups_prefix() -> str:
    """Name the prefix below which every group but the default one has its folder."""
    return f"{ROOT}/groups/"


def group_of_folder(folder: str) -> str:
    """Name the group of a folder below `groups_prefix`."""
    return unquote_plus(folder)


def segment(name: str) -> str:
    """Escape an id so that it is one visible path segment on v2 too.

    On v2 a `/` makes a folder, a leading `_` hides a key, and `.` and `..` collapse.
    """
    escaped = query_escape(name)
    if escaped.startswith("_") or escaped in {".", ".."}:
        return f"%{ord(escaped[0]):02X}{escaped[1:]}"
    return escaped


def unsegment(text: str) -> str:
    """Undo `segment`."""
    return unquote_plus(text)

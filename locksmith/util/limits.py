"""The longest records of the store and of this machine, in bytes. Pure.

A longer record is refused unread. So each value that the loop parses takes only a moment.
"""

from collections.abc import Sequence

from locksmith.util.text import cut

_KIB = 1024

SEMAPHORE = 1024 * _KIB
"""29,000 holders with ids of 32 characters; etcd itself takes requests of 1.5 MiB."""
INCIDENTS = 1024 * _KIB
NODE = 256 * _KIB
MEMBER = 64 * _KIB
CLAIM = 64 * _KIB
WAITER = 64 * _KIB
ORDER = 64 * _KIB
CREDENTIAL = 64 * _KIB
WINDOW_SET = 64 * _KIB
EVENT = 64 * _KIB
SHARE = 64 * _KIB
NOTICE = 64 * _KIB
LEDGER = 1024 * _KIB
"""What the servers have told of a group: at most 2,000 machines for each of four events."""
LAST_REBOOT = 64 * _KIB
JOURNAL = 256 * _KIB
"""The reboot journal, which includes a claim."""
LOCAL = 64 * _KIB
"""Each other file that locksmith itself writes on this machine."""
CONFIGURATION = 256 * _KIB
"""Each file of the configuration."""
CALENDAR = 1024 * _KIB
"""Each iCalendar file."""
SECRET = 4 * _KIB
"""A file with a password."""
PEM = 1024 * _KIB
"""A file with certificates or a key."""

DEEPEST = 32
"""Nested objects and lists of a record: a record that was read can be written again."""

_TEXT = 500
_TEXTS = 10


def text(words: str) -> str:
    """Cut a text from elsewhere, so that its record is never too long."""
    return cut(words, _TEXT)


def texts(words: Sequence[str]) -> tuple[str, ...]:
    """Cut several texts."""
    return tuple(map(text, words[:_TEXTS]))

"""How long a record of the store or of this machine may be, in bytes. Pure.

A longer one is refused unread: each value that the loop parses takes a moment then, whoever wrote it.
"""

from collections.abc import Sequence

from locksmith.util.text import cut

_KIB = 1024

SEMAPHORE = 1024 * _KIB
"""29,000 holders with ids of 32 characters; etcd itself takes requests of 1.5 MiB."""
INCIDENTS = 1024 * _KIB
NODE = 256 * _KIB
CLAIM = 64 * _KIB
WAITER = 64 * _KIB
ORDER = 64 * _KIB
WINDOW_SET = 64 * _KIB
EVENT = 64 * _KIB
SHARE = 64 * _KIB
LAST_REBOOT = 64 * _KIB
JOURNAL = 256 * _KIB
"""The reboot journal, which has a claim in it."""
LOCAL = 64 * _KIB
"""Each other file of this machine's that locksmith itself writes."""
CONFIGURATION = 256 * _KIB
"""Each file of the configuration."""
SECRET = 4 * _KIB
"""A file with a password."""
PEM = 1024 * _KIB
"""A file with certificates or a key."""

DEEPEST = 32
"""Objects and lists within one another that a record may have: what is read can be written again."""

_TEXT = 500
_TEXTS = 10


def text(words: str) -> str:
    """Cut a text of somebody else's, so that the record that it goes into is never too long."""
    return cut(words, _TEXT)


def texts(words: Sequence[str]) -> tuple[str, ...]:
    """Do the same to several."""
    return tuple(map(text, words[:_TEXTS]))

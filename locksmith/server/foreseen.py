"""What ends the rehearsal of a call (rehearsal.py) whose answer is not known from memory."""

from locksmith.errors import LocksmithError


class NotForeseenError(LocksmithError):
    """Not done: what the call would do is not known from memory; etcd is to be asked."""

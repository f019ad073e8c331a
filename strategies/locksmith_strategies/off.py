"""`off`: this machine never reboots by itself."""

from locksmith.lock.answer import Denied
from locksmith_strategies.storeless import Storeless


class Off(Storeless):
    """Never gives permission."""

    reboots = False
    answer = Denied("off", "the strategy is off")

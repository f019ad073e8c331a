"""`reboot`: this machine reboots as soon as a reboot is needed and its window is open, without a lock."""

from locksmith.lock.answer import Granted
from locksmith_strategies.storeless import Storeless


class Reboot(Storeless):
    """Always gives permission."""

    reboots = True
    answer = Granted()

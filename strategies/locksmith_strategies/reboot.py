"""`reboot`: this machine reboots as soon as it wants to and its window is open; nobody else is asked."""

from locksmith.lock.answer import Granted
from locksmith_strategies.storeless import Storeless


class Reboot(Storeless):
    """Always gives permission."""

    reboots = True
    answer = Granted()

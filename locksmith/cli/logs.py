"""Logging, a line for each record: under systemd with `<N>` prefixes (sd-daemon(3)), elsewhere with the time."""

import logging
import os
import sys

from locksmith.util.commands import naming_group
from locksmith.util.text import one_line

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class LineFormatter(logging.Formatter):
    """Writes each record as one line, tracebacks too: what others wrote forges no line, and steers no terminal."""

    def __init__(self, form: str, date: str | None = None, *, group: str = "") -> None:
        super().__init__(form, date)
        self._group = group

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        return one_line(naming_group(super().format(record), self._group))


class JournalFormatter(LineFormatter):
    """Begins each line with its priority; the system journal knows the time and the program."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, its priority before it."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        return f"<{priority}>{super().format(record)}"


def set_up(*, debug: bool, group: str = "") -> None:
    """Log to standard error. The commands in what is logged name the `group`, for who reads the log elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    under_systemd = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(
        JournalFormatter("%(message)s", group=group)
        if under_systemd
        else LineFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S", group=group)
    )
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    # What a library says of a connection that ended is said better by the error that follows.
    for name in ("urllib3", "dbus_fast", "etcd"):
        logging.getLogger(name).setLevel(logging.ERROR)

"""Logging: fields and a line for each record into the system journal, elsewhere a line on standard error."""

import logging
import sys
from collections.abc import Mapping

from locksmith.agent.events import EXTRA, MESSAGE_ID
from locksmith.host.system_journal import SystemJournal, stderr_is_journal
from locksmith.util.commands import naming_group
from locksmith.util.text import one_line

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_PREFIX = "LOCKSMITH_"
"""Of every field that is not journald's own."""


class LineFormatter(logging.Formatter):
    """Writes each record as one line, tracebacks too: what others wrote forges no line, and steers no terminal."""

    def __init__(self, form: str, date: str | None = None, *, group: str = "") -> None:
        super().__init__(form, date)
        self._group = group

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        return one_line(naming_group(super().format(record), self._group))


class JournalHandler(logging.Handler):
    """Sends each record to the system journal with its fields: what a machine reads needs no parsing of sentences.

    `fields` are in every record. Each text is made safe, as in a line: what others wrote makes no field of its own.
    """

    def __init__(self, journal: SystemJournal, program: str, fields: Mapping[str, str], *, group: str = "") -> None:
        super().__init__()
        self._journal = journal
        self._program = program
        self._fields = dict(fields)
        self._group = group
        self.setFormatter(LineFormatter("%(message)s", group=group))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            line, priority = self.format(record), _priority(record)
            self._journal.send(
                {
                    "MESSAGE": line,
                    "PRIORITY": str(priority),
                    "SYSLOG_IDENTIFIER": self._program,
                    "CODE_FILE": record.pathname,
                    "CODE_LINE": str(record.lineno),
                    "CODE_FUNC": record.funcName or "",
                    **self._named(getattr(record, EXTRA, {})),
                },
                f"<{priority}>{line}",
            )
        except Exception:  # noqa: BLE001 - a record that cannot be logged stops no reboot, as with any handler
            self.handleError(record)

    def _named(self, fields: Mapping[str, str]) -> dict[str, str]:
        return {
            name if name == MESSAGE_ID else f"{_PREFIX}{name}": one_line(naming_group(value, self._group))
            for name, value in {**self._fields, **fields}.items()
        }


def _priority(record: logging.LogRecord) -> int:
    """Give syslog's number for the level of a record."""
    return next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)


def set_up(*, debug: bool, program: str, group: str = "", fields: Mapping[str, str] | None = None) -> None:
    """Log to the system journal if standard error leads there, and else to standard error.

    The commands in what is logged name the `group`, for who reads the log elsewhere. `fields` are in each record.
    """
    # A record that cannot be written would show its arguments and a traceback, past all that makes texts safe.
    logging.raiseExceptions = False
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        handlers=[_to_journal(program, group, fields or {}) if stderr_is_journal() else _to_stderr(group)],
        force=True,
    )
    # What a library says of a connection that ended is said better by the error that follows.
    for name in ("urllib3", "dbus_fast", "etcd"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Its errors are tracebacks, and clients can cause its warnings; locksmith.server logs what is of use.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)


def _to_journal(program: str, group: str, fields: Mapping[str, str]) -> logging.Handler:
    return JournalHandler(SystemJournal(), program, fields, group=group)


def _to_stderr(group: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S", group=group))
    return handler

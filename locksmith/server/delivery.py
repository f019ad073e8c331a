"""Sends one message to one target, by the library apprise. The only module that imports it, and only when it sends.

Each send runs in a thread of its own, which nothing can stop. A target has one such thread at a time.
"""

import logging
import re
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import unquote

from locksmith.config.notify import read_url
from locksmith.config.notify_model import Target
from locksmith.errors import HostError, LocksmithError
from locksmith.fleet.notice_templates import Templates
from locksmith.fleet.notice_text import payload, render
from locksmith.lock.records.notice import Notice
from locksmith.lock.records.notice_events import (
    BEGINS,
    DONE,
    FROZEN,
    HALTED,
    LOST,
    NO_REBOOT,
    OVERDUE,
    THAWED,
    UNHEALTHY,
)
from locksmith.util.secret import MASK
from locksmith.util.text import one_line
from locksmith.util.threads import in_thread

log = logging.getLogger(__name__)

SEND_LIMIT: Final = 20.0
"""Seconds for a message. What takes longer may still arrive."""
LOWEST: Final = "1.9"
"""The lowest version of apprise."""

SEVERITIES: Final = {
    BEGINS: "info",
    DONE: "success",
    HALTED: "failure",
    UNHEALTHY: "failure",
    LOST: "failure",
    OVERDUE: "warning",
    FROZEN: "info",
    THAWED: "info",
    NO_REBOOT: "warning",
}
"""How a receiver may colour an event: apprise's types."""
_CAUSES: Final = (
    ("refused", "it refused the connection: no program listens there"),
    ("resolve|not known|name resolution|getaddrinfo", "its host name was not found"),
    ("connect timeout|connection to .* timed out|ConnectTimeout", "no connection came about in time"),
    ("timed out|timeout", "it took the connection, and gave no answer in time: the message may still arrive"),
    ("certificate", "its TLS certificate is not one to trust"),
    ("ssl|tls", "TLS failed"),
    ("unreachable|no route", "there is no route to it"),
    ("reset|aborted|closed|broken pipe", "it ended the connection without an answer"),
)
"""What the library's words about a connection mean: they have the URL in them, and are not repeated."""
_SHORTEST_PART: Final = 4
"""Characters of the shortest part of a URL that is left out of what the library says of it."""
_SHORTEST_CAUSE: Final = 3
"""Characters of the shortest word of `_CAUSES`: such a part of a URL is left out before they are looked for."""


class DeliveryError(LocksmithError):
    """Not sent, or not known to be: a target refused it, or cannot be reached. The text has no part of its URL."""


class MissingLibraryError(LocksmithError):
    """Cannot send: apprise is not installed, or is too old."""


def refuse_missing_library() -> None:
    """Raise `MissingLibraryError` if apprise is not there. It is not imported."""
    try:
        found = version("apprise")
    except PackageNotFoundError:
        found = ""
    if [int(part) for part in re.findall(r"\d+", found)[:2]] < [int(part) for part in LOWEST.split(".")]:
        raise MissingLibraryError(
            f"notifications need apprise {LOWEST} or newer, which the extra `server` of the package has: run "
            "`pip install 'locksmith[server]'`"
        )


class Delivery:
    """Sends messages to one target, one after another."""

    def __init__(self, target: Target, templates: Templates) -> None:
        self.target = target
        self._templates = templates
        self._under_way = ""
        self._arrived: set[str] = set()

    async def send(self, told: Notice) -> None:
        """Send a notice. `DeliveryError`: it was not sent, or has taken longer than the limit and may still arrive.

        If a send of the same notice has arrived after its limit, it is not sent again.
        """
        if self._under_way:
            raise DeliveryError("the send before it still hangs")
        if told.id not in self._arrived:
            await self._send(told)
        self._arrived.discard(told.id)

    async def _send(self, told: Notice) -> None:
        title, message = render(self._templates, told)
        self._under_way = told.id

        def work() -> str:
            problem = "its thread ended"
            try:
                problem = _problem_of(self.target, title, message, told)
            finally:
                # Each of these two is one step: the loop may look meanwhile.
                if not problem:
                    self._arrived.add(told.id)
                self._under_way = ""
            return problem

        try:
            problem = await in_thread(work, limit=SEND_LIMIT)
        except TimeoutError:
            raise DeliveryError(f"no answer within {SEND_LIMIT:g} s; it may still arrive") from None
        if problem:
            raise DeliveryError(problem)


def service_of(target: Target) -> str:
    """Name the service that a target's URL is for: `ntfy`. `DeliveryError`, `HostError`: it cannot be used.

    Nothing is sent. It blocks while the library is loaded.
    """
    plugin, _ = _plugin(read_url(target))
    return str(plugin.service_name)


def _problem_of(target: Target, title: str, message: str, told: Notice) -> str:
    """Send it, and say why that failed; empty: it was sent. Never raises: the library may raise anything."""
    try:
        url = read_url(target)
        plugin, library = _plugin(url)
    except (LocksmithError, HostError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the library's import and its plugins may raise anything
        return f"apprise cannot be used: {type(error).__name__}"
    _add_fields(plugin, told)
    heard = _Heard(url)
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        sent = plugin.notify(
            body=message,
            title=title,
            notify_type=SEVERITIES.get(told.event, "info"),
            body_format=library.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - as above
        return _without(url, f"{type(error).__name__}: {error}")
    finally:
        logger.removeHandler(heard)
    if sent:
        return ""
    said = _without(url, " ".join(heard.lines) or f"{plugin.service_name} did not take it")
    return f"{said.rstrip('.')}: {heard.cause}" if heard.cause else said


def _add_fields(plugin: Any, told: Notice) -> None:
    """Give a JSON webhook the fields of a notice; those that its URL sets stay."""
    extras = getattr(plugin, "payload_extras", None)
    if isinstance(extras, dict) and type(plugin).__name__ == "NotifyJSON":
        for name, value in payload(told).items():
            extras.setdefault(name, value)


def _plugin(url: str) -> tuple[Any, Any]:
    """Give what sends to a URL, and the library."""
    refuse_missing_library()
    import apprise  # noqa: PLC0415 - it takes half a second, and only the sender needs it

    _quiet()
    asset = apprise.AppriseAsset(app_id="locksmith", app_desc="locksmith", app_url="", async_mode=False)
    if plugin := apprise.Apprise.instantiate(url, asset=asset):
        return plugin, apprise
    scheme = url.partition(":")[0].lower()
    known = scheme if re.fullmatch(r"[a-z0-9]{1,20}", scheme) and scheme in _schemes(apprise) else ""
    if known:
        raise DeliveryError(f"its URL is incomplete for {known}://: https://appriseit.com/services/ says what it needs")
    raise DeliveryError(
        "its URL begins with no scheme that apprise knows: https://appriseit.com/services/ has a list; a webhook is "
        "json://HOST/PATH, or jsons:// with TLS"
    )


def _schemes(library: Any) -> set[str]:
    """Give the schemes that apprise knows, in small letters."""
    found = set()
    for one in library.Apprise().details()["schemas"]:
        for kind in ("protocols", "secure_protocols"):
            found |= {str(scheme).lower() for scheme in one.get(kind) or ()}
    return found


def _quiet() -> None:
    """Keep the library's own lines, which may have parts of URLs, out of the log. `_Heard` hears all of them."""
    logger = logging.getLogger("apprise")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.DEBUG)


class _Heard(logging.Handler):
    """Keeps what the library warns of in this thread: the only place where it says why it could not send.

    `cause`: how a connection failed, which it says in a line for debugging; empty: it does not.
    """

    def __init__(self, url: str) -> None:
        super().__init__(logging.DEBUG)
        self._url = url
        self._thread = threading.get_ident()
        self.lines: list[str] = []
        self.cause = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of this thread."""
        if record.thread != self._thread:
            return
        if record.levelno < logging.WARNING:
            if str(record.msg).startswith("Socket Exception"):
                self.cause = self.cause or _cause(self._url, record.getMessage())
        elif len(self.lines) < 3:  # noqa: PLR2004 - the first say the cause
            self.lines.append(one_line(record.getMessage(), 300))


def _cause(url: str, text: str) -> str:
    said = _without(url, text, _SHORTEST_CAUSE)  # a host may be named `refused`
    return next((cause for words, cause in _CAUSES if re.search(words, said, re.IGNORECASE)), "")


def _without(url: str, text: str, shortest: int = _SHORTEST_PART) -> str:
    """Give a text in one line, without any part of a URL: tokens stand in its path too, and a host in small letters."""
    for part in sorted(_parts(url, shortest), key=len, reverse=True):
        text = re.sub(re.escape(part), MASK, text, flags=re.IGNORECASE)
    return one_line(text, 500)


def _parts(url: str, shortest: int) -> set[str]:
    pieces = [url, *re.split(r"[/?&=@:;,#]+", url.partition(":")[2])]
    return {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= shortest}

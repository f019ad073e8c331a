"""The gate `alerts`: firing alerts of Alertmanager, or a result of a Prometheus query, block the reboot.

Alertmanager's `GET /api/v2/alerts?active=true&silenced=false&inhibited=false` leaves out silenced alerts. Prometheus'
`GET /api/v1/query` gives `{"status":"success","data":{"resultType":"vector","result":[...]}}`; any result blocks. Fail
closed: if a server cannot be asked, that is a blocker.

A password or a token is read from its file for each question, so a new one needs no restart. It is sent to the
configured servers alone: no redirect is followed.

locksmith's own alerts (docs/metrics.md) do not count, unless the configuration names them. Otherwise one failed reboot
would stop the others: a halt has its own limit, and its own end.
"""

import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from locksmith.agent.facts import Blocker
from locksmith.agent.journal import JournalEntry
from locksmith.errors import HostError, LocksmithError
from locksmith.gates.settings import AlertSettings
from locksmith.host.secret_file import read_secret
from locksmith.store.connections import brief
from locksmith.store.tls import distrust, root, trusting, whom_to_trust
from locksmith.util import jsonread
from locksmith.util.authorization import basic, bearer
from locksmith.util.text import cut
from locksmith.util.threads import in_thread
from locksmith.util.words import listed

LIMIT = 10.0
"""Seconds for one answer."""
LARGEST = 8 * 1024 * 1024
"""Bytes of an answer that are read."""

OWN = "Locksmith"
"""The beginning of the name of each alert that docs/metrics.md has."""

LONGEST_NAME = 200
"""Characters of an alert's name that are compared."""
HTTPS = 443
REFUSALS = {401, 403}
"""HTTP's "who are you?" and "you may not"."""

ACTIVE = "/api/v2/alerts?active=true&silenced=false&inhibited=false"


class Alerts:
    """The gate `alerts`."""

    name = "alerts"

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Ask both, where they are configured."""
        return [Blocker(self.name, text) for text, _ in await self._ask()]

    async def unreadable(self) -> list[str]:
        """Ask both, and say what keeps this machine from reading their alerts; an alert that fires does not."""
        return [text for text, failed in await self._ask() if failed]

    async def _ask(self) -> list[tuple[str, bool]]:
        """Give each blocker, and whether it is a failure to ask."""
        found: list[tuple[str, bool]] = []
        for ask in (self._firing, self._queried):
            try:
                said = (await ask(), False)
            except (LocksmithError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                said = (f"the alerts cannot be read: {error or type(error).__name__}", True)
            except TimeoutError:
                said = (f"the alerts cannot be read: no answer within {LIMIT:g} s", True)
            found += [said] if said[0] else []
        return found

    async def _firing(self) -> str:
        if not self._settings.alertmanager:
            return ""
        alerts = await self._get(self._settings.alertmanager + ACTIVE)
        if not isinstance(alerts, list):
            raise jsonread.BadJsonError("Alertmanager's answer is no list")
        names = sorted({name for name in map(self._counted, alerts) if name})
        return f"{'an alert fires' if len(names) == 1 else 'alerts fire'}: {listed(names)}" if names else ""

    async def _queried(self) -> str:
        if not self._settings.prometheus or not self._settings.query:
            return ""
        url = f"{self._settings.prometheus}/api/v1/query?{urlencode({'query': self._settings.query})}"
        answer = await self._get(url)
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise jsonread.BadJsonError(f"Prometheus did not answer the query: {cut(str(answer), LONGEST_NAME)}")
        data = jsonread.read(answer, "data", dict)
        result = jsonread.read(data, "result", list)
        if jsonread.read(data, "resultType", str) not in {"vector", "matrix"}:
            raise jsonread.BadJsonError("the query must give a vector: compare it with something, as in `up == 0`")
        if OWN not in self._settings.query:
            result = [one for one in result if not _is_own_alert(one)]
        if not result:
            return ""
        labels = [_labels(one) for one in result]
        return f"Prometheus answers the query {self._settings.query!r} with {listed(labels, 3)}"

    def _counted(self, alert: object) -> str:
        """Give the name of an alert that counts."""
        if not isinstance(alert, dict):
            raise jsonread.BadJsonError("an alert is no object")
        labels = jsonread.read(alert, "labels", dict)
        state = jsonread.read(jsonread.read(alert, "status", dict, {}), "state", str, "active")
        # The time of a configured pattern may grow with the square of a name's length, or faster.
        name, severity = (cut(str(labels.get(label, "")), LONGEST_NAME) for label in ("alertname", "severity"))
        settings = self._settings
        if state != "active" or (settings.severities and severity not in settings.severities):
            return ""
        counts = settings.only.fullmatch(name) if settings.only is not None else not name.startswith(OWN)
        if not counts:
            return ""
        return "" if settings.ignore is not None and settings.ignore.fullmatch(name) else name or "(without a name)"

    async def _get(self, url: str) -> Any:
        headers, cafile = self._credentials(), self._settings.cafile
        return await in_thread(lambda: _read(url, headers, cafile), limit=LIMIT)

    def _credentials(self) -> dict[str, str]:
        """Give the header that says who asks. `HostError`: the file with the secret cannot be used."""
        settings = self._settings
        try:
            if settings.password_file is not None:
                password = read_secret(settings.password_file, "password", settings.username, renewed=True)
                return basic(settings.username, password)
            if settings.token_file is not None:
                return bearer(read_secret(settings.token_file, "token", renewed=True))
        except HostError as error:
            raise HostError(f"[alerts] names {error}") from None
        return {}


def _read(url: str, headers: dict[str, str], cafile: Path | None) -> Any:
    try:
        return _ask(url, headers, cafile)
    except urllib3.exceptions.SSLError as error:
        cause, at = root(error), urllib3.util.parse_url(url)
        server = f"{at.scheme}://{at.netloc}"
        if not isinstance(cause, ssl.SSLCertVerificationError):
            raise OSError(f"{server}: TLS failed: {brief(cause)}") from None
        where = ((at.host or "").strip("[]"), at.port or HTTPS)
        raise OSError(f"{server}: {distrust(cause, where, whom_to_trust(cafile), '[alerts]')}") from None


def _ask(url: str, headers: dict[str, str], cafile: Path | None) -> Any:
    context = trusting(cafile) if url.startswith("https:") else None
    with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=LIMIT), ssl_context=context) as http:
        answer = http.request("GET", url, preload_content=False, redirect=False, headers=headers)
        raw = answer.read(LARGEST + 1)
        answer.close()
        if answer.status in REFUSALS:
            raise jsonread.BadJsonError(f"{url.partition('?')[0]} answers {answer.status}: {_who(headers)}")
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise jsonread.BadJsonError(f"{url.partition('?')[0]} answers {answer.status}")
        if len(raw) > LARGEST:
            raise jsonread.BadJsonError(f"{url.partition('?')[0]} answers with more than {LARGEST} bytes")
        return parse(raw, url)


def _who(headers: dict[str, str]) -> str:
    """Say what to correct where a server refuses who asks."""
    if not headers:
        return "it wants to know who asks: set alerts.username and alerts.password-file, or alerts.token-file"
    basic = headers["Authorization"].startswith("Basic ")
    return f"it refuses {'alerts.username and alerts.password-file' if basic else 'alerts.token-file'}"


def parse(raw: bytes, url: str) -> Any:
    """Read an answer; `BadJsonError`: it is none."""
    try:
        value = json.loads(raw)
        jsonread.check_depth(value, raw)
    except (ValueError, RecursionError) as error:
        raise jsonread.BadJsonError(f"{url.partition('?')[0]} answers with no JSON ({error})") from None
    return value


def _is_own_alert(result: object) -> bool:
    """Whether a result is a firing alert of locksmith, as the query `ALERTS{...}` gives it."""
    metric = result.get("metric") if isinstance(result, dict) else None
    return isinstance(metric, dict) and str(metric.get("alertname", "")).startswith(OWN)


def _labels(result: object) -> str:
    metric = result.get("metric") if isinstance(result, dict) else None
    if not isinstance(metric, dict):
        return "something"
    return cut(", ".join(f"{name}={value}" for name, value in sorted(metric.items())), LONGEST_NAME) or "a value"

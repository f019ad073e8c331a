"""Claims of machines' daemons."""

from dataclasses import replace
from datetime import UTC, datetime

from locksmith.lock.records.claim import DAEMON, REBOOT, Claim

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


def claim(name: str, **more) -> Claim:
    return replace(Claim(name, REBOOT, f"nonce-{name}", NOW, who=DAEMON, hostname=name), **more)

"""A real `locksmith-server` with notifications that hurries: what takes minutes takes seconds.

with NotifyServer(etcd, {"ops": receiver.target()}, groups=["web"]) as server:
    ...
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

_HURRIED = """
import os, signal
from locksmith.fleet import notices
from locksmith.server import delivery, notice_post, notify, outbox
from datetime import timedelta
notify.PERIOD = 0.5
notify.GROUPS_PERIOD = 0.5
notice_post.BACKOFF = (2.0,) * 4
notice_post.CLAIM_TTL = outbox.CLAIM_TTL = CLAIM
notice_post.SPARE = CLAIM / 2
delivery.SEND_LIMIT = SEND
notices.SETTLE = timedelta(seconds=1)
send = delivery.Delivery.send
async def dies(self, told):
    if FATE == "after":
        await send(self, told)
    os.kill(os.getpid(), signal.SIGKILL)
if FATE:
    delivery.Delivery.send = dies
from locksmith.cli.server import main
main()
"""


class NotifyServer(FleetLockServer):
    """A server that sends notices of some groups to targets, by their names.

    `dies` is when SIGKILL ends it: `before` or `after` its first send, so always with a claim that is not noted.
    `claim` is for how many seconds a claim counts, `send` how long a send may take.
    """

    def __init__(
        self,
        etcd: Etcd,
        targets: Mapping[str, str],
        groups: Sequence[str],
        *,
        dies: str = "",
        claim: float = 60.0,
        send: float = 20.0,
        notify: Mapping[str, Any] | None = None,
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        self._urls = tempfile.TemporaryDirectory(prefix="locksmith-urls-")
        self._program = f"FATE, CLAIM, SEND = {dies!r}, {claim!r}, {send!r}\n{_HURRIED}"
        own = {}
        for name, url in targets.items():
            file = Path(self._urls.name) / name
            file.write_text(f"{url}\n")
            file.chmod(0o600)
            own[name] = {"url-file": str(file), "groups": list(groups)}
        table = {"targets": own, **(notify or {})}
        metrics = {"metrics-clients": ["127.0.0.1"]}
        super().__init__(
            etcd, dict.fromkeys(groups, ANYBODY), server=metrics, tables={"notify": table, **(tables or {})}
        )

    def command(self, *arguments: str) -> list[str]:
        """Give its command."""
        return [sys.executable, "-c", self._program, *arguments]

    def remove(self) -> None:
        """Remove its files."""
        super().remove()
        self._urls.cleanup()

    @property
    def sent(self) -> list[str]:
        """The ids of the notices that it says it has sent, with their targets: `ops frozen-...`."""
        lines = [line for line in self.said.splitlines() if "sent to " in line]
        return [f"{line.partition('sent to ')[2].partition(':')[0]} {line.rpartition('(')[2][:-1]}" for line in lines]

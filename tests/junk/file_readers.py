"""Whatever is read from this machine's files and from the environment, beside the configuration and the journal."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from locksmith.agent.facts import Boot
from locksmith.config.load import load_daemon, load_tool
from locksmith.errors import HostError
from locksmith.host.boot import read_boot_id, read_machine_id
from locksmith.host.health import read_system
from locksmith.host.hostname import read_hostname
from locksmith.host.known_runs import ShownRuns
from locksmith.host.notify import Notifier
from locksmith.host.paths import Paths
from locksmith.host.programs import read_outcome
from locksmith.host.watermark import SeenRevision
from locksmith.triggers.kernel import NewerKernel
from locksmith.triggers.operator_request import OperatorRequest
from locksmith.triggers.reboot_required import RebootRequired
from tests.junk.reader import Reader, of_text

NOW, BOOT = datetime(2026, 5, 1, tzinfo=UTC), Boot("b", 5)
MARK = b'{"boot_id": "a", "userspace": 5, "file": [1800000000000000000, 7], "left": []}'
NEED = (
    b'{"schema":1,"version":"1.2","reason":"x","since":"2026-05-01T00:00:00Z","boot_id":"b","userspace":5,"more":[{}]}'
)
SEEN = (
    b'{"schema":1,"store":"3 http://a","revision":7,"resumed":"2026-05-01T00:00:00Z","cluster":"17",'
    b'"entry":{"key":"k","version":5,"digest":"ab"},"back":"2026-05-01T00:00:00Z","why":"its revision is 3"}'
)
SEEN_NOW = SEEN.replace(b'"cluster":"17"', b'"cluster_id":"a1","cluster_at":"http://a"')
OS_RELEASE = b'# comment\nID=debian\nVERSION_ID="12"\nVERSION="12 (bookworm)"\nPRETTY_NAME=\'a "b"\'\nBUILD_ID=a\\ b\n'


def _file(path: Path, read: Callable[[], Any], *good: bytes, refuses: bool = True) -> Reader:
    def found(raw: bytes) -> object:
        path.write_bytes(raw)
        return read()

    path.parent.mkdir(parents=True, exist_ok=True)
    return Reader(found, good, share=1, refuses=refuses)


def _looked(story: Any) -> object:
    """Raise what a trigger gives as its error."""
    seen = asyncio.run(story)
    if seen.error:
        raise HostError(seen.error)
    return seen


def _variables(load: Callable[[Paths, Mapping[str, str], Mapping[str, object]], object]) -> Callable[[str], object]:
    """Read lines as variables of the environment: neither a name nor a value has a NUL in it."""

    def read(text: str) -> object:
        pairs = (line.partition("=") for line in text.replace("\0", "").split("\n"))
        return load(Paths(Path("/nowhere")), {name: value for name, equals, value in pairs if equals}, {})

    return read


def _notifier(text: str) -> object:
    return Notifier.from_environment({"NOTIFY_SOCKET": text, "WATCHDOG_USEC": text}).watchdog_interval or 0.0


def file_readers(paths: Paths) -> dict[str, Reader]:
    """Give all of them, by what they read, in files below these paths."""
    mark, packages = paths.run / "reboot-required.json", paths.root / "run/reboot-required.pkgs"
    outcome = paths.run / "programs/check-a-b.json"
    seen = SeenRevision(paths, 3, ["http://a"])
    need = OperatorRequest(paths)
    readers = {
        "machine-id": _file(paths.machine_id, lambda: read_machine_id(paths), b"0123456789abcdef" * 2 + b"\n"),
        "boot id": _file(paths.boot_id, lambda: read_boot_id(paths), b"6f1d\n"),
        "os-release": _file(paths.root / "etc/os-release", lambda: read_system(paths), OS_RELEASE, refuses=False),
        "hostname": _file(paths.root / "etc/hostname", lambda: read_hostname(paths), b"n1\n", refuses=False),
        "kernel": _file(
            paths.kernel_release,
            lambda: _looked(NewerKernel(paths).check(NOW, BOOT)),
            b"6.1.0-9-amd64\n",
            refuses=False,
        ),
        "mark of reboot-required": _file(
            mark, lambda: _looked(RebootRequired(paths).check(NOW, BOOT)), MARK, refuses=False
        ),
        "packages": _file(
            packages, lambda: _looked(RebootRequired(paths).check(NOW, BOOT)), b"libc6\nlinux-image-6\n", refuses=False
        ),
        "operator's wish": _file(need.path, lambda: _looked(need.check(NOW, BOOT)), NEED),
        "seen revision": _file(seen.path, lambda: SeenRevision(paths, 3, ["http://a"]), SEEN, SEEN_NOW, refuses=False),
        "shown boots": _file(ShownRuns(paths).path, lambda: ShownRuns(paths).known() or True, b"a\nb\n", refuses=False),
        "outcome of a program": _file(
            outcome, lambda: read_outcome(outcome), b'{"code":1,"reason":"x","late":false,"said":"d"}'
        ),
        "environment": of_text(
            _variables(load_daemon),
            "REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_ENDPOINT=http://a:2379,http://b:2379\nLOCKSMITHD_GROUP=web",
            "LOCKSMITHD_REBOOT_WINDOW_START=Sat 23:05\nLOCKSMITHD_REBOOT_WINDOW_LENGTH=11h\nLOCKSMITHD_DEBUG=true",
            share=3,
        ),
        "the tool's environment": of_text(
            _variables(load_tool), "LOCKSMITHCTL_ENDPOINT=http://a\nLOCKSMITHCTL_GROUP=a"
        ),
        "systemd's variables": of_text(_notifier, "30000000", refuses=False),
    }
    paths.reboot_required.touch()
    (paths.boot / "vmlinuz-6.1.0-9-amd64").parent.mkdir()
    (paths.boot / "vmlinuz-6.1.0-9-amd64").touch()
    return readers

"""`locksmithctl` in the test's own process: its streams and its exit status."""

import re
import sys
from dataclasses import dataclass

import pytest

from locksmith.cli.main import PROGRAM, main
from tests.harness.etcd import PASSWORD, USER, Etcd


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended."""

    status: int
    out: str
    err: str


def plain(said: str) -> str:
    """Give what was said without the flags of the commands that it suggests: those of the caller, and the group."""
    return re.sub(r"(?<=`locksmithctl)(?: -[a-z0-9-]+=(?:[^\s`'\"]|'[^'`]*'|\"[^\"`]*\")*)+", "", said)


class Ctl:
    """The tool on one machine, whose files lie below `LOCKSMITH_ROOT`; `flags` stand before each command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *flags: str) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.flags = flags

    def __call__(self, *args: str) -> Ended:
        """Run it to its end."""
        self._monkeypatch.setattr(sys, "argv", [PROGRAM, *self.flags, *args])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = self._capfd.readouterr()
        assert "Traceback" not in said.err
        return Ended(end.value.code if isinstance(end.value.code, int) else 0, said.out, said.err)

    def fails(self, *args: str, status: int = 1) -> str:
        """Run it, expect that status, nothing on standard output and one `Error:` line as the last; give that line."""
        ended = self(*args)
        assert (ended.status, ended.out) == (status, ""), ended
        *_, line = ended.err.splitlines()
        assert line.startswith("Error: "), ended
        return line


def flags_for(etcd: Etcd, *, api: int = 3, group: str = "") -> list[str]:
    """Give the flags that reach a group's lock on a server."""
    flags = [f"-endpoint={','.join(etcd.endpoints)}", f"-etcd-api={api}", f"-group={group}"]
    settings = etcd.settings()
    if settings.cafile:
        flags.append(f"-etcd-cafile={settings.cafile}")
    if settings.certfile:
        flags += [f"-etcd-certfile={settings.certfile}", f"-etcd-keyfile={settings.keyfile}"]
    return [*flags, f"-etcd-username={USER}", f"-etcd-password={PASSWORD}"] if etcd.auth else flags

"""The token of this machine for locksmith-server: made here, kept in a file that root alone can read.

It is written to a file of its own before the first request, `<file>.pending`. If the answer is lost, the next run sends
the same digest again. After the server has said yes, the file gets its name.
"""

import os
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.trust import read_regular
from locksmith.util import limits, tokens
from locksmith.util.secret import keep_secret
from locksmith.util.tokens import Kind, Token


class MachineToken:
    """The token in a file. `HostError`, of each call: the file cannot be read or written."""

    def __init__(self, path: Path, group: str, machine: str) -> None:
        self.path = path
        self._pending = path.with_name(f"{path.name}.pending")
        self._public = tokens.public_of_machine(group, machine)

    @property
    def is_there(self) -> bool:
        """Whether the machine has a token of this group. `HostError`: the file has something else."""
        if not os.path.lexists(self.path):
            return False
        if self._read(self.path) is None:
            raise HostError(
                f"{self.path} has no token of this machine in this group: remove it, or name another with --token-file"
            )
        return True

    def prepare(self) -> Token:
        """Give the token to enrol with: that of the last attempt if it has not ended, else a new one."""
        token = self._read(self._pending) if os.path.lexists(self._pending) else None
        if token is None:
            token = tokens.new_token(Kind.MACHINE, self._public)
            self._write(token)
        keep_secret(token.text)
        return token

    def settle(self) -> None:
        """Give the pending file its name: the server knows the token."""
        try:
            self._pending.rename(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self, path: Path) -> Token | None:
        try:
            token = tokens.parse(read_regular(path, limits.SECRET).decode(errors="replace").strip())
        except OSError as error:
            raise HostError(f"{path} cannot be read: {error.strerror}") from None
        return token if token and (token.kind, token.public) == (Kind.MACHINE, self._public) else None

    def _write(self, token: Token) -> None:
        new = self._pending.with_name(f"{self._pending.name}.new")
        try:
            new.unlink(missing_ok=True)
            # O_EXCL: no file, link or pipe that another program has put there gets the token.
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(f"{token.text}\n")
                file.flush()
                os.fsync(file.fileno())
            new.rename(self._pending)
            _sync(self.path.parent)
        except OSError as error:
            raise HostError(f"{self._pending} cannot be written: {error.strerror}") from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

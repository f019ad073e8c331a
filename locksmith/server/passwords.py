"""The password files of the groups, with a password in each line, the newest last: read again when they change."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from locksmith.config.server_model import MOST_PASSWORDS, ServedGroup
from locksmith.errors import HostError
from locksmith.host.secret_file import read_secrets
from locksmith.util.tls_files import Identity, stamp_of

log = logging.getLogger(__name__)


class Passwords:
    """Gives the passwords of a group as its file has them now: several while an operator replaces one.

    If the file cannot be used any more, the group has no password, and no client is let in: an operator who
    removes or closes a file wants that.
    """

    def __init__(self, groups: Mapping[str, ServedGroup]) -> None:
        self._files = {
            name: _File(name, group.password_file) for name, group in groups.items() if group.password_file is not None
        }

    def of(self, group: str) -> Sequence[str]:
        """Give the passwords of a group that has a file, the newest last; empty: the file cannot be used."""
        return self._files[group].read()


class _File:
    def __init__(self, group: str, path: Path) -> None:
        self._group, self._path = group, path
        self._stamp: Identity | None = None
        self._secrets: Sequence[str] = ()
        self._failed = False

    def read(self) -> Sequence[str]:
        # The stamp of before the reading: a change meanwhile is seen by the next call.
        stamp = stamp_of(self._path)
        if stamp is None or stamp != self._stamp or self._failed:
            self._stamp = stamp
            self._load()
        return self._secrets

    def _load(self) -> None:
        try:
            self._secrets = read_secrets(self._path, "password or token", MOST_PASSWORDS)
        except HostError as error:
            self._secrets = ()
            if not self._failed:
                log.warning("no client of the group %s is let in: its password-file is %s", self._group, error)
            self._failed = True
            return
        if self._failed:
            log.info("the password file of the group %s can be used again", self._group)
        self._failed = False

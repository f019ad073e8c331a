"""The configuration of the gates; separate from them, so that its readers load no client."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Which servers to ask, and which alerts count; without URLs no server is asked.

    `ignore`: a regular expression of whole names of alerts that do not count; `only`: of alerts that do. Without
    `severities` every severity counts. `query`: PromQL; each of its results is a blocker.
    Both servers are asked as `username`, with the password in `password_file`, or with the token in `token_file`. The
    files are read for each question. `cafile` has the CAs that are trusted (None: the system's).
    """

    alertmanager: str = ""
    prometheus: str = ""
    query: str = ""
    only: re.Pattern[str] | None = None
    ignore: re.Pattern[str] | None = None
    severities: tuple[str, ...] = ()
    username: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    cafile: Path | None = None

    @property
    def wanted(self) -> bool:
        """Whether any server is to be asked."""
        return bool(self.alertmanager or self.prometheus)

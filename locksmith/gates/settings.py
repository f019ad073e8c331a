"""What the configuration says about the gates; apart from them, so that whoever only reads it loads no client."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Where to ask and what counts; without URLs nothing is asked.

    `ignore`: a regular expression of alert names that do not count (whole names); `only`: of those that do. Without
    `severities` every severity counts. `query`: PromQL; each of its results objects.
    """

    alertmanager: str = ""
    prometheus: str = ""
    query: str = ""
    only: re.Pattern[str] | None = None
    ignore: re.Pattern[str] | None = None
    severities: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be asked."""
        return bool(self.alertmanager or self.prometheus)

"""The settings of notifications, as values: the table `[notify]` of the configuration. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from locksmith.fleet.notice_templates import Templates
from locksmith.lock.records.notice_events import EVENTS


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices are sent. Its URL, which is a secret, is the only line of `url_file`.

    Without `url_file` it is the credential `notify.NAME` of locksmith-server.service. `events` are those that it gets;
    `groups` are the groups whose events they are (None: all groups; "" is the default group).
    """

    name: str
    url_file: Path | None = None
    events: tuple[str, ...] = EVENTS
    groups: tuple[str, ...] | None = None

    def wants(self, event: str, group: str) -> bool:
        """Tell whether it gets the notices of an event of a group."""
        return event in self.events and self.wants_group(group)

    def wants_group(self, group: str) -> bool:
        """Tell whether it gets notices of a group."""
        return self.groups is None or group in self.groups


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """The targets by their names, and what they are told.

    `no_reboot_after`: a machine that needs a reboot for so long is an event (0: never). A machine is not told of again
    for the same event within `repeat_after`.
    """

    targets: Mapping[str, Target] = field(default_factory=dict, hash=False)
    no_reboot_after: timedelta = timedelta(0)
    repeat_after: timedelta = timedelta(hours=1)
    templates: Templates = field(default_factory=Templates)

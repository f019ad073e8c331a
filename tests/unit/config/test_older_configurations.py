"""A configuration of an older version: each key that a release had is read, or its new name is said."""

import pytest

from locksmith.config.keys import KEYS, OLDER
from locksmith.config.load import load_daemon
from locksmith.errors import UsageError
from locksmith.host.paths import Paths

RELEASED = """
strategy group dry-run adopt debug window-sets
etcd.endpoints etcd.api etcd.cafile etcd.certfile etcd.keyfile etcd.username etcd.password etcd.password-file
etcd.timeout
window.start window.length window.open window.blackouts window.open-calendars window.blackout-calendars
window.zone window.sets window.min-remaining window.splay window.require-synced-clock
metrics.enabled metrics.address metrics.port metrics.certfile metrics.keyfile
reboot.limit reboot.settle reboot.retry reboot.tries reboot.repeat reboot.max-per-day reboot.min-uptime
reboot.spacing
halt.after halt.expire-after halt.stale-after
health.limit health.units
programs.hook-limit programs.check-limit
sessions.count sessions.ignore sessions.grace sessions.limit
alerts.alertmanager alerts.prometheus alerts.query alerts.only alerts.ignore alerts.severities alerts.username
alerts.password-file alerts.token-file alerts.cafile
triggers.use triggers.max-uptime triggers.command triggers.needed triggers.not-needed triggers.period
triggers.limit
"""
"""Every key of 0.1.0. Names are only added: an operator's file outlives a release."""


def test_no_key_of_a_release_is_forgotten():
    assert [name for name in RELEASED.split() if name not in KEYS and name not in OLDER] == []


def test_each_older_name_leads_to_a_key_of_today():
    assert [new for new in OLDER.values() if new not in KEYS] == []
    assert OLDER.keys().isdisjoint(KEYS)


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ('REBOOT_STRATEGY = "etcd-lock"', "strategy"),
        ('LOCKSMITHD_REBOOT_WINDOW_START = "02:00"', "window.start"),
        ('LOCKSMITHD_ENDPOINT = "http://10.0.0.1:2379"', "etcd.endpoints"),
        ('LOCKSMITHCTL_GROUP = "web"', "group"),
    ],
)
def test_a_name_of_an_older_version_is_refused_with_the_key_of_today(tmp_path, line, new):
    paths = Paths(tmp_path)
    paths.config.parent.mkdir(parents=True)
    paths.config.write_text(line)
    with pytest.raises(UsageError) as refused:
        load_daemon(paths, {}, {})
    name = line.partition(" ")[0]
    assert str(refused.value) == (
        f"{paths.config}: {name} is not a key of the configuration any more: write {new} instead"
    )


def test_a_strategy_of_an_older_version_is_refused_with_those_of_today(tmp_path):
    paths = Paths(tmp_path)
    paths.config.parent.mkdir(parents=True)
    paths.config.write_text('strategy = "best-effort"')
    with pytest.raises(UsageError, match="use 'etcd-lock' where etcd runs, or 'reboot' to do without a lock"):
        load_daemon(paths, {}, {})

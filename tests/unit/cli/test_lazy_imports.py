"""A program loads what its configuration uses: memory and time at the start are paid on every machine."""

import subprocess
import sys

import pytest

DAEMON = {
    "the v2 API": {"etcd", "urllib3", "locksmith.store.etcd2"},
    "the alerts gate": {"locksmith.gates.alerts", "http.client"},
    "the metrics": {"prometheus_client", "locksmith.daemon.metrics", "locksmith.daemon.metrics_server", "http.server"},
    "watches of files": {"locksmith.host.inotify", "ctypes"},
    "triggers": {"locksmith.triggers.needs_restarting", "locksmith.triggers.kernel", "locksmith.triggers.max_uptime"},
    "the forecast": {"locksmith.fleet.forecast"},
    "the client of locksmith-server": {"locksmith.host.server_client", "locksmith.lock.machine_wire"},
    "its check of the configuration": {"locksmith.daemon.examine", "locksmith.cli.check_config"},
    "the changes that only a server follows": {"locksmith.store.feed"},
    "tables and pictures": {"rich", "PIL"},
}


def loaded(module: str) -> set[str]:
    """Name the modules of a fresh interpreter that has loaded one."""
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("what", DAEMON)
def test_the_daemon_does_not_load_what_its_configuration_may_not_use(what):
    assert loaded("locksmith.cli.daemon").isdisjoint(DAEMON[what])


@pytest.mark.slow
def test_the_store_on_v3_loads_no_other_http_client():
    assert loaded("locksmith.store.connect, locksmith.store.etcd3").isdisjoint({"urllib3", "http.client", "requests"})


@pytest.mark.slow
def test_a_look_at_the_lock_loads_neither_the_loop_nor_the_queue():
    used = ("cli.commands.status", "config.load", "store.connect", "host.watermark", "daemon.store_check")
    look = loaded(", ".join(f"locksmith.{module}" for module in used))
    assert look.isdisjoint(
        {
            *("locksmith.agent.snapshot", "locksmith.agent.ports", "locksmith.agent.strategy", "locksmith.lock.queue"),
            *("locksmith.fleet.reader", "locksmith.window.ical"),
        }
    )


@pytest.mark.slow
def test_the_tool_loads_the_client_and_the_tables_of_no_command_that_was_not_called():
    tool = loaded("locksmith.cli.main")
    assert tool.isdisjoint({"h11", "urllib3", "dbus_fast", "prometheus_client", "rich", "locksmith.fleet.forecast"})

"""`locksmithd`."""

import logging
import os

import click

from locksmith.cli.go_flags import GoCommand, GoOption, check_config_flag, store_flags, version_flag
from locksmith.cli.logs import set_up
from locksmith.cli.run import run
from locksmith.config.folders import effective_masks
from locksmith.config.load import load_daemon
from locksmith.config.model import Config
from locksmith.config.show import describe_file
from locksmith.daemon.assembly import make_strategy, target_of
from locksmith.daemon.daemon import run as run_daemon
from locksmith.errors import UsageError
from locksmith.host.boot import read_machine_id
from locksmith.host.container import refuse_missing_mounts
from locksmith.host.installations import warnings as of_installations
from locksmith.host.paths import Paths
from locksmith.host.trust import refuse_changeable_folders
from locksmith.util import boottime

log = logging.getLogger(__name__)

PROGRAM = "locksmithd"


@click.command(cls=GoCommand)
@store_flags
@version_flag(PROGRAM)
@check_config_flag
@click.option(
    "--online",
    cls=GoOption,
    is_flag=True,
    help="With --check-config: also ask etcd, the system bus and the alert servers; 1 when one cannot be asked.",
)
def command(*, check_config: bool, online: bool, **flags: object) -> int:
    """Coordinate this machine's reboots with those of its group.

    Settings: locksmith.toml in /etc/locksmith, /run/locksmith or /usr/lib/locksmith, its drop-ins, LOCKSMITHD_... in
    the environment, then these flags.
    """
    paths = Paths.from_environment()
    if check_config:
        from locksmith.cli.check_config import check

        return check(paths, flags, online=online)
    if online:
        raise UsageError("--online is for --check-config: `locksmithd --check-config --online`")
    config = load_daemon(paths, os.environ, flags)
    make_strategy(config, target_of(config), paths)
    refuse_changeable_folders(paths)
    refuse_missing_mounts(paths)
    set_up(debug=config.debug, program=PROGRAM, group=config.group, fields=_fields(config, paths))
    for caution in filter(None, (config.not_configured, *config.cautions, *of_installations(paths))):
        log.warning("%s", caution)
    for mask in effective_masks(paths, config.files):
        log.info("%s", describe_file(mask))
    boottime.run(run_daemon(config, paths))
    return 0


def _fields(config: Config, paths: Paths) -> dict[str, str]:
    """Say whose log it is: what each record in the system journal has."""
    fields = {"GROUP": config.group, "STRATEGY": config.strategy, "DRY_RUN": "yes" if config.dry_run else "no"}
    return fields | {"MACHINE": read_machine_id(paths)}


def main() -> None:
    """Run the daemon and exit."""
    run(command, PROGRAM)

"""`locksmithd --check-config`: all that is wrong with the configuration, by the daemon's own code."""

import logging
import os
from collections.abc import Mapping

from locksmith.cli.contacts import say_contacts
from locksmith.cli.output import fail, note, say
from locksmith.cli.run import BAD_USAGE
from locksmith.config.load import examine_daemon
from locksmith.config.model import Config
from locksmith.config.problems import Problems
from locksmith.config.show import describe, describe_files
from locksmith.daemon.examine import problems_of_parts
from locksmith.host.installations import warnings as of_installations
from locksmith.host.paths import Paths
from locksmith.host.program_files import all_program_files
from locksmith.util import boottime


def check(paths: Paths, flags: Mapping[str, object], *, online: bool) -> int:
    """Print every problem, or every setting; give the exit status."""
    logging.getLogger("locksmith").addHandler(logging.NullHandler())  # what a person has to know is printed
    noted = Problems()
    config = examine_daemon(paths, os.environ, flags, noted)
    problems = dict.fromkeys([*noted.found, *problems_of_parts(config, paths)])
    for problem in problems:
        fail(problem)
    for caution in filter(None, (config.not_configured, *config.cautions, *of_installations(paths))):
        note(f"Warning: {caution}")
    if problems:
        return BAD_USAGE
    for line in describe_files(config, all_program_files(paths)):
        say(f"# {line}")
    for key, value, origin in describe(config):
        say(f"{key} = {value}  (from {origin})")
    return _ask_all(config, paths) if online else 0


def _ask_all(config: Config, paths: Paths) -> int:
    from locksmith.daemon.online import contact_all  # the check alone asks no server

    return say_contacts(boottime.run(contact_all(config, paths)))

"""contrib/locksmith.toml: an example that shows every key, with the default where there is one."""

import re
import tomllib
from pathlib import Path

from locksmith.config.keys import KEYS
from locksmith.config.load import load_daemon
from locksmith.config.model import Config
from locksmith.config.show import describe
from locksmith.host.paths import Paths

EXAMPLE = (Path(__file__).parents[3] / "contrib/locksmith.toml").read_text()
REQUIRED = {"strategy", "etcd.endpoints"}
"""What the example sets: a machine that coordinates needs no more."""


def flat(table, prefix=""):
    """The values by the names of their keys."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in KEYS:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def every_value():
    """What the example has when each of its lines counts."""
    return dict(flat(tomllib.loads(re.sub(r"(?m)^#(?=[a-z-]+ = |\[)", "", EXAMPLE))))


def test_the_example_has_every_key():
    assert set(every_value()) == set(KEYS)


def test_each_value_of_the_example_can_be_used():
    for name, value in every_value().items():
        KEYS[name].kind.typed(value)


def test_the_example_shows_the_defaults():
    """An empty default says nothing about the form of a value, so there an example may stand."""
    shown = every_value()
    defaults = {key: tomllib.loads(f"value = {text}")["value"] for key, text, _ in describe(Config()) if text[0] != "("}
    told = {key: default for key, default in defaults.items() if default not in ([], "") and key not in REQUIRED}
    assert {key: shown[key] for key in told} == told


def test_as_it_is_the_example_sets_what_a_machine_needs(tmp_path):
    file = tmp_path / "etc/locksmith/locksmith.toml"
    file.parent.mkdir(parents=True)
    file.write_text(EXAMPLE)
    config = load_daemon(Paths(tmp_path), {}, {})
    assert set(config.origins) == REQUIRED
    assert config.strategy == "etcd-lock"

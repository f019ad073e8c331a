"""Ansible, which `make ansible` fetches: plays against machines in a network of the tests' own, over ssh."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
ROLES = REPOSITORY / "contrib/ansible"
_BIN = REPOSITORY / ".cache/ansible/bin"
LIMIT = 300.0


def hindrance() -> str:
    """Why no play can run here, in a sentence; empty when one can."""
    return "" if (_BIN / "ansible-playbook").exists() else "Ansible is not here: make ansible"


@dataclass(frozen=True)
class Recap:
    """How a play ended on one machine."""

    ok: int
    changed: int
    failed: int
    unreachable: int


@dataclass(frozen=True)
class Played:
    """How a play ended."""

    said: str

    def __getitem__(self, machine: str) -> Recap:
        """Give the last line of a machine."""
        found = re.search(rf"^{machine} +: (.*)$", self.said, re.MULTILINE)
        assert found is not None, self.said
        counts = dict(re.findall(r"(\w+)=(\d+)", found[1]))
        return Recap(*(int(counts[name]) for name in ("ok", "changed", "failed", "unreachable")))


@dataclass(frozen=True)
class Controller:
    """Where plays run: `network` is the file of a network namespace, `key` the one of ssh, `folder` has its files."""

    network: Path
    key: Path
    folder: Path

    def play(self, machines: dict[str, str], variables: dict[str, Any], *options: str) -> Played:
        """Run the role on machines, each with its address."""
        hosts = {name: {"ansible_host": address, **COMMON} for name, address in machines.items()}
        shared = {"ansible_ssh_private_key_file": str(self.key), "ansible_user": "root", **variables}
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
        environ = {
            **os.environ,
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "ssh"),
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=20s -o UserKnownHostsFile=/dev/null",
            "ANSIBLE_SSH_PIPELINING": "True",
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
        }
        playbook = [str(_BIN / "ansible-playbook"), "--inventory", str(inventory), str(ROLES / "site.yml"), *options]
        done = subprocess.run(
            ["nsenter", f"--net={self.network}", *playbook],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environ,
            cwd=self.folder,
        )
        return Played(done.stdout + done.stderr)


COMMON = {"ansible_python_interpreter": "/usr/bin/python3"}


def play_here(folder: Path, tasks: str, variables: dict[str, Any], **environ: str) -> Played:
    """Run one file of the role's tasks on this machine, whose programs have these variables of the environment."""
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"import_tasks": str(ROLES / tasks)}]}
    (folder / "play.json").write_text(json.dumps([play]))
    options = (
        "--inventory",
        "localhost,",
        "--connection",
        "local",
        "--extra-vars",
        json.dumps({**COMMON, **variables}),
    )
    done = subprocess.run(
        [str(_BIN / "ansible-playbook"), *options, str(folder / "play.json")],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "ANSIBLE_NOCOLOR": "True", **environ},
        cwd=folder,
    )
    return Played(done.stdout + done.stderr)


def lint() -> str:
    """Give what ansible-lint has to say of the role; empty when that is nothing."""
    done = subprocess.run(
        [str(_BIN / "ansible-lint"), "--offline", "--nocolor", "-q"],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}"},
        cwd=ROLES,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr

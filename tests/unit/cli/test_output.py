"""Output that cannot be written ends a program with a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(sys.executable).with_name("locksmithctl")


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["completion", "bash"], ["window", "--spec", "Mon 02:00 for 1h"]]
)
def test_a_full_disk_is_an_error_of_one_line(command, unbuffered, tmp_path):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [TOOL, *command],
            check=False,
            env={"LOCKSMITH_ROOT": str(tmp_path), "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (ended.returncode, ended.stderr) == (
        1,
        "Error: standard output cannot be written: No space left on device\n",
    )

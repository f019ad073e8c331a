"""What makes the programs of some tests hurry finds all that it changes: Python would go on without it."""

import subprocess
import sys

from tests.harness.prometheus import HURRY


def test_a_program_that_is_to_hurry_does():
    said = subprocess.run([sys.executable, "-c", ""], env={"PYTHONPATH": str(HURRY)}, capture_output=True, check=True)
    assert said.stderr == b""

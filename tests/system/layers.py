"""What the disk of a machine is made of."""

from collections.abc import Callable
from pathlib import Path

from tests.harness.machines import Machine

Layers = tuple[Path, ...]
"""What a machine's root is made of, the topmost first."""
NewMachine = Callable[[str, Layers], Machine]
"""Takes a name and the layers; the machine is off."""

"""A suspend, as one program sees it: CLOCK_BOOTTIME steps ahead, CLOCK_MONOTONIC does not.

No test can suspend the machine it runs on, and a time namespace has its offsets before its first process starts. So
`time.clock_gettime` of the program itself is changed, by a module that Python imports at its start.
"""

from pathlib import Path

MODULE = """
import time
from pathlib import Path

real = time.clock_gettime


def clock_gettime(clock):
    seconds = real(clock)
    return seconds + float(Path({file!r}).read_text()) if clock == time.CLOCK_BOOTTIME else seconds


time.clock_gettime = clock_gettime
"""


class Suspend:
    """Give `environ` to a program; from then on `passes` lets boot time pass for it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "suspended"
        self._seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(MODULE.format(file=str(self._file)))
        self.environ = {"PYTHONPATH": str(folder)}
        self.passes(0)

    def passes(self, seconds: float) -> None:
        """Have the program find that it was suspended for so long."""
        self._seconds += seconds
        new = self._file.with_suffix(".new")
        new.write_text(str(self._seconds))
        new.rename(self._file)

"""The trigger `kernel`: a newer kernel was installed since this machine booted.

If the kernel was there at the boot and does not run, the boot loader did not choose it: another reboot would not help.
If that boot was for this kernel, the reboot has failed.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.paths import Paths

if TYPE_CHECKING:
    from locksmith.triggers.plugin import TriggerContext

_NUMBERS = re.compile(r"[0-9]+")


class NewerKernel:
    """Compares the installed kernels with the running kernel; `booted` gives the Unix time of its start."""

    name = "kernel"

    def __init__(self, paths: Paths, booted: Callable[[], float] | None = None) -> None:
        self._paths = paths
        self._booted = booted or _kernel_started

    @classmethod
    def make(cls, context: "TriggerContext") -> "NewerKernel":
        """Give the trigger of this machine."""
        return cls(context.paths)

    def found(self) -> bool:
        """Whether kernels are installed here, and one of them runs. In a container the host's kernel runs."""
        return not self._paths.container.exists() and bool(self._installed())

    def listen(self, wake: Callable[[], None]) -> None:
        """Do nothing: the folder is read at each check."""

    async def look(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Compare the running kernel with the newest of its flavour (`-amd64`, `-cloud-amd64`, `.x86_64`)."""
        try:
            running = self._paths.kernel_release.read_text(errors="replace").strip()
        except OSError as error:
            return TriggerResult(error=f"kernel: {self._paths.kernel_release} cannot be read: {error.strerror}")
        alike = {name: image for name, image in self._installed().items() if _flavour(name) == _flavour(running)}
        newest = max(alike, key=_numbers, default=running)
        if _numbers(newest) <= _numbers(running):
            return TriggerResult(says=f"{running} runs, and none that is installed is newer")
        since = self._changed(alike[newest])
        if since < self._booted():
            text = f"{newest} was installed before this boot, and {running} was booted"
            return TriggerResult(says=text, not_applied=newest)
        reason = f"kernel {newest} is installed, and {running} runs"
        return TriggerResult(RebootNeed(self.name, newest, datetime.fromtimestamp(since, UTC), reason))

    async def close(self) -> None:
        """Do nothing."""

    def _installed(self) -> dict[str, Path]:
        """Give the kernels that could be booted: by name, with the file that their installation wrote."""
        found: dict[str, Path] = {}
        for path in self._paths.boot.glob("vmlinuz-*"):
            found[path.name.removeprefix("vmlinuz-")] = path
        for path in self._paths.modules.glob("*/vmlinuz"):
            found[path.parent.name] = path
        return {name: path for name, path in found.items() if _numbers(name) and "rescue" not in name}

    @staticmethod
    def _changed(image: Path) -> float:
        try:
            return image.stat().st_ctime
        except OSError:  # the kernel is being removed
            return 0.0


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBERS.findall(name))


def _flavour(name: str) -> str:
    """Give a kernel's flavour: the letters of its name, without the numbers that count up."""
    return _NUMBERS.sub("", re.sub(r"^[0-9.-]+", "", name))


def _kernel_started() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

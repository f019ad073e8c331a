"""The trigger `kernel`: since the boot a newer kernel was installed, or another build of the kernel that runs.

If the kernel was there at the boot and does not run, the boot loader did not choose it: another reboot would not help.
If that boot was for this kernel, the reboot has failed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.paths import Paths
from locksmith.triggers.kernel_image import build_of
from locksmith.triggers.kernel_names import KernelName, parse

if TYPE_CHECKING:
    from locksmith.triggers.plugin import TriggerContext

IMAGES = ("vmlinuz-*", "vmlinux-*", "Image-*")
"""The kernels in /boot: Debian, Fedora and others; ppc64el; SUSE on arm64."""
MODULES = ("vmlinuz", "Image", "image")
"""The kernel next to its modules: Fedora, SUSE and Arch; SUSE on arm64 and s390x."""


@dataclass(frozen=True, slots=True)
class _Kernel:
    """An installed kernel: its release, that in parts, and its image."""

    release: str
    name: KernelName
    image: Path


class NewerKernel:
    """Compares the installed kernels with the running kernel; `booted` gives the Unix time of its start."""

    name = "kernel"

    def __init__(self, paths: Paths, booted: Callable[[], float] | None = None) -> None:
        self._paths = paths
        self._booted = booted or _kernel_started
        self._read: tuple[tuple[Path, int, int, bool], str | None] | None = None

    @classmethod
    def make(cls, context: "TriggerContext") -> "NewerKernel":
        """Give the trigger of this machine."""
        return cls(context.paths)

    def found(self) -> bool:
        """Whether kernels are installed here, and one of them runs. In a container the host's kernel runs."""
        return not self._paths.container.exists() and bool(self._installed())

    def listen(self, wake: Callable[[], None]) -> None:
        """Do nothing: the folder is read at each check."""

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Compare the running kernel with the newest of its flavour (`amd64`, `cloud-amd64`, `el.x86_64`)."""
        try:
            running = self._paths.kernel_release.read_text(errors="replace").strip()
        except OSError as error:
            return TriggerResult(error=f"kernel: {self._paths.kernel_release} cannot be read: {error.strerror}")
        own = parse(running)
        if own is None:
            return TriggerResult(says=f"{running} runs, which is no version that can be compared")
        alike = [kernel for kernel in self._installed() if kernel.name.flavour == own.flavour]
        newest = max(alike, key=lambda kernel: kernel.name.version, default=None)
        if newest is not None and newest.name.version > own.version:
            return self._differs(newest.image, newest.release, f"kernel {newest.release} is installed", running)
        same = next((kernel for kernel in alike if kernel.release == running), None)
        result = self._built_again(same) if same else None
        return result or TriggerResult(says=f"{running} runs, and none that is installed is newer")

    async def close(self) -> None:
        """Do nothing."""

    def _built_again(self, kernel: _Kernel) -> TriggerResult | None:
        """Compare the build that runs with that of its image; None: they are the same, or one does not say."""
        since = self._changed(kernel.image)
        try:
            runs = self._paths.kernel_version.read_text(errors="replace").strip()
            build = self._build(kernel.image, thorough=since is not None and since >= self._booted())
        except OSError:
            return None
        if build is None or not runs or build == runs:
            return None
        what = f"another build of kernel {kernel.release} is installed ({build})"
        return self._differs(kernel.image, f"{kernel.release} {build}", what, runs)

    def _differs(self, image: Path, version: str, what: str, running: str) -> TriggerResult:
        """Give the need for a kernel, if it was installed since the boot."""
        since = self._changed(image)
        if since is None or since < self._booted():
            text = f"{version} was installed before this boot, and {running} was booted"
            return TriggerResult(says=text, not_applied=version)
        reason = f"{what}, and {running} runs"
        return TriggerResult(RebootNeed(self.name, version, datetime.fromtimestamp(since, UTC), reason))

    def _build(self, image: Path, *, thorough: bool) -> str | None:
        """Read the build of an image again only if the image has changed."""
        stat = image.stat()
        key = (image, stat.st_ctime_ns, stat.st_ino, thorough)
        if self._read is None or self._read[0] != key:
            self._read = key, build_of(image, thorough=thorough)
        return self._read[1]

    def _installed(self) -> list[_Kernel]:
        """Give the kernels that could be booted: with the file that their installation wrote."""
        found: dict[str, Path] = {}
        for pattern in IMAGES:
            for path in self._paths.boot.glob(pattern):
                found[path.name.partition("-")[2]] = path
        for name in MODULES:
            for path in self._paths.modules.glob(f"*/{name}"):
                found[path.parent.name] = path
        parsed = ((release, parse(release), image) for release, image in found.items())
        return [_Kernel(release, name, image) for release, name, image in parsed if name is not None]

    @staticmethod
    def _changed(image: Path) -> float | None:
        try:
            return image.stat().st_ctime
        except OSError:  # the kernel is being removed
            return None


def _kernel_started() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

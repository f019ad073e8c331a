"""The paths of the files that locksmith reads and writes on this machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Paths:
    """All paths below a root: `/` on a real machine, a separate folder for each node of the demo and the tests."""

    root: Path = Path("/")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Give the paths below `LOCKSMITH_ROOT`, which is for tests and the demo; without it the root is `/`."""
        return cls(Path(environ.get("LOCKSMITH_ROOT") or "/"))

    @property
    def machine_id(self) -> Path:
        """This machine's id (machine-id(5))."""
        return self.root / "etc/machine-id"

    @property
    def boot_id(self) -> Path:
        """The kernel's id of this boot (random(4))."""
        return self.root / "proc/sys/kernel/random/boot_id"

    @property
    def config_folders(self) -> tuple[Path, ...]:
        """The folders of the configuration, checks and hooks: of the operator, of this boot, of packages."""
        return (self.root / "etc/locksmith", self.run, self.root / "usr/lib/locksmith")

    @property
    def config(self) -> Path:
        """The operator's configuration; its drop-ins are in the folder of the same name with `.d` at its end."""
        return self.root / "etc/locksmith/locksmith.toml"

    def program_folders(self, stage: str) -> tuple[Path, ...]:
        """Name the folders with programs of a stage (`check`, `pre-reboot`, ...): the first decides about a name."""
        return tuple(folder / f"{stage}.d" for folder in self.config_folders)

    @property
    def credentials(self) -> Path:
        """The credentials of the running daemon's unit, which root alone can read (systemd.exec(5))."""
        return self.root / "run/credentials/locksmithd.service"

    @property
    def server_credentials(self) -> Path:
        """The credentials of the running unit of `locksmith-server`, which root alone can read."""
        return self.root / "run/credentials/locksmith-server.service"

    @property
    def state(self) -> Path:
        """The folder of files that survive a reboot."""
        return self.root / "var/lib/locksmith"

    @property
    def run(self) -> Path:
        """The folder of files that a reboot forgets."""
        return self.root / "run/locksmith"

    @property
    def server_run(self) -> Path:
        """The same of `locksmith-server`, which has a user of its own."""
        return self.root / "run/locksmith-server"

    @property
    def coordinator(self) -> Path:
        """update_engine's file that names its reboot coordinator."""
        return self.root / "run/update-engine/coordinator.conf"

    @property
    def reboot_required(self) -> Path:
        """Written by Debian's and Ubuntu's packages, and others, when they need a reboot."""
        return self.root / "run/reboot-required"

    @property
    def reboot_needed(self) -> Path:
        """Written by SUSE's transactional-update when it needs a reboot."""
        return self.root / "run/reboot-needed"

    @property
    def container(self) -> Path:
        """Exists in a container: systemd names its kind there (systemd.exec(5))."""
        return self.root / "run/systemd/container"

    @property
    def product_uuid(self) -> Path:
        """The firmware's id of this machine, which only root may read (SMBIOS, on x86 and some ARM)."""
        return self.root / "sys/class/dmi/id/product_uuid"

    @property
    def board_serial(self) -> Path:
        """The serial number of a board with a device tree (Raspberry Pi and others)."""
        return self.root / "proc/device-tree/serial-number"

    @property
    def kernel_release(self) -> Path:
        """The running kernel's release, as of `uname -r`."""
        return self.root / "proc/sys/kernel/osrelease"

    @property
    def kernel_version(self) -> Path:
        """The running kernel's build, as of `uname -v`."""
        return self.root / "proc/sys/kernel/version"

    @property
    def boot(self) -> Path:
        """The kernels of Debian and others."""
        return self.root / "boot"

    @property
    def modules(self) -> Path:
        """The modules of every kernel, and on some distributions its image."""
        return self.root / "usr/lib/modules"

    @property
    def systemd_booted(self) -> Path:
        """Exists where systemd is the init system (sd_booted(3))."""
        return self.root / "run/systemd/system"

    @property
    def image_mark(self) -> Path:
        """Exists in locksmith's own container image, and nowhere else."""
        return self.root / "usr/lib/locksmith/installed.d/image"

    @property
    def machine_root(self) -> Path:
        """The folder of the container image at which the machine's root is mounted."""
        return self.root / "host"

    def on_machine(self, path: Path) -> Path:
        """Give a path of the machine as a container of the image sees it."""
        return self.machine_root / path.relative_to(self.root)

"""The root file systems the test machines boot from.

`base()` debootstraps Debian bookworm, or trixie, with locksmith's dependencies in a virtual environment, once, and
keeps it in a cache. `install()` puts the package of this working tree into a layer over it, in two seconds.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONTRIB = REPOSITORY / "contrib/systemd"
BOOKWORM, TRIXIE = "bookworm", "trixie"
"""systemd 252, as most nodes have it; systemd 257, with soft reboots, and with inhibitors that stop root too."""
PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "python3", "python3-venv", "openssl")
PYTHON = {BOOKWORM: (3, 11), TRIXIE: (3, 13)}
"""Each one's Python. Bookworm's wheels are made by the Python that runs the tests, so it has to be the same."""
SDISTS = {"python-etcd": "dnspython"}
"""Dependencies that come as sources alone, which any Python makes a wheel of, and what they depend on themselves."""
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "journalctl": "systemd",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
BUILD_LIMIT = 900.0
"""Seconds for one step of making an image: some of them download."""


class ImageError(Exception):
    """An image could not be made; the text is the end of what the failing tool said."""


def hindrance() -> str:
    """Why no machine can run here, in a sentence; empty when one can."""
    if os.geteuid() != 0:
        return "real machines (systemd containers) need root"
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        return f"real machines need the Debian packages {', '.join(missing)}: apt-get install them"
    if sys.version_info[:2] != PYTHON[BOOKWORM]:
        return f"real machines run {BOOKWORM}'s Python {'.'.join(map(str, PYTHON[BOOKWORM]))}: run the tests with that"
    return ""


def cache() -> Path:
    """The folder that keeps images between sessions."""
    return Path(os.environ.get("LOCKSMITH_CACHE", "/var/cache/locksmith-tests"))


def base(suite: str = BOOKWORM) -> Path:
    """The root with the operating system and locksmith's dependencies; made when the cache has none."""
    requirements = _requirements()
    recipe = "\n".join((suite, *PACKAGES, *requirements))
    image = cache() / f"{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with alone(cache()):
        if not image.exists():
            _sweep(cache())
            with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as folder:
                root = Path(folder) / "root"
                _debootstrap(root, suite)
                _prepare(root)
                _tool("chroot", root, "python3", "-m", "venv", "/opt/locksmith")
                _install_wheels(root, requirements, PYTHON[suite])
                root.rename(image)
    return image


def orphaned_for(lower: Path) -> Path:
    """A layer over bookworm's base that makes it a stock Debian node, which installs its updates by itself.

    It has `unattended-upgrades`, and `reboot-notifier` with the script by which packages ask for a reboot (an empty
    package stands for the mail server that it wants); /srv/dbus.deb is the installed one, to make a newer one of.
    """
    return _with_script(lower, "unattended", ORPHANED_FOR)


def without_python(lower: Path) -> Path:
    """A layer over a base, as on Flatcar: no Python, a read-only /usr, and an older locksmith in that.

    The older one is a script: the program of CoreOS locksmith is not to be had.
    """
    return _with_script(lower, "flatcar", LIKE_FLATCAR)


def with_debian_packages(lower: Path, *packages: str) -> Path:
    """A layer over a base that adds packages of Debian."""
    return _with_script(lower, "debian", f"{ADD_PACKAGES} {' '.join(packages)}\nrm -rf /var/lib/apt/lists/*\n")


def _with_script(lower: Path, kind: str, script: str) -> Path:
    """A layer over a base that a script has made inside."""
    layer = cache() / f"{kind}-{hashlib.sha256(f'{lower.name} {script}'.encode()).hexdigest()[:16]}"
    with alone(cache()):
        if not layer.exists():
            with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as folder:
                upper, root = Path(folder) / "upper", Path(folder) / "root"
                mount((lower,), upper, root)
                try:
                    _tool("chroot", root, "sh", "-ec", script)
                finally:
                    unmount(root)
                upper.rename(layer)
    return layer


ADD_PACKAGES = """
export DEBIAN_FRONTEND=noninteractive
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial
apt-get update -qq
apt-get install -qq -y --no-install-recommends"""


LIKE_FLATCAR = """
rm -rf /opt/locksmith /usr/bin/*python3* /usr/bin/py3* /usr/lib/python3* /usr/share/python3
if ls /usr/bin /usr/local/bin | grep -i python; then exit 1; fi
cat > /etc/systemd/system/read-only.service <<'END'
[Unit]
DefaultDependencies=no
Before=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mount --bind /usr /usr
ExecStart=mount -o remount,bind,ro /usr
[Install]
WantedBy=local-fs.target
END
systemctl enable read-only.service
mkdir -p /usr/lib/locksmith /usr/lib/systemd/system/multi-user.target.wants
printf '#!/bin/sh\nexec sleep infinity\n' > /usr/lib/locksmith/locksmithd
printf '#!/bin/sh\necho locksmithctl version 0.6.2\n' > /usr/bin/locksmithctl
chmod 755 /usr/lib/locksmith/locksmithd /usr/bin/locksmithctl
cat > /usr/lib/systemd/system/locksmithd.service <<'END'
[Unit]
Description=Cluster reboot manager
After=update-engine.service
[Service]
MemoryMax=32M
PrivateDevices=true
EnvironmentFile=-/usr/share/flatcar/update.conf
EnvironmentFile=-/etc/flatcar/update.conf
ExecStart=/usr/lib/locksmith/locksmithd
Restart=on-failure
RestartSec=10s
[Install]
WantedBy=multi-user.target
END
ln -s ../locksmithd.service /usr/lib/systemd/system/multi-user.target.wants/
"""


ORPHANED_FOR = """
export DEBIAN_FRONTEND=noninteractive
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial
apt-get update -qq
apt-get install -qq -y --no-install-recommends unattended-upgrades
cd /tmp
apt-get download -qq reboot-notifier dbus
mkdir -p no-mail/DEBIAN
printf '%s\n' 'Package: no-mail' 'Version: 1' 'Architecture: all' 'Maintainer: none' 'Description: none' \
  'Provides: mailx, mail-transport-agent' > no-mail/DEBIAN/control
dpkg-deb -b no-mail
dpkg --install no-mail.deb reboot-notifier_*.deb
mv dbus_*.deb /srv/dbus.deb
systemctl disable apt-daily.timer apt-daily-upgrade.timer
rm -rf no-mail* reboot-notifier_*.deb /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""


def with_packages(lower: Path, suite: str, requirements: Sequence[str]) -> Path:
    """A layer over a base that adds Python packages to its virtual environment."""
    recipe = "\n".join((lower.name, *requirements))
    layer = cache() / f"packages-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with alone(cache()):
        if not layer.exists():
            with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as folder:
                upper, root = Path(folder) / "upper", Path(folder) / "root"
                mount((lower,), upper, root)
                try:
                    _install_wheels(root, requirements, PYTHON[suite])
                finally:
                    unmount(root)
                upper.rename(layer)
    return layer


def install(lower: Path, folder: Path) -> Path:
    """A layer over the base that holds the package, the unit and the bus policy, as on a real node."""
    layer, root = folder / "layer", folder / "root"
    mount((lower,), layer, root)
    try:
        _install_package(root)
        _install_contrib(root)
    finally:
        unmount(root)
    return layer


def mount(lowers: Sequence[Path], upper: Path, root: Path) -> None:
    """Mount `upper` over `lowers` (the topmost first) at `root`; what is written there goes to `upper`."""
    work = upper.with_name(f"{upper.name}.work")
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    lower = ":".join(map(str, lowers))
    _tool("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay", root)


def unmount(root: Path) -> None:
    """Unmount at once; the kernel lets go of it when nothing uses it any more."""
    _tool("umount", "--lazy", root)


def _sweep(folder: Path) -> None:
    """Remove what an interrupted session had begun to make."""
    for begun in folder.glob("making-*"):
        shutil.rmtree(begun)


def _debootstrap(root: Path, suite: str) -> None:
    include = f"--include={','.join(PACKAGES)}"
    _tool("debootstrap", "--variant=minbase", include, suite, root, _mirror())


def _mirror() -> str:
    """Where this host's own apt gets its suite from, and every other."""
    chosen = os.environ.get("LOCKSMITH_MIRROR")
    if chosen:
        return chosen
    targets = _tool("apt-get", "indextargets", "--format", "$(CREATED_BY) $(RELEASE) $(REPO_URI)")
    for line in targets.splitlines():
        kind, release, address = line.split(" ", 2)
        if (kind, release) == ("Packages", BOOKWORM):
            return address
    raise ImageError(f"this host's apt sources have no suite {BOOKWORM}: name a mirror in LOCKSMITH_MIRROR")


def _prepare(root: Path) -> None:
    """Take away what must differ from machine to machine, and what only costs room."""
    for identity in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname"):
        (root / identity).unlink(missing_ok=True)
    for bulk in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / bulk)
    (root / "var/log/journal").mkdir(exist_ok=True)


def _requirements() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [str(requirement) for requirement in project["dependencies"]]


def _install_wheels(root: Path, requirements: Sequence[str], python: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory(dir=root / "tmp") as wheels:
        if python == sys.version_info[:2]:
            pip_wheel(Path(wheels), *requirements)
        else:
            _pip_wheel_for(Path(wheels), python, requirements)
        _pip_install(root, Path(wheels))


def _pip_wheel_for(wheels: Path, python: tuple[int, int], requirements: Sequence[str]) -> None:
    """Fetch the wheels of another Python than this one."""
    sources = [one for one in requirements if one.startswith(tuple(SDISTS))]
    ready = [one for one in requirements if one not in sources]
    ready += [SDISTS[name] for name in SDISTS if any(one.startswith(name) for one in sources)]
    platforms = [f"--platform={kind}_{platform.machine()}" for kind in ("manylinux2014", "manylinux_2_28", "linux")]
    version = f"--python-version={python[0]}.{python[1]}"
    _pip("download", "--dest", wheels, "--only-binary=:all:", version, *platforms, *ready)
    if sources:
        pip_wheel(wheels, "--no-deps", *sources)


def _install_package(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root / "tmp") as wheels:
        pip_wheel(Path(wheels), "--no-deps", str(REPOSITORY))
        _pip_install(root, Path(wheels))
    for command in ("locksmithd", "locksmithctl"):
        (root / "usr/bin" / command).symlink_to(f"/opt/locksmith/bin/{command}")


def _install_contrib(root: Path) -> None:
    shutil.copy(CONTRIB / "locksmithd.service", root / "etc/systemd/system")
    for policy in ("com.coreos.update1.locksmith.conf", "org.locksmith1.conf"):
        shutil.copy(CONTRIB / policy, root / "etc/dbus-1/system.d")
    _tool("chroot", root, "systemctl", "enable", "locksmithd.service")


def pip_wheel(wheels: Path, *what: str) -> None:
    """Make wheels on the host: it knows the way to the package index, the machines do not."""
    _pip("wheel", "--wheel-dir", wheels, *what)


def _pip(command: str, *arguments: str | Path) -> None:
    _tool(sys.executable, "-m", "pip", command, "--quiet", *arguments)


def _pip_install(root: Path, wheels: Path) -> None:
    inside = [f"/{wheel.relative_to(root)}" for wheel in sorted(wheels.glob("*.whl"))]
    _tool("chroot", root, "/opt/locksmith/bin/pip", "install", "--quiet", "--no-index", "--no-deps", *inside)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one session at a time do this with a folder of the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tool(*argv: str | Path) -> str:
    """Run a tool of the host to its end and return what it said."""
    done = subprocess.run(
        [str(word) for word in argv],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT,
        env={**os.environ, "LC_ALL": "C", "PIP_ROOT_USER_ACTION": "ignore"},
    )
    if done.returncode != 0:
        raise ImageError(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout

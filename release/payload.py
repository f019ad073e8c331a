"""Which files a package has besides the Python code, and where they go on a machine.

`python -m release.payload ROOT` puts them below ROOT, for debian/rules. The shell completions and the man pages are
made by the program itself, so the locksmith that runs this must be the one that is packaged.
"""

import subprocess
import sys
from pathlib import Path

from release import man
from release.source import REPOSITORY, build_of

FILES = {
    "contrib/locksmith.toml": "usr/share/doc/locksmith/examples/",
    "contrib/not-configured/locksmith.toml": "usr/lib/locksmith/",
    "contrib/systemd/locksmithd.service": "usr/lib/systemd/system/",
    "contrib/systemd/com.coreos.update1.locksmith.conf": "usr/share/dbus-1/system.d/",
    "contrib/systemd/org.locksmith1.conf": "usr/share/dbus-1/system.d/",
    "contrib/systemd/org.locksmith1.policy": "usr/share/polkit-1/actions/",
    "contrib/systemd/locksmith.catalog": "usr/lib/systemd/catalog/",
    "contrib/systemd/locksmith-server.service": "usr/share/doc/locksmith/examples/systemd/",
    "contrib/systemd/10-etcd-lock.conf": "usr/share/doc/locksmith/examples/systemd/",
    "contrib/systemd/20-credentials.conf": "usr/share/doc/locksmith/examples/systemd/",
    "contrib/prometheus/alerts.yml": "usr/share/doc/locksmith/examples/prometheus/",
    "contrib/prometheus/alerts_days_test.yml": "usr/share/doc/locksmith/examples/prometheus/",
    "contrib/prometheus/alerts_test.yml": "usr/share/doc/locksmith/examples/prometheus/",
    "contrib/prometheus/scrape.yml": "usr/share/doc/locksmith/examples/prometheus/",
    "contrib/grafana/dashboard.json": "usr/share/doc/locksmith/examples/grafana/",
}
"""Each file of the repository and the folder it goes to."""

COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/locksmithctl",
    "zsh": "usr/share/zsh/vendor-completions/_locksmithctl",
    "fish": "usr/share/fish/vendor_completions.d/locksmithctl.fish",
}
"""Each shell, and where its completion goes. Debian's zsh reads vendor-completions."""

MAN = "usr/share/man"
"""The folder of the manual pages. Debian's dh compresses them."""


def install(root: Path, repository: Path = REPOSITORY) -> None:
    """Put every file below a root."""
    for source, folder in FILES.items():
        _write(root / folder / Path(source).name, (repository / source).read_bytes())
    for shell, target in COMPLETIONS.items():
        _write(root / target, _said_by_the_tool("completion", shell))
    for path, text in man.pages(build_of(repository), repository / "docs").items():
        _write(root / MAN / path, text.encode())


def _said_by_the_tool(*arguments: str) -> bytes:
    run = f"import sys; sys.argv = {['locksmithctl', *arguments]!r}; from locksmith.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", run], check=True, capture_output=True).stdout


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o644)


if __name__ == "__main__":
    install(Path(sys.argv[1]))

"""What each program of the self-contained build runs. PyInstaller makes one executable of it for each name.

What PyInstaller puts into the environment for itself is taken out again before anything else: an operator's hook that
inherited LD_LIBRARY_PATH would run the system's programs with the libraries of this build.
"""

import os
import sys
from pathlib import Path

PLUGINS = Path("/opt/locksmith/plugins")
"""Where operators put strategies and triggers of other packages (`pip install --target`)."""
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the certificates that they trust: Debian and Flatcar, Fedora, SUSE, others."""


def main() -> None:
    """Run the program that has this executable's name."""
    _restore_environment()
    name = Path(sys.executable).name
    if name == "locksmith-supervise":
        from locksmith.host.supervise import main as supervisor

        supervisor()
    _trust_what_the_system_trusts()
    _find_plugins()
    if name in {"locksmith-server", "locksmithctl"}:  # the tool sends test messages by the server's library
        sys.path.append(str(Path(sys.executable).parents[1] / "server"))
    if name == "locksmith-server":
        from locksmith.cli.server import main as server

        server()
    if name == "locksmithctl":
        from locksmith.cli.main import main as tool

        tool()
    from locksmith.cli.daemon import main as daemon

    daemon()


def _restore_environment() -> None:
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]


def _trust_what_the_system_trusts() -> None:
    """Name the system's certificates: the OpenSSL in this build looks where Debian has them."""
    if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
        for path in CERTIFICATES:
            if Path(path).is_file():
                os.environ["SSL_CERT_FILE"] = path
                break


def _find_plugins() -> None:
    if PLUGINS.is_dir():
        from locksmith.errors import HostError
        from locksmith.host.trust import refuse_changeable

        try:
            refuse_changeable(PLUGINS, "the folder of plugins")
        except HostError as error:
            sys.exit(f"Error: {error}")
        sys.path.append(str(PLUGINS))


if __name__ == "__main__":
    main()

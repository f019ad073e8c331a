"""Certificates for tests, made by the `openssl` command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
# etcd's gateway is a client of its own server and shows it the server's certificate: it has to serve for both.
_USES = "extendedKeyUsage=serverAuth,clientAuth"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority of its own in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pair = self._request(name, "-addext", "basicConstraints=critical,CA:TRUE")
        self.cert = self._pair.cert

    def issue(self, name: str) -> KeyPair:
        """Make a certificate for 127.0.0.1 and localhost, for servers and clients."""
        signed_by = ["-CA", str(self._pair.cert), "-CAkey", str(self._pair.key)]
        return self._request(name, *signed_by, "-addext", _NAMES, "-addext", _USES)

    def _request(self, name: str, *options: str) -> KeyPair:
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        files = ["-keyout", str(pair.key), "-out", str(pair.cert)]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        # No common name: with users and client certificates both on, etcd's gateway refuses a certificate that has one.
        command = ["openssl", "req", "-x509", "-days", "2", "-subj", f"/O=test {name}", *key, *files, *options]
        subprocess.run(command, check=True, capture_output=True)
        return pair

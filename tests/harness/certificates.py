"""Certificates for tests, made by the `openssl` command."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
# etcd's gateway is a client of its own server and shows it the server's certificate: it has to serve for both.
_USES = "extendedKeyUsage=serverAuth,clientAuth"
# What Python refuses a certificate without, from 3.13 on.
_KEYS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid"
_MAY_SIGN = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CONFIG = """
[ca]
default_ca = this
[this]
certificate = {cert}
private_key = {key}
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
organizationName = supplied
"""


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
        self._pair = self._self_signed(name)
        self.cert = self._pair.cert

    def issue(self, name: str, names: str = _NAMES, *, begins: float = -0.01, ends: float = 2) -> KeyPair:
        """Make a certificate for servers and clients; `begins` and `ends` are days from now."""
        pair, request = self._pair_for(name), self._folder / f"{name}.csr"
        files = ["-keyout", str(pair.key), "-out", str(request)]
        _openssl("req", *_NEW_KEY, *_subject(name), *files)
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"{names}\n{_USES}\n{_KEYS}\n")
        span = ["-startdate", _when(begins), "-enddate", _when(ends)]
        self._ca("-in", str(request), "-out", str(pair.cert), "-extfile", str(extensions), *span)
        return pair

    def revoke(self, *pairs: KeyPair, ends: float = 2) -> str:
        """Revoke certificates; give the list of those that are, in PEM format."""
        for pair in pairs:
            self._ca("-revoke", str(pair.cert))
        crl = self._folder / "crl.pem"
        self._ca(
            "-gencrl", "-crl_lastupdate", _when(min(ends - 1, -0.01)), "-crl_nextupdate", _when(ends), "-out", str(crl)
        )
        return crl.read_text()

    def _ca(self, *options: str) -> None:
        config = self._folder / "ca.cnf"
        if not config.exists():
            config.write_text(_CONFIG.format(folder=self._folder, cert=self.cert, key=self._pair.key))
            (self._folder / "index").touch()
        _openssl("ca", "-batch", "-notext", "-config", str(config), *options)

    def _pair_for(self, name: str) -> KeyPair:
        return KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _self_signed(self, name: str) -> KeyPair:
        pair = self._pair_for(name)
        files = ["-keyout", str(pair.key), "-out", str(pair.cert)]
        is_authority = ["-days", "2", "-addext", "basicConstraints=critical,CA:TRUE", *_MAY_SIGN]
        _openssl("req", "-x509", *_NEW_KEY, *_subject(name), *files, *is_authority)
        return pair


def _subject(name: str) -> list[str]:
    # No common name: with users and client certificates both on, etcd's gateway refuses a certificate that has one.
    return ["-subj", f"/O=test {name}"]


def _when(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%SZ}"


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)

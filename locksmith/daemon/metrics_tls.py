"""The certificate of the metrics port: a renewed file is used, and a date that clients refuse is logged."""

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from locksmith.util.tls_files import FollowedContext, how_to_renew, no_passphrase
from locksmith.util.x509 import Certificate, read_pem

log = logging.getLogger(__name__)


class ServerCertificate:
    """Gives the TLS context for the next connection; `OSError`: the files cannot be used."""

    def __init__(self, certfile: Path, keyfile: Path) -> None:
        self._certfile, self._keyfile = certfile, keyfile
        self._certificate: Certificate | None = None
        self._told = False
        self._context = FollowedContext((certfile, keyfile), self._load)
        self._tell()

    def context(self) -> ssl.SSLContext:
        """Give the context."""
        context = self._context.get()
        self._tell()
        return context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certfile, self._keyfile, no_passphrase)
            self._certificate = read_pem(self._certfile.read_text())
        except OSError as error:
            files = f"the certificate {self._certfile} and its key {self._keyfile}"
            raise OSError(f"{files} cannot be used: {_reason(error)}") from None
        except ValueError:
            self._certificate = None
        self._told = False
        return context

    def _tell(self) -> None:
        """Log once that clients refuse the certificate: Prometheus shows only that the target is down."""
        if self._certificate is None or self._told:
            return
        now = datetime.now(UTC)
        if self._certificate.ends < now:
            said = f"expired on {self._certificate.ends:%Y-%m-%d %H:%M} UTC: {how_to_renew(self._certfile)}"
        elif self._certificate.begins > now:
            said = f"holds from {self._certificate.begins:%Y-%m-%d %H:%M} UTC on: check this machine's clock"
        else:
            return
        self._told = True
        log.warning("clients refuse the certificate of the metrics port: %s %s", self._certfile, said)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not in PEM format, or the key does not belong to the certificate, or the key has a passphrase"
    return error.strerror or str(error)

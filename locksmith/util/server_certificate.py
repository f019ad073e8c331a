"""The certificate of a port: a renewed file is used, and a date that clients refuse is logged."""

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from locksmith.util.tls_files import FollowedContext, how_to_renew, no_passphrase
from locksmith.util.x509 import Certificate, read_pem

log = logging.getLogger(__name__)


class ServerCertificate:
    """Gives the TLS context for the next connection; `OSError`: the files cannot be used.

    `port` names the port in the log, and `unit` the unit that a renewed credential needs restarted. With
    `client_cafile` a client may show a certificate. If these CAs have not signed it, its handshake fails. If the file
    cannot be used any more, no certificate counts: an operator who empties or removes it wants that.
    """

    def __init__(
        self,
        certfile: Path,
        keyfile: Path,
        *,
        client_cafile: Path | None = None,
        port: str = "the metrics port",
        unit: str = "locksmithd.service",
    ) -> None:
        self._certfile, self._keyfile, self._client_cafile = certfile, keyfile, client_cafile
        self._port, self._unit = port, unit
        self._certificate: Certificate | None = None
        self._told = self._begun = False
        files = (certfile, keyfile, client_cafile) if client_cafile else (certfile, keyfile)
        self._context = FollowedContext(files, self._load)
        self._begun = True
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
        if self._client_cafile:
            try:
                self._ask_clients(context, self._client_cafile)
            except OSError as error:
                if not self._begun:
                    raise
                context.verify_mode = ssl.CERT_NONE
                log.warning("no certificate of a client counts: %s", error)
        self._told = False
        return context

    def _ask_clients(self, context: ssl.SSLContext, cafile: Path) -> None:
        context.verify_mode = ssl.CERT_OPTIONAL
        # A session that is resumed shows a certificate that nothing verifies again: it may have expired meanwhile.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        try:
            context.load_verify_locations(cafile)
            if not context.cert_store_stats()["x509_ca"]:
                raise OSError(f"the file {cafile} of the clients' CAs cannot be used: it has no certificate of a CA")
            if context.cert_store_stats()["crl"]:
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except ssl.SSLError:
            raise OSError(f"the file {cafile} of the clients' CAs cannot be used: not in PEM format") from None
        except FileNotFoundError as error:
            raise OSError(f"the file {cafile} of the clients' CAs cannot be used: {error.strerror}") from None

    def _tell(self) -> None:
        """Log once that clients refuse the certificate: Prometheus shows only that the target is down."""
        if self._certificate is None or self._told:
            return
        now = datetime.now(UTC)
        if self._certificate.ends < now:
            said = f"expired on {self._certificate.ends:%Y-%m-%d %H:%M} UTC: {how_to_renew(self._certfile, self._unit)}"
        elif self._certificate.begins > now:
            said = f"holds from {self._certificate.begins:%Y-%m-%d %H:%M} UTC on: check this machine's clock"
        else:
            return
        self._told = True
        log.warning("clients refuse the certificate of %s: %s %s", self._port, self._certfile, said)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not in PEM format, or the key does not belong to the certificate, or the key has a passphrase"
    return error.strerror or str(error)

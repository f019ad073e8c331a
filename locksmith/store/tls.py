"""TLS to a server: its files, and why a server or a client was not trusted.

A renewed file is used without a restart. A list of revoked certificates (CRL) in the CA file is obeyed.
"""

import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeGuard

from locksmith.errors import UsageError
from locksmith.util.tls_files import FollowedContext, how_to_renew, no_passphrase
from locksmith.util.words import listed
from locksmith.util.x509 import Certificate, read_certificate, read_pem

LOOK_LIMIT = 1.0
"""Seconds to fetch a certificate that was not trusted, so that the message can say what is wrong with it."""

SYSTEM = "the system's CAs"

CRL = "-----BEGIN X509 CRL-----"

# OpenSSL's codes (X509_V_ERR_*): openssl-verification-options(1)
NO_CRL, NOT_YET_VALID, EXPIRED, CRL_NOT_YET_VALID, CRL_EXPIRED, REVOKED = 3, 9, 10, 11, 12, 23
OTHER_NAME, OTHER_ADDRESS = 62, 64
UNKNOWN_ISSUER = {2, 18, 19, 20, 21}

REFUSALS = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
    "HANDSHAKE_FAILURE",
)
"""A server's alerts about a client's certificate. In TLS 1.3 they come after the client's own handshake."""


class TlsFiles(Protocol):
    """The files that settings name: who is trusted, and what this client shows."""

    @property
    def cafile(self) -> Path | None: ...  # noqa: D102 - as the class says
    @property
    def certfile(self) -> Path | None: ...  # noqa: D102 - as the class says
    @property
    def keyfile(self) -> Path | None: ...  # noqa: D102 - as the class says


@dataclass(frozen=True, slots=True)
class TlsNames:
    """The words of sentences: the key that names the server, the table of the files, and the server itself."""

    setting: str = "etcd.endpoints"
    table: str = "etcd"
    server: str = "etcd"


class Tls:
    """The TLS files of the settings; `UsageError` names what cannot be used."""

    def __init__(self, settings: TlsFiles, names: TlsNames = TlsNames()) -> None:
        self._settings = settings
        self._names = names
        files = [file for file in (settings.cafile, settings.certfile, settings.keyfile) if file is not None]
        self._context = FollowedContext(files, lambda: _load(settings))

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._context.get()

    def offering(self, protocol: str) -> ssl.SSLContext:
        """Give a context for another protocol than HTTP/1.1. A blocking call."""
        context = _load(self._settings)
        context.set_alpn_protocols([protocol])
        return context

    def distrust(self, error: ssl.SSLCertVerificationError, host: str, port: int) -> str:
        """Say why a server's certificate is not trusted, and what to do. A blocking call."""
        return distrust(error, (host, port), whom_to_trust(self._settings.cafile), self._names.setting)

    def refusal(self, error: ssl.SSLError) -> str:
        """Say why a server refused this client, if the server said so."""
        word = str(error.reason or error).rpartition("ALERT_")[2].replace("_", " ").lower()
        return f"it refused this client's certificate ({word}): {self._own_certificate()}"

    def _own_certificate(self) -> str:
        file = self._settings.certfile
        if file is None:
            return f"{self._names.table}.certfile and {self._names.table}.keyfile name none"
        with contextlib.suppress(OSError, ValueError):
            certificate, now = read_pem(file.read_text()), datetime.now(UTC)
            if certificate.ends < now:
                return f"{file} expired on {_day(certificate.ends)}: {how_to_renew(file)}"
            if certificate.begins > now:
                return f"{file} holds from {_day(certificate.begins)} on, this machine's clock says {_day(now)}"
        return f"is {file} signed by a CA that {self._names.server} trusts, for client authentication, and not revoked?"


def root(error: BaseException) -> BaseException:
    """Give the cause of an error; urllib3 wraps the cause, or has it as its argument."""
    while True:
        cause = error.__cause__ or next((one for one in error.args if isinstance(one, Exception)), None)
        if cause is None:
            return error
        error = cause


def is_refusal(error: BaseException) -> TypeGuard[ssl.SSLError]:
    """Tell a server's "no" to this client's certificate: such a server has done nothing."""
    return isinstance(error, ssl.SSLError) and str(error.reason).endswith(REFUSALS)


def trusting(cafile: Path | None) -> ssl.SSLContext:
    """Give a context that trusts the CAs of a file alone (or the system's). `UsageError`: the file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=cafile)
        if cafile is not None and CRL in cafile.read_text(errors="replace"):
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.set_alpn_protocols(["http/1.1"])
    except OSError as error:
        raise UsageError(f"the CA file {cafile} cannot be used: {_reason(error)}") from None
    return context


def whom_to_trust(cafile: Path | None) -> str:
    """Name whose certificates are trusted."""
    return f"the CA file {cafile}" if cafile else SYSTEM


def _load(settings: TlsFiles) -> ssl.SSLContext:
    """Give a context that trusts the configured CA alone (or the system's), and shows the configured certificate."""
    context = trusting(settings.cafile)
    if settings.certfile is None:
        return context
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile, no_passphrase)
    except OSError as error:
        files = f"{settings.certfile} and its key {settings.keyfile or settings.certfile}"
        raise UsageError(f"the client certificate {files} cannot be used: {_reason(error)}") from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it is not in PEM format, or the key does not belong to the certificate, or the key has a passphrase"
    return error.strerror or str(error)


def distrust(error: ssl.SSLCertVerificationError, server: tuple[str, int], trusted: str, setting: str) -> str:
    """Say why a server's certificate is not trusted, and what to do. A blocking call: it fetches the certificate.

    `trusted` is whom this machine trusts, `setting` where the server is named.
    """
    certificate, code, why = _seen(*server), error.verify_code, error.verify_message
    if code in {OTHER_NAME, OTHER_ADDRESS}:
        names, host = f"for {listed(list(certificate.names)) or 'no name'}, " if certificate else "", server[0]
        return f"its certificate is {names}not for {host}: name it so in {setting}, or give it one for {host}"
    if certificate and (dates := _dates(code, certificate)):
        return dates
    if code in UNKNOWN_ISSUER:
        return f"its certificate cannot be trusted ({why}): {trusted} must have the CA that signed it"
    says = {
        EXPIRED: f"a CA certificate of its chain has expired: renew it, in {trusted} too",
        REVOKED: f"its certificate was revoked, as the CRL in {trusted} says: give it a new one",
        NO_CRL: f"its certificate cannot be trusted: {trusted} has a CRL, but none of the CA that signed it",
        CRL_EXPIRED: f"whether its certificate was revoked is not known: renew the CRL in {trusted}, which has expired",
        CRL_NOT_YET_VALID: f"whether its certificate was revoked is not known: the CRL in {trusted} is not valid yet",
    }
    return says.get(code, f"its certificate cannot be trusted: {why}")


def _dates(code: int, certificate: Certificate) -> str:
    """Say what is wrong with a certificate's dates; empty: they are right, another certificate of its chain failed."""
    now = datetime.now(UTC)
    if code == EXPIRED and certificate.ends < now:
        return f"its certificate expired on {_day(certificate.ends)}, and the clock says {_day(now)}: renew it"
    if code == NOT_YET_VALID and certificate.begins > now:
        begins = _day(certificate.begins)
        return f"its certificate holds from {begins} on, and the clock says {_day(now)}: set the clock (`timedatectl`)"
    return ""


def _seen(host: str, port: int) -> Certificate | None:
    """Give a server's certificate, without trust in the server, and send the server nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        contextlib.suppress(OSError, ValueError),
        socket.create_connection((host, port), LOOK_LIMIT) as connection,
        context.wrap_socket(connection) as tls,
    ):
        return read_certificate(tls.getpeercert(binary_form=True) or b"")
    return None


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"

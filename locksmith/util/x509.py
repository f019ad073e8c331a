"""The dates and names of a certificate.

They are for messages only: OpenSSL decides what is trusted, and `ssl` tells nothing of an untrusted certificate.
Format: RFC 5280, section 4, in DER (X.690).
"""

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

SEQUENCE, OCTETS, OBJECT, UTC_TIME, GENERAL_TIME = 0x30, 0x04, 0x06, 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3
DNS_NAME, IP_ADDRESS = 0x82, 0x87
LONGEST_NAME = 253
ALTERNATIVE_NAMES = bytes((0x55, 0x1D, 0x11))
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`begins` and `ends` in UTC; `names` are its alternative names: host names and addresses."""

    begins: datetime
    ends: datetime
    names: tuple[str, ...]


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate; `ValueError`: it cannot be read."""
    try:
        [(_, certificate)] = _parts(der)
        body = [part for part in _parts(next(_parts(certificate))[1]) if part[0] != VERSION]
        validity = [_time(tag, content) for tag, content in _parts(body[3][1])]
        return Certificate(validity[0], validity[1], _names(body))
    except (IndexError, StopIteration, ValueError) as error:
        raise ValueError(f"no certificate: {error}") from None


def read_pem(text: str) -> Certificate:
    """Read the first certificate of a PEM file; `ValueError`: there is none."""
    start = text.find(BEGIN)
    end = text.find(END, start)
    if start < 0 or end < 0:
        raise ValueError("no certificate in PEM format")
    return read_certificate(ssl.PEM_cert_to_DER_cert(text[start : end + len(END)]))


def _names(body: list[tuple[int, bytes]]) -> tuple[str, ...]:
    for tag, content in body[6:]:
        if tag == EXTENSIONS:
            for _, extension in _parts(next(_parts(content))[1]):
                fields = list(_parts(extension))
                if fields[0] == (OBJECT, ALTERNATIVE_NAMES):
                    return tuple(_alternative_names(fields[-1][1]))
    return ()


def _alternative_names(octets: bytes) -> Iterator[str]:
    for tag, content in _parts(next(_parts(octets), (SEQUENCE, b""))[1]):
        if tag == DNS_NAME:
            yield "".join(char if char.isprintable() else "?" for char in content.decode("ascii"))[:LONGEST_NAME]
        elif tag == IP_ADDRESS:
            yield str(ipaddress.ip_address(content))


def _time(tag: int, content: bytes) -> datetime:
    """Read a time; in UTCTime, years from 50 on are of the last century (RFC 5280, 4.1.2.5.1)."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERAL_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the tag and content of each element of DER."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("it is cut off")
        yield tag, data[at : at + length]
        at += length

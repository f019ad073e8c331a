"""What a certificate says of itself, read from real ones; and from what is none."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.util.x509 import ALTERNATIVE_NAMES, OBJECT, read_certificate, read_pem
from tests.harness.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def near(when, days):
    return abs(when - datetime.now(UTC) - timedelta(days=days)) < timedelta(minutes=5)


def test_names_and_dates_are_read(authority):
    pair = authority.issue("x", "subjectAltName=DNS:a.example,IP:192.0.2.1,IP:2001:db8::1", begins=-3, ends=7)
    certificate = read_pem(pair.cert.read_text())
    assert certificate.names == ("a.example", "192.0.2.1", "2001:db8::1")
    assert near(certificate.begins, -3)
    assert near(certificate.ends, 7)


def test_dates_of_the_far_future_have_another_form(authority):
    pair = authority.issue("x", ends=40 * 365)
    assert near(read_pem(pair.cert.read_text()).ends, 40 * 365)


def test_an_authority_has_no_names(authority):
    assert read_pem(authority.cert.read_text()).names == ()


def test_a_name_does_not_steer_the_terminal(authority):
    pair = authority.issue("x", "subjectAltName=DNS:abcdef.example")
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text()).replace(b"abcdef", b"\x1b[31m\n")
    assert read_certificate(der).names == ("?[31m?.example",)


def test_an_extension_for_names_with_nothing_in_it_has_none(authority):
    """Whoever asks is in a thread, where any other error than a `ValueError` would be lost, and the answer with it."""
    pair = authority.issue("x", "subjectAltName=DNS:abcdef.example")
    der = bytearray(ssl.PEM_cert_to_DER_cert(pair.cert.read_text()))
    at = der.find(bytes((OBJECT, 3)) + ALTERNATIVE_NAMES)
    der[at - 1], der[at + 6] = 7, 0
    assert read_certificate(bytes(der)).names == ()


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\n", "no certificate"])
def test_what_is_no_pem_is_no_certificate(text):
    with pytest.raises(ValueError, match="certificate"):
        read_pem(text)


@pytest.fixture(scope="module")
def der(authority) -> bytes:
    pair = authority.issue("der")
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


@given(at=st.integers(0, 600), byte=st.integers(0, 255), cut=st.integers(0, 600))
def test_a_damaged_certificate_is_read_or_is_a_value_error(der, at, byte, cut):
    damaged = bytearray(der)
    damaged[at % len(der)] = byte
    for data in (bytes(damaged), der[:cut], bytes(damaged[:cut])):
        try:
            read_certificate(data)
        except ValueError:
            continue


@given(st.binary(max_size=200))
def test_rubbish_is_a_value_error(data):
    with pytest.raises(ValueError, match="no certificate"):
        read_certificate(data)

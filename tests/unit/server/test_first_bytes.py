"""Which connections of the lobby go inside."""

import pytest

from locksmith.server.first_bytes import is_whole_head, is_whole_hello


@pytest.mark.parametrize(
    ("seen", "whole"),
    [
        (b"P", False),
        (b"POST /v1/pre-reboot HTTP/1.1\r\n", False),
        (b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\n\r", False),
        (b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\n\r\n{}", True),
        (b"GET / HTTP/1.0\n\n", True),
        (b"GET / HTTP/1.0\n\r\n", True),
        (b"\x16\x03\x01", True),
        (b"\r\n", True),
        (b"\x00", True),
        (b"G" * 16_383, False),
        (b"G" * 16_384, True),
    ],
)
def test_a_head_is_whole_at_its_empty_line_or_if_it_can_be_none(seen, whole):
    assert is_whole_head(seen) is whole


@pytest.mark.parametrize(
    ("seen", "whole"),
    [
        (b"\x16", False),
        (b"\x16\x03\x01\x00", False),
        (b"\x16\x03\x01\x00\x02", False),
        (b"\x16\x03\x01\x00\x02a", False),
        (b"\x16\x03\x01\x00\x02ab", True),
        (b"\x16\x03\x01\x00\x02abc", True),
        (b"\x16\x03\x01\xff\xff", True),
        (b"\x16\x03\x01\x40\x00" + b"a" * 16_378, False),
        (b"\x16\x03\x01\x40\x00" + b"a" * 16_379, True),
        (b"GET / HTTP/1.1", True),
        (b"\x15", True),
    ],
)
def test_a_hello_is_whole_with_its_record_or_if_it_can_be_none(seen, whole):
    assert is_whole_hello(seen) is whole

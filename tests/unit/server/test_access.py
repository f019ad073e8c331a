"""Who may call for a group."""

from base64 import b64encode
from ipaddress import ip_network

import pytest

from locksmith.config.server_model import ServedGroup
from locksmith.server.access import (
    LONG,
    OWN_WRONG_AT_ONCE,
    WRONG_AT_ONCE,
    Caller,
    Guesses,
    refuse_place,
    same_secret,
    secret_in,
)
from locksmith.server.requests import Call

CALL = Call("web", "n1")
RIGHT = "correct horse 7"


def basic(text):
    return f"Basic {b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        (basic("anybody:correct horse 7"), RIGHT),
        (basic(":correct horse 7"), RIGHT),
        (basic("a:b:c"), "b:c"),
        (f"Bearer {RIGHT}", RIGHT),
        (f"  bearer   {RIGHT} ", RIGHT),
        ("BASIC " + basic("a:b")[6:], "b"),
        ("", ""),
        ("Bearer", ""),
        ("Basic", ""),
        ("Basic ???", ""),
        ("Basic /w==", ""),
        (basic("no colon"), ""),
        ("Digest x", ""),
        (RIGHT, ""),
    ],
)
def test_a_password_or_token_is_read_from_the_header(header, secret):
    assert secret_in(header) == secret


RANGES = ServedGroup(clients=tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8"))))
CERTIFIED = ServedGroup(certificates=True)


@pytest.mark.parametrize(
    ("group", "caller", "says"),
    [
        (RANGES, Caller("10.255.0.1"), ""),
        (RANGES, Caller("192.0.2.7"), ""),
        (RANGES, Caller("fd00::1"), ""),
        (RANGES, Caller("fd00::1%eth0"), ""),
        (RANGES, Caller("::ffff:10.0.0.1"), ""),
        (RANGES, Caller("192.0.2.8"), "192.0.2.8 is not among the clients of the group web"),
        (RANGES, Caller("::ffff:192.0.2.8"), "is not among the clients"),
        (RANGES, Caller("fe80::1"), "is not among the clients"),
        (RANGES, Caller("::1"), "is not among the clients"),
        (RANGES, Caller(""), "is not among the clients"),
        (RANGES, Caller("unix"), "is not among the clients"),
        (CERTIFIED, Caller("203.0.113.1", certificate=True), ""),
        (CERTIFIED, Caller("203.0.113.1"), "the group web needs a client certificate"),
        (None, Caller("10.0.0.1", certificate=True, secret=RIGHT), "this group is not served here"),
    ],
)
def test_an_address_outside_and_a_missing_certificate_are_refused(group, caller, says):
    answer = refuse_place(CALL, group, caller)
    if not says:
        assert answer is None
    else:
        assert answer is not None
        assert answer.refusal is not None
        assert (answer.status, answer.refusal.kind) == (403, "unauthorized")
        assert says in answer.refusal.sentence


def status(guesses, secret, now=0.0, *, client="n1", origin="10.0.0.1", group="web", right=RIGHT, older=()):
    answer = guesses.check(Call(group, client), Caller(origin, origin, secret), (*older, right), now)
    assert answer is None or right not in str(answer)
    return 200 if answer is None else answer.status


def test_the_right_secret_passes_and_each_other_is_unauthorized():
    guesses = Guesses()
    assert status(guesses, RIGHT) == 200
    for wrong in ("", "correct horse", f"{RIGHT} ", RIGHT.upper(), "\udcff"):
        assert status(guesses, wrong) == 401
    answer = guesses.check(CALL, Caller("10.0.0.1"), (RIGHT,), 0)
    assert answer is not None
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_while_a_password_is_replaced_the_old_and_the_new_one_pass():
    guesses = Guesses()
    assert [status(guesses, one, older=("of last year",)) for one in (RIGHT, "of last year", "of next year")] == [
        200,
        200,
        401,
    ]
    assert status(guesses, "of last year") == 401


def test_above_the_limit_a_short_password_is_compared_beside_no_long_one():
    guesses, long = Guesses(), "x" * LONG
    for number in range(100):
        status(guesses, f"guess {number}", client=f"n{number}", right=long, older=(RIGHT,))
    assert status(guesses, RIGHT, client="new", right=long, older=(RIGHT,)) == 429
    assert status(guesses, long, client="new", right=long, older=(RIGHT,)) == 200


def test_many_right_calls_are_no_guesses():
    guesses = Guesses()
    assert {status(guesses, RIGHT, client=f"n{number}") for number in range(1000)} == {200}


def test_above_the_limit_no_password_is_compared_and_a_right_one_is_not_found_out():
    guesses = Guesses()
    guessed = [status(guesses, f"guess {n}", client=f"n{n // 4}") for n in range(WRONG_AT_ONCE)]
    assert guessed == [401] * WRONG_AT_ONCE
    assert status(guesses, "another") == 429
    assert status(guesses, RIGHT) == 429
    assert status(guesses, RIGHT, origin="10.0.0.2") == 200
    assert status(guesses, RIGHT, group="db") == 200
    assert status(guesses, RIGHT, now=11) == 200


def test_a_client_that_was_right_before_is_not_locked_out_by_others_behind_its_proxy():
    guesses = Guesses()
    assert status(guesses, RIGHT, client="known") == 200
    for number in range(100):
        status(guesses, f"guess {number}", client=f"n{number}")
    assert status(guesses, RIGHT, client="new") == 429
    assert status(guesses, RIGHT, client="known") == 200


def test_a_client_with_a_wrong_password_locks_no_other_client_of_its_address_out():
    guesses = Guesses()
    statuses = [status(guesses, "of last year", now=number, client="wrong") for number in range(1000)]
    assert statuses[:OWN_WRONG_AT_ONCE] == [401] * OWN_WRONG_AT_ONCE
    assert 429 in statuses
    for number in range(100):
        assert status(guesses, RIGHT, now=1000, client=f"new{number}") == 200
    assert status(guesses, RIGHT, now=1000 + 5 * 60, client="wrong") == 200  # it was corrected


def test_who_is_refused_is_told_when_the_limit_that_refused_it_lets_one_in_again():
    guesses = Guesses()

    def told(client, now):
        status(guesses, "wrong", now, client=client)
        answer = guesses.check(Call("web", client), Caller("10.0.0.1", "10.0.0.1", "wrong"), (RIGHT,), now)
        return answer.headers["Retry-After"] if answer and answer.status == 429 else None

    own = next(filter(None, (told("n1", 0) for _ in range(OWN_WRONG_AT_ONCE))))
    assert own == "60"
    assert status(guesses, "wrong", 59, client="n1") == 429
    assert status(guesses, "wrong", 60, client="n1") == 401
    origins = next(filter(None, (told(f"m{number}", 60) for number in range(WRONG_AT_ONCE))))
    assert origins == "10"
    assert status(guesses, "wrong", 70, client="new") == 401


def test_a_right_password_too_long_to_be_guessed_is_let_in_whatever_others_send():
    guesses, long = Guesses(), "x" * LONG
    wrong = [status(guesses, f"guess {n}", client=f"n{n}", right=long) for n in range(100)]
    assert wrong == [401] * WRONG_AT_ONCE + [429] * 80
    assert status(guesses, long, client="new", right=long) == 200
    assert status(guesses, long, client="n1", right=long) == 200
    assert status(guesses, "wrong", client="newer", right=long) == 429
    assert len(RIGHT) < LONG


def test_guesses_in_the_name_of_a_known_client_have_a_limit_too():
    guesses = Guesses()
    assert status(guesses, RIGHT) == 200
    for number in range(WRONG_AT_ONCE):
        assert status(guesses, f"guess {number}") == 401
    assert status(guesses, RIGHT) == 429


@pytest.mark.slow
def test_what_is_remembered_of_origins_is_bounded():
    guesses = Guesses()
    for number in range(11_000):
        status(guesses, "wrong", origin=f"10.0.{number >> 8}.{number & 255}")
    assert [len(one._held) for one in (guesses._wrong, guesses._own)] == [10_000, 10_000]


def test_secrets_of_any_text_can_be_compared():
    assert same_secret("päss\udcff", "päss\udcff")
    assert not same_secret("päss", "pass")


def test_a_caller_is_shown_without_its_secret():
    assert RIGHT not in repr(Caller("10.0.0.1", secret=RIGHT))

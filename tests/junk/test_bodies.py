"""The broken bodies are such as a bus delivers: the library writes them, and reads the same again."""

from random import Random

from tests.harness.dbus import Message, MessageType, read, written
from tests.junk import bodies
from tests.junk.bus_readers import ANSWERS, CALLS, SIGNALS


def test_a_broken_body_can_be_delivered():
    rng, good = Random(1), [*ANSWERS.values(), *CALLS.values(), *(body for *_, body in SIGNALS.values())]
    for _ in range(3000):
        body = bodies.mutate(rng.choice(good), rng)
        assert repr(delivered(body).body) == repr(body.body), body


def test_half_of_them_keep_the_signature_and_the_others_are_many():
    rng, status = Random(1), ANSWERS["GetStatus"]
    signatures = [bodies.mutate(status, rng).signature for _ in range(2000)]
    assert 900 < signatures.count(status.signature) < 1500
    assert len(set(signatures)) > 100


def delivered(body):
    sent = Message(
        message_type=MessageType.METHOD_RETURN,
        reply_serial=1,
        serial=1,
        signature=body.signature,
        body=body.body,
    )
    return read(written(sent))

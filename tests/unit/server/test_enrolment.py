"""A machine enrols: once, with the secret of its group, and again after a lost answer."""

import asyncio
import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.lock.credentials import CredentialStore, read_kept
from locksmith.lock.history import History
from locksmith.lock.records import keys
from locksmith.lock.records.credential import ENROLMENT, MACHINE, Credential
from locksmith.lock.records.event import ENROLLED
from locksmith.server.answers import SUCCESS, Answer
from locksmith.server.credentials import Credentials
from locksmith.server.enrolment import Asked, Enrolment, parse
from locksmith.server.known import FRESH, WRONG_AT_ONCE
from locksmith.store.memory import Calm, MemoryServer, MemoryStore
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from tests.builders.callers import asked
from tests.harness.fault_script import StepwiseStore
from tests.sim.virtual_time import run

N1, N2 = "1" * 32, "2" * 32
START = datetime(2026, 5, 1, tzinfo=UTC)
LASTS = 3600.0


class Lossy(Calm):
    """Loses the answers of writes, before or after they are done, or nothing.

    `before_a_write`, `after_a_write`: what others do right before, or after, the next write.
    """

    def __init__(self):
        self.lose = ""
        self.before_a_write: Any = None
        self.after_a_write: Any = None
        self.away = False

    async def carry(self, call):
        if self.away:
            raise StoreUnavailableError("etcd does not answer")
        if call.write and self.before_a_write:
            others, self.before_a_write = self.before_a_write, None
            await others()
        if call.write and self.after_a_write:
            others, self.after_a_write = self.after_a_write, None
            done = await super().carry(call)
            await others()
            return done
        if not call.write or not self.lose:
            return await super().carry(call)
        how, self.lose = self.lose, ""
        if how == "after":
            await super().carry(call)
        raise OutcomeUnknownError("no answer came")


class Site:
    """Servers, an operator's tool, and what stands in their store."""

    def __init__(self):
        self.server, self.network = MemoryServer(), Lossy()
        self.enrolment, self.other = [
            Enrolment(MemoryStore(self.server, network), Random(1)) for network in (self.network, Calm())
        ]
        self.store = MemoryStore(self.server)
        self.tool = CredentialStore(self.store, Random(1))

    async def open(self, group="web", most=None, ttl=LASTS):
        until = START  # a clock that is off: the lease decides
        return await self.tool.open_enrolment(
            Credential(ENROLMENT, "", "", START, (group,), "otto", "desk", until=until, most=most), ttl
        )

    async def enrols(self, secret, machine=N1, group="web", token=None, enrolment=None):
        token = token or token_of(machine, group)
        asked = Asked(group, machine, "n1.example", secret, token.digest, "10.0.0.7")
        return await (enrolment or self.enrolment).enrol(asked, "10.0.0.7")

    async def machines(self):
        """The machines that are enrolled, by their ids, with the digests of their tokens."""
        entries = (await self.store.list(keys.machines_prefix())).entries
        found = [read_kept(entry).one for entry in entries]
        return {one.holder: one.digest for one in found if one}


def token_of(machine=N1, group="web"):
    """A token as a machine makes it."""
    return tokens.new_token(Kind.MACHINE, tokens.public_of_machine(group, machine))


def refused(answer, status, says):
    assert answer.status == status, answer
    assert says in answer.refusal.sentence
    return True


@pytest.mark.parametrize("lose", ["", "before", "after"])
def test_a_machine_is_enrolled_once_whichever_answer_is_lost(lose):
    async def story(_loop):
        site = Site()
        secret, token = await site.open(most=1), token_of()
        site.network.lose = lose
        assert await site.enrols(secret, token=token) == SUCCESS
        assert await site.machines() == {N1: token.digest}
        # The machine had no answer, and asks again: here, there, and after the secret has ended.
        assert await site.enrols(secret, token=token) == SUCCESS
        assert await site.enrols(secret, token=token, enrolment=site.other) == SUCCESS
        assert await site.tool.close_enrolments("web") == 1
        await asyncio.sleep(FRESH)
        assert await site.enrols(secret, token=token) == SUCCESS
        assert await site.machines() == {N1: token.digest}
        [event] = await History(site.store, "web").read(10)
        assert (event.act, event.holder, event.hostname) == (ENROLLED, N1, "n1.example")
        assert (event.who, event.host, event.detail) == ("otto", "desk", "from 10.0.0.7")

    run(story)


def test_a_thief_with_the_secret_does_not_become_a_machine_that_is_enrolled():
    async def story(_loop):
        site = Site()
        secret, token = await site.open(), token_of()
        assert await site.enrols(secret, token=token) == SUCCESS
        assert refused(await site.enrols(secret), 403, "this machine is enrolled already, with another token")
        [kept] = await site.tool.named(N1)
        await site.tool.revoke(kept, "otto")
        for again in (token, None):
            assert refused(await site.enrols(secret, token=again), 403, "of this machine was revoked at ")
        assert await site.machines() == {N1: token.digest}
        await site.tool.forget(kept, "otto")
        new = token_of()
        assert await site.enrols(secret, token=new) == SUCCESS
        assert await site.machines() == {N1: new.digest}

    run(story)


@pytest.mark.parametrize("record", ["", "{"])
def test_a_machine_that_was_revoked_does_not_come_back_until_an_operator_lets_it(record):
    async def story(_loop):
        site = Site()
        web, db = await site.open(), await site.open("db")
        assert await site.tool.revoke_certificates(N1, "otto", "desk")
        if record:  # which cannot be read
            entry = (await site.store.get(keys.certificates_key(N1))).entry
            assert entry
            await site.store.swap(entry.key, record.encode(), entry.version)
        for secret, group in ((web, "web"), (db, "db")):
            answer = await site.enrols(secret, group=group)
            assert refused(answer, 403, "this machine was revoked")
            assert refused(
                answer, 403, f"in all groups: an operator lets it enrol again with `locksmithctl enroll forget {N1}`"
            )
        assert await site.machines() == {}
        assert await site.enrols(web, N2) == SUCCESS
        revocation = await site.tool.revoked_certificates(N1)
        assert revocation
        await site.tool.let_enrol(revocation)
        assert await site.enrols(web) == SUCCESS
        assert await site.tool.revoked_certificates(N1)
        assert await site.tool.revoke_certificates(N1, "otto", "desk")
        assert refused(await site.enrols(db, group="db"), 403, "this machine was revoked at ")

    run(story)


def test_a_machine_that_is_revoked_while_it_enrols_is_refused():
    async def story(_loop):
        site = Site()

        async def revokes():
            await site.tool.revoke_certificates(N1, "otto", "desk")

        secret, site.network.before_a_write = await site.open(), revokes
        assert refused(await site.enrols(secret), 403, "this machine was revoked at ")
        assert site.network.before_a_write is None
        assert await site.machines() == {}

    run(story)


@pytest.mark.parametrize("dies", [False, True])
def test_without_transactions_a_machine_revoked_while_it_enrols_has_no_token(dies):
    async def story(_loop):
        site = Site()
        site.enrolment = Enrolment(StepwiseStore(site.server, site.network), Random(1))
        secret = await site.open()

        async def goes():
            site.network.away = dies  # of its second write, and of what it reads after the first

        async def revokes():
            await site.tool.revoke_certificates(N1, "otto", "desk")
            assert not [kept for kept in await site.tool.read_everything() if kept.one and kept.one.role == MACHINE]
            site.network.after_a_write = goes

        site.network.before_a_write = revokes
        token = token_of(N1, "web")
        answer = await site.enrols(secret, token=token)
        assert refused(answer, 503, "etcd does not answer") if dies else refused(answer, 403, "was revoked at ")
        assert list(await site.machines()) == ([N1] if dies else [])
        await asyncio.sleep(FRESH)
        said = await Credentials(site.store).identify(asked(authorization=f"Bearer {token.text}"))
        assert refused(said, 401, "this machine was revoked at " if dies else "no such token")

    run(story)


def test_of_two_that_enrol_one_machine_at_once_one_is_it():
    async def story(_loop):
        site = Site()
        secret = await site.open()
        answers = await asyncio.gather(
            *(site.enrols(secret, enrolment=one) for one in (site.enrolment, site.other) * 5)
        )
        assert sorted(answer.status for answer in answers) == [200] + [403] * 9
        assert len(await site.machines()) == 1

    run(story)


def test_a_secret_is_of_one_group_and_ends_by_its_lease():
    async def story(_loop):
        site = Site()
        secret = await site.open()
        assert refused(await site.enrols(secret, group="db"), 403, "one of another group")
        assert refused(await site.enrols(secret, group=""), 403, "one of another group")
        await asyncio.sleep(LASTS - 2 * FRESH)
        assert await site.enrols(secret) == SUCCESS
        await asyncio.sleep(2 * FRESH - 1)
        assert await site.enrols(secret, N2) == SUCCESS
        await asyncio.sleep(1.5)  # it has just ended, and this server has read it a moment ago
        assert refused(await site.enrols(secret, "3" * 32), 401, "it has expired, was closed, or is wrong")
        other = tokens.new_token(Kind.ENROLMENT, secret.public)
        assert refused(await site.enrols(other), 401, "is wrong")
        assert sorted(await site.machines()) == [N1, N2]

    run(story)


def test_the_default_group_has_its_own_machines():
    async def story(_loop):
        site = Site()
        secret = await site.open("")
        assert await site.enrols(secret, group="") == SUCCESS
        assert refused(await site.enrols(secret), 403, "one of another group")

    run(story)


def test_a_secret_enrols_as_many_machines_as_it_may_also_at_once():
    async def story(_loop):
        site = Site()
        secret = await site.open(most=5)
        ids = [f"{number:032x}" for number in range(20)]
        servers = (site.enrolment, site.other)
        answers = await asyncio.gather(
            *(site.enrols(secret, one, enrolment=servers[number % 2]) for number, one in enumerate(ids))
        )
        assert sorted(answer.status for answer in answers) == [200] * 5 + [403] * 15
        assert len(await site.machines()) == 5
        assert refused(await site.enrols(secret, N1), 403, "has enrolled 5 machines, which is all that it may")
        await site.tool.close_enrolments("web")
        assert (await site.store.list(keys.enrolled_key(""))).entries == ()

    run(story)


def test_a_secret_that_lost_its_lease_in_a_copy_of_etcd_enrols_none():
    async def story(_loop):
        site = Site()
        secret = await site.open()
        entry = (await site.store.get(keys.enrolments_prefix() + secret.public)).entry
        assert entry
        await site.store.swap(entry.key, entry.value, entry.version)
        assert refused(await site.enrols(secret), 401, "it has expired")

    run(story)


def test_an_etcd_that_is_away_enrols_none_and_says_so():
    async def story(_loop):
        site = Site()
        secret = await site.open()
        site.network.away = True
        assert refused(await site.enrols(secret), 503, "etcd does not answer")
        site.network.away = False
        assert await site.enrols(secret) == SUCCESS

    run(story)


def test_guesses_are_limited_and_lock_no_other_machine_of_their_origin_out():
    async def story(_loop):
        site = Site()
        secret = await site.open()
        for number in range(100):
            answer = await site.enrols(tokens.new_token(Kind.ENROLMENT))
            assert answer.status == (401 if number < WRONG_AT_ONCE else 429)
        assert await site.enrols(secret) == SUCCESS

    run(story)


def body(**changed):
    return {
        "machine_id": N1,
        "hostname": "n1",
        "secret": tokens.new_token(Kind.ENROLMENT).text,
        "token_sha256": "a" * 64,
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"machine_id": "n1"}, 400, "32 hexadecimal digits"),
        ({"machine_id": "1" * 31 + "\n"}, 400, "32 hexadecimal digits"),
        ({"machine_id": "A" * 32}, 400, "32 hexadecimal digits"),
        ({"machine_id": 5}, 400, "machine_id"),
        ({"hostname": ["n1"]}, 400, "hostname"),
        ({"secret": ""}, 401, "no enrolment secret"),
        ({"secret": tokens.new_token(Kind.MACHINE).text}, 401, "no enrolment secret"),
        ({"secret": None}, 400, "secret"),
        ({"token_sha256": "a" * 63}, 400, "64 hexadecimal digits"),
        ({"token_sha256": "é" * 64}, 400, "64 hexadecimal digits"),
    ],
)
def test_a_body_of_another_shape_is_refused_without_its_secrets(changed, status, says):
    sent = body(**changed)
    answer: Any = parse("web", json.dumps(sent).encode())
    assert refused(answer, status, says)
    assert not sent["secret"] or sent["secret"] not in answer.refusal.sentence


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 60_000, b'{"machine_id": 1, "machine_id": 1}'])
def test_what_is_no_object_is_refused(raw):
    answer: Any = parse("web", raw)
    assert answer.status == 400


def test_a_body_is_read_and_a_host_name_made_safe():
    asked = parse("prod/db", json.dumps(body(hostname="<b>n1\n\x1b[31m</b>" + "x" * 1000)).encode())
    assert not isinstance(asked, Answer)
    assert (asked.group, asked.machine) == ("prod/db", N1)
    assert asked.hostname.isprintable()
    assert len(asked.hostname) < 300
    assert asked.secret.text not in repr(asked)

"""An operator ends a credential: that one, and never the one that has taken its place meanwhile."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from locksmith.errors import OutcomeUnknownError
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records import keys
from locksmith.lock.records.credential import MACHINE, OPERATOR, VIEWER, Credential, encode
from locksmith.store.memory import Calm, MemoryServer, MemoryStore
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from tests.sim.virtual_time import run

N1 = "1" * 32
START = datetime(2026, 5, 1, tzinfo=UTC)


class LosesAnAnswer(Calm):
    """Loses the answer of the first call of this name, and calls `then` before anything else happens."""

    def __init__(self):
        self.name = ""
        self.then: Any = None

    async def carry(self, call):
        done = await super().carry(call)
        if call.name == self.name and self.then:
            then, self.then = self.then, None
            await then()
            raise OutcomeUnknownError("no answer came")
        return done


class Site:
    """A store, and the tools of two operators."""

    def __init__(self):
        server, self.network = MemoryServer(), LosesAnAnswer()
        self.store = MemoryStore(server)
        self.now = START
        self.tool, self.other = [
            CredentialStore(MemoryStore(server, network), Random(1), lambda: self.now)
            for network in (self.network, Calm())
        ]

    async def enrol(self):
        token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine("web", N1))
        new = Credential(MACHINE, N1, token.digest, self.now, ("web",), hostname="n1")
        await self.store.create(keys.machines_prefix() + token.public, encode(new))
        return token.digest

    async def counts(self, name=N1):
        """The digests of a name's credentials that are not revoked."""
        return [kept.one.digest for kept in await self.other.named(name) if kept.one and not kept.one.revoked]


def test_a_token_that_a_machine_got_while_an_answer_was_lost_stays():
    async def story(_loop):
        site, new = Site(), []

        async def enrols_again():
            new.append(await site.enrol())

        await site.enrol()
        [kept] = await site.tool.named(N1)
        site.network.name, site.network.then = "delete", enrols_again
        await site.tool.forget(kept, "otto")
        assert await site.counts() == new

    run(story)


def test_of_two_operators_who_end_one_credential_the_later_ends_no_new_one():
    async def story(_loop):
        site = Site()
        await site.enrol()
        [kept] = await site.tool.named(N1)
        for end in (site.other.forget, site.other.revoke):
            [stands] = await site.tool.named(N1)
            await site.tool.forget(stands, "otto")
            new = await site.enrol()
            await end(kept, "olga")
            assert await site.counts() == [new]

    run(story)


def test_the_token_of_a_person_who_was_enrolled_again_stays():
    async def story(_loop):
        site = Site()
        await site.tool.add_person(Credential(VIEWER, "amy", "", START))
        [kept] = await site.tool.named("amy")
        await site.tool.forget(kept, "otto")
        new = await site.tool.add_person(Credential(OPERATOR, "amy", "", START))
        await site.other.forget(kept, "olga")
        assert not await site.other.revoke(kept, "olga")
        assert await site.counts("amy") == [new.digest]

    run(story)


def test_certificates_that_were_revoked_again_stay_so():
    async def story(_loop):
        site = Site()
        await site.tool.revoke_certificates(N1, "otto", "desk")
        kept = await site.tool.revoked_certificates(N1)
        assert kept
        await site.tool.forget(kept, "otto")
        site.now += timedelta(seconds=1)
        await site.tool.revoke_certificates(N1, "olga", "desk")
        await site.other.forget(kept, "otto")
        assert await site.tool.revoked_certificates(N1)

    run(story)


def test_a_machine_that_was_revoked_again_may_not_enrol_by_an_earlier_word():
    async def story(_loop):
        site = Site()
        await site.tool.revoke_certificates(N1, "otto", "desk")
        earlier = await site.tool.revoked_certificates(N1)
        assert earlier
        await site.tool.let_enrol(earlier)
        site.now += timedelta(seconds=1)
        assert await site.tool.revoke_certificates(N1, "otto", "desk")
        await site.other.let_enrol(earlier)
        stands = await site.tool.revoked_certificates(N1)
        assert stands
        assert stands.bars

    run(story)


def test_who_revokes_is_told_so_also_if_an_answer_was_lost():
    async def story(_loop):
        site = Site()

        async def waits():
            site.now += timedelta(seconds=5)

        await site.enrol()
        [kept] = await site.tool.named(N1)
        for end in (lambda: site.tool.revoke(kept, "otto"), lambda: site.tool.revoke_certificates(N1, "otto", "desk")):
            site.network.name, site.network.then = "swap", waits
            assert await end()
            assert site.network.then is None
            assert not await end()

    run(story)


def test_a_record_that_cannot_be_read_is_removed():
    async def story(_loop):
        site = Site()
        await site.store.create(keys.people_prefix() + tokens.public_of_person("amy"), b"{")
        [kept] = await site.tool.named("amy")
        assert not await site.tool.revoke(kept, "otto")
        await site.tool.forget(kept, "otto")
        assert await site.tool.named("amy") == []

    run(story)

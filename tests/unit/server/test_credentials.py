"""Who is let in: tokens, sessions, certificates, and what is refused and why."""

import asyncio
import json
import logging
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import CorruptValueError, LockError, StoreUnavailableError
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records import keys
from locksmith.lock.records.credential import MACHINE, OPERATOR, VIEWER, Credential, decode, encode
from locksmith.server.connection import machines_in
from locksmith.server.credentials import NONE_SENT, Credentials, SignedIn
from locksmith.server.identity import Identity, Role
from locksmith.server.known import FRESH, LONGEST, READS_AT_ONCE, WRONG_AT_ONCE
from locksmith.server.session_cookie import SessionCookie
from locksmith.store.memory import Calm, MemoryServer, MemoryStore
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from tests.builders.callers import asked
from tests.sim.virtual_time import run

N1, N2 = "1" * 32, "2" * 32
START = datetime(2026, 5, 1, tzinfo=UTC)


class Counted(Calm):
    """Counts the calls that go to the server; with `away` none arrives."""

    def __init__(self):
        self.calls = []
        self.away = False

    async def carry(self, call):
        self.calls.append((call.name, call.key))
        if self.away:
            raise StoreUnavailableError("etcd does not answer")
        return await super().carry(call)


class Site:
    """A server, an operator's tool, and what stands in their store."""

    def __init__(self):
        self.server = MemoryServer()
        self.network = Counted()
        self.credentials = Credentials(MemoryStore(self.server, self.network))
        self.store = MemoryStore(self.server)
        self.tool = CredentialStore(self.store)

    async def person(self, role=OPERATOR, name="olga", groups=(), ttl=None):
        until = START + timedelta(seconds=ttl) if ttl else None
        return await self.tool.add_person(Credential(role, name, "", START, groups, until=until), ttl)

    async def machine(self, machine=N1, group="web"):
        token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine(group, machine))
        key = keys.machines_prefix() + token.public
        await self.store.create(key, encode(Credential(MACHINE, machine, token.digest, START, (group,))))
        return token

    async def kept(self):
        """All that the store has of credentials."""
        prefixes = (keys.machines_prefix(), keys.people_prefix(), keys.sessions_prefix(), keys.enrolments_prefix())
        entries = [entry for prefix in prefixes for entry in (await self.store.list(prefix)).entries]
        assert entries
        return b"".join(entry.value for entry in entries)

    async def asks(self, token=None, **fields):
        text = token if isinstance(token, str) else token.text if token else ""
        return await self.credentials.identify(
            asked(**{**({"authorization": f"Bearer {text}"} if text else {}), **fields})
        )


def refused(answer, status, says):
    """Whether a caller is refused so."""
    assert answer.status == status
    assert says in answer.refusal.sentence
    return True


def test_each_token_names_its_owner_and_role(caplog):
    async def story(_loop):
        site = Site()
        machine, viewer = await site.machine(), await site.person(VIEWER, "vera", ("web", "db"))
        operator = await site.person()
        assert await site.asks(machine) == Identity(Role.MACHINE, N1, frozenset({"web"}))
        assert await site.asks(viewer) == Identity(Role.VIEWER, "vera", frozenset({"web", "db"}))
        assert await site.asks(operator) == Identity(Role.OPERATOR, "olga")
        in_store = await site.kept()
        for token in (machine, viewer, operator):
            assert token.text.encode() not in in_store
            assert token.text[-43:].encode() not in in_store
            assert token.text[-43:] not in caplog.text

    with caplog.at_level(logging.DEBUG):
        run(story)


def test_what_is_no_right_token_is_refused():
    async def story(_loop):
        site = Site()
        token = await site.machine()
        enrolment = await site.tool.open_enrolment(Credential("enrolment", "", "", START, ("web",)), 60)
        other = tokens.new_token(Kind.MACHINE, token.public)
        as_operator = token.text.replace("lsm", "lso", 1)
        for text, says in (
            (other.text, "no such token is known"),
            (as_operator, "no such token is known"),
            (tokens.new_token(Kind.OPERATOR).text, "no such token is known"),
            (token.text[:-1], "no token of locksmith-server"),
            (token.text + "\x00", "no token of locksmith-server"),
            ("é" * 40, "no token of locksmith-server"),
            (enrolment.text, "this is an enrolment secret"),
            (tokens.new_token(Kind.SESSION).text, "the cookie of a session"),
        ):
            assert refused(await site.asks(text), 401, says)
        for header in ("", "Bearer", "Basic ???", "Digest x", token.text):
            assert refused(await site.asks(authorization=header), 401, "no token of locksmith-server")
        # A wrong token does not fall back on what else the caller shows.
        assert refused(await site.asks(other, machines=[N1]), 401, "no such token")
        assert refused(await site.asks(), 401, NONE_SENT)

    run(story)


def test_a_revoked_token_counts_for_five_seconds_at_most():
    async def story(loop):
        site = Site()
        token = await site.person()
        assert (await site.asks(token)).name == "olga"
        [kept] = await site.tool.named("olga")
        began = loop.time()
        assert await site.tool.revoke(kept, "otto")
        while isinstance(answer := await site.asks(token), Identity):  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.5)
        assert 0 < loop.time() - began <= FRESH
        assert refused(answer, 401, "this token was revoked at ")
        assert refused(answer, 401, " by otto")
        assert not await site.tool.revoke(kept, "otto")
        again = await site.person(VIEWER)
        assert (await site.asks(again)).role == Role.VIEWER
        assert refused(await site.asks(token), 401, "no such token")

    run(story)


def test_a_name_has_one_token_until_it_is_revoked_or_forgotten():
    async def story(_loop):
        site = Site()
        token = await site.person()
        with pytest.raises(LockError, match=r"'olga' is an operator already.*enroll forget olga"):
            await site.person(VIEWER)
        assert (await site.asks(token)).role == Role.OPERATOR
        [kept] = await site.tool.named("olga")
        await site.tool.forget(kept, "otto")
        assert await site.tool.named("olga") == []
        await asyncio.sleep(FRESH)
        assert refused(await site.asks(token), 401, "no such token")
        await site.tool.forget(kept, "otto")
        assert (await site.asks(await site.person(VIEWER))).role == Role.VIEWER

    run(story)


def test_a_new_token_counts_at_once_also_if_a_server_keeps_the_one_before():
    async def story(_loop):
        site = Site()
        first = await site.person()
        assert (await site.asks(first)).name == "olga"
        [kept] = await site.tool.named("olga")
        await site.tool.forget(kept, "otto")
        second = await site.person()
        assert (await site.asks(second)).name == "olga"
        assert refused(await site.asks(first), 401, "no such token")

    run(story)


def test_a_token_ends_by_its_lease_whatever_the_clocks_say():
    async def story(_loop):
        site = Site()
        token = await site.person(ttl=60)  # its record says May 2026
        assert (await site.asks(token)).name == "olga"
        await asyncio.sleep(59 - FRESH)
        assert (await site.asks(token)).name == "olga"
        await asyncio.sleep(2 + FRESH)
        assert refused(await site.asks(token), 401, "it has expired, was forgotten, or is wrong")

    run(story)


def test_in_a_copy_of_etcd_without_leases_what_was_to_end_counts_no_more():
    async def story(_loop):
        site = Site()
        token = await site.person(ttl=60)
        key = keys.people_prefix() + token.public
        entry = (await site.store.get(key)).entry
        assert entry
        await site.store.swap(key, entry.value, entry.version)
        assert refused(await site.asks(token), 401, "lost its end in a copy of etcd")

    run(story)


def test_ten_thousand_callers_cost_the_store_one_read_in_five_seconds():
    async def story(_loop):
        site = Site()
        found = [await site.machine(f"{number:032x}") for number in range(100)]
        for token in found:
            assert isinstance(await site.asks(token), Identity)
        site.network.calls.clear()
        for _ in range(12):
            for token in found:
                assert isinstance(await site.asks(token), Identity)
            await asyncio.sleep(1)
        assert site.network.calls == [("get", keys.credential_changes_key())] * 2

    run(story)


def test_right_tokens_that_come_at_once_from_one_address_are_read_once_each():
    async def story(_loop):
        site = Site()
        found = [await site.machine(f"{number:032x}") for number in range(100)]
        for reads in (102, 0):  # with the changes, and the list of the machines that were revoked
            site.network.calls.clear()
            assert all(isinstance(who, Identity) for who in await asyncio.gather(*map(site.asks, found)))
            assert len(site.network.calls) == reads

    run(story)


@pytest.mark.slow
def test_after_a_start_thousands_of_callers_are_found_in_one_list():
    async def story(_loop):
        site = Site()
        found = [await site.machine(f"{number:032x}") for number in range(1000)]
        answers = await asyncio.gather(*(site.asks(one, origin=f"10.0.{n % 200}.1") for n, one in enumerate(found)))
        assert all(isinstance(who, Identity) for who in answers)
        assert len(site.network.calls) <= READS_AT_ONCE + 10
        late = await site.machine("e" * 32)  # younger than the list
        assert isinstance(await site.asks(late), Identity)

    run(story)


@pytest.mark.slow
def test_thousands_of_callers_are_read_again_after_ten_minutes_in_a_few_lists():
    async def story(_loop):
        site = Site()
        found = [await site.machine(f"{number:032x}") for number in range(1000)]
        await asyncio.gather(*map(site.asks, found))
        await asyncio.sleep(LONGEST / 2)
        gone = (await site.store.get(keys.machines_prefix() + found[500].public)).entry
        assert gone
        await site.store.delete(gone.key, gone.version)
        await asyncio.sleep(LONGEST / 2)
        site.network.calls.clear()
        for number, token in enumerate(found):
            who = await site.asks(token)
            assert isinstance(who, Identity) if number != 500 else refused(who, 401, "no such token")
            await asyncio.sleep(LONGEST / len(found))
        reads = [key for name, key in site.network.calls if name == "get" and key != keys.credential_changes_key()]
        assert reads == [gone.key]
        assert len(site.network.calls) < LONGEST / FRESH + 50

    run(story)


def test_wrong_tokens_lock_no_other_caller_of_their_origin_out():
    async def story(_loop):
        site = Site()
        token, known = await site.machine(N1), await site.machine(N2)
        assert isinstance(await site.asks(known), Identity)
        for number in range(200):
            answer = await site.asks(tokens.new_token(Kind.MACHINE))
            assert answer.status == (401 if number < WRONG_AT_ONCE else 429)
        # Above the limit a token is looked for in a list, which is read once in a while.
        assert len(site.network.calls) < WRONG_AT_ONCE + 10
        assert refused(await site.asks(token.text[:-2] + "xx"), 429, "too many wrong tokens came from here")
        assert (await site.asks(token)).name == N1
        assert (await site.asks(known)).name == N2
        site.network.calls.clear()
        assert (await site.asks(token)).name == N1
        assert site.network.calls == []
        assert (await site.asks(tokens.new_token(Kind.MACHINE), origin="10.0.0.8")).status == 401

    run(story)


def test_an_etcd_that_is_away_lets_no_caller_in_and_all_get_one_answer():
    async def story(_loop):
        site = Site()
        token = await site.person()
        assert isinstance(await site.asks(token), Identity)
        await asyncio.sleep(FRESH)
        site.network.away = True
        site.network.calls.clear()
        answers = await asyncio.gather(*(site.asks(token) for _ in range(50)))
        assert all(refused(answer, 503, "etcd does not answer") for answer in answers)
        assert len(site.network.calls) == 1
        assert refused(await site.credentials.sign_in(asked(), token.text), 503, "etcd does not answer")
        site.network.away = False
        assert isinstance(await site.asks(token), Identity)

    run(story)


def test_a_record_that_cannot_be_read_lets_no_caller_in():
    async def story(_loop):
        site = Site()
        token = await site.person()
        key = keys.people_prefix() + token.public
        entry = (await site.store.get(key)).entry
        assert entry
        await site.store.swap(key, entry.value.replace(b'"operator"', b'"emperor"'), entry.version)
        assert refused(await site.asks(token), 401, "no such token")

    run(story)


def test_a_certificate_names_one_machine():
    async def story(_loop):
        site = Site()
        assert await site.asks(machines=[N1]) == Identity(Role.MACHINE, N1)
        assert refused(await site.asks(machines=[N1, N2]), 403, "names several machines")
        assert (await site.asks(await site.person(), machines=[N1])).name == "olga"

    run(story)


def test_revoked_certificates_count_for_five_seconds_and_again_once_forgotten():
    async def story(_loop):
        site = Site()
        assert await site.asks(machines=[N1]) == Identity(Role.MACHINE, N1)
        assert await site.tool.revoke_certificates(N1, "otto", "desk")
        assert not await site.tool.revoke_certificates(N1, "otto", "desk")
        await asyncio.sleep(FRESH)
        assert refused(await site.asks(machines=[N1]), 403, "were revoked at")
        assert await site.asks(machines=[N2]) == Identity(Role.MACHINE, N2)
        [kept] = await site.tool.read_everything()
        await site.tool.forget(kept, "otto")
        await asyncio.sleep(FRESH)
        assert await site.asks(machines=[N1]) == Identity(Role.MACHINE, N1)

    run(story)


def test_fleetlock_is_refused_for_any_revoked_machine_of_a_certificate():
    async def story(_loop):
        site = Site()
        refuse = site.credentials.refuse_revoked
        assert await refuse(asked(machines=[N1, N2])) is None
        assert await refuse(asked()) is None
        await site.tool.revoke_certificates(N2, "otto", "desk")
        await asyncio.sleep(FRESH)
        assert refused(await refuse(asked(machines=[N1, N2])), 403, "were revoked at")
        assert await refuse(asked(machines=[N1])) is None
        site.network.away = True
        await asyncio.sleep(FRESH)
        assert refused(await refuse(asked(machines=[N1])), 503, "etcd does not answer")

    run(story)


def test_ten_thousand_certificates_cost_the_store_one_read_in_five_seconds():
    async def story(_loop):
        site = Site()
        await site.asks(machines=[N1])
        site.network.calls.clear()
        for _ in range(12):
            await asyncio.gather(*[site.asks(machines=[f"{number:032x}"]) for number in range(100)])
            await asyncio.sleep(1)
        assert site.network.calls == [("get", keys.credential_changes_key())] * 2

    run(story)


def test_without_etcd_or_with_a_record_that_cannot_be_read_no_certificate_counts():
    async def story(_loop):
        site = Site()
        site.network.away = True
        assert refused(await site.asks(machines=[N1]), 503, "")
        site.network.away = False
        await site.store.create(keys.certificates_key(N1), b"{")
        assert refused(await site.asks(machines=[N1]), 403, "were revoked")

    run(story)


@pytest.mark.parametrize(
    ("certificate", "machines"),
    [
        ({}, set()),
        ({"subject": ((("commonName", N1),),)}, {N1}),
        ({"subject": ((("commonName", N1), ("organizationName", N2)),)}, {N1}),
        ({"subject": ((("commonName", "n1.example"),),), "subjectAltName": (("DNS", N1), ("DNS", "n1"))}, {N1}),
        ({"subject": ((("commonName", N1),),), "subjectAltName": (("DNS", N1),)}, {N1}),
        ({"subject": ((("commonName", N1),),), "subjectAltName": (("DNS", N2),)}, {N1, N2}),
        ({"subject": ((("commonName", N1.replace("1", "A")),),), "subjectAltName": (("email", N2),)}, set()),
        ({"subject": ((("commonName", f"{N1}\n"),),)}, set()),
    ],
)
def test_the_machine_ids_of_a_certificate(certificate, machines):
    assert machines_in(certificate) == machines


def cookie_of(signed):
    assert isinstance(signed, SignedIn), signed
    return signed.cookie.partition(";")[0]


def test_a_session_is_had_with_a_persons_token_and_ends_with_it():
    async def story(_loop):
        site = Site()
        token, machine = await site.person(groups=("web",)), await site.machine()
        assert refused(await site.credentials.sign_in(asked(), machine.text), 403, "this is the token of a machine")
        assert refused(await site.credentials.sign_in(asked(), "x"), 401, "no token")
        foreign = asked(sec_fetch_site="cross-site")
        assert refused(await site.credentials.sign_in(foreign, token.text), 403, "another site has sent this")
        signed = await site.credentials.sign_in(asked(), f" {token.text}\n")
        assert isinstance(signed, SignedIn)
        assert signed.identity == Identity(Role.OPERATOR, "olga", frozenset({"web"}))
        cookie = cookie_of(signed)
        assert await site.asks(cookie=cookie) == signed.identity
        in_store = await site.kept()
        assert cookie[-43:].encode() not in in_store
        [kept] = await site.tool.named("olga")
        await site.tool.revoke(kept, "otto")
        await asyncio.sleep(FRESH)
        assert refused(await site.asks(cookie=cookie), 401, "was revoked")
        await site.person(VIEWER)
        assert refused(await site.asks(cookie=cookie), 401, "the token of this session does not exist any more")

    run(story)


def test_a_session_that_another_server_began_counts_here_at_once():
    async def story(_loop):
        site = Site()
        other = Credentials(site.store)
        assert isinstance(await site.asks(await site.person()), Identity)
        [kept] = await site.tool.named("olga")
        await site.tool.forget(kept, "otto")
        new = await site.person()
        cookie = cookie_of(await other.sign_in(asked(), new.text))
        assert isinstance(await site.asks(cookie=cookie), Identity)

    run(story)


def test_a_record_that_was_deleted_without_the_tool_counts_for_ten_minutes_at_most():
    async def story(_loop):
        site = Site()
        token = await site.person()
        assert isinstance(await site.asks(token), Identity)
        entry = (await site.store.get(keys.people_prefix() + token.public)).entry
        assert entry
        await site.store.delete(entry.key, entry.version)
        await asyncio.sleep(LONGEST)
        assert refused(await site.asks(token), 401, "no such token")

    run(story)


def test_a_session_ends_by_its_sign_out_and_after_eight_hours():
    async def story(_loop):
        site = Site()
        token = await site.person()
        cookie, other = [cookie_of(await site.credentials.sign_in(asked(), token.text)) for _ in range(2)]
        assert "Max-Age=0" in await site.credentials.sign_out(asked(cookie=cookie))
        assert refused(await site.asks(cookie=cookie), 401, "this session is over")
        assert isinstance(await site.asks(cookie=other), Identity)
        await asyncio.sleep(8 * 3600 + FRESH)
        assert refused(await site.asks(cookie=other), 401, "this session is over")
        assert (await site.store.list(keys.sessions_prefix())).entries == ()
        assert await site.credentials.sign_out(asked())
        assert refused(await site.asks(cookie="locksmith=x"), 401, NONE_SENT)

    run(story)


def test_a_token_fills_the_store_with_no_endless_sessions():
    async def story(_loop):
        site = Site()
        token = await site.person()
        signed = [await site.credentials.sign_in(asked(), token.text) for _ in range(30)]
        assert [isinstance(one, SignedIn) for one in signed] == [True] * 20 + [False] * 10
        assert refused(signed[-1], 429, "sign in later")
        await asyncio.sleep(31)
        assert isinstance(await site.credentials.sign_in(asked(), token.text), SignedIn)

    run(story)


def test_the_cookie_is_for_this_host_alone_and_no_script_reads_it():
    async def story(_loop):
        site = Site()
        token = await site.person()
        plain = await site.credentials.sign_in(asked(), token.text)
        secure = await site.credentials.sign_in(asked(scheme="https"), token.text)
        assert isinstance(plain, SignedIn)
        assert isinstance(secure, SignedIn)
        assert plain.cookie.startswith("locksmith=lss_")
        assert plain.cookie.endswith("; Max-Age=28800; Path=/; HttpOnly; SameSite=Strict")
        assert secure.cookie.startswith("__Host-locksmith=lss_")
        assert secure.cookie.endswith("; HttpOnly; SameSite=Strict; Secure")
        over_tls = cookie_of(secure)
        assert isinstance(await site.asks(scheme="https", cookie=over_tls), Identity)
        assert refused(await site.asks(scheme="https", cookie=over_tls.removeprefix("__Host-")), 401, NONE_SENT)

    run(story)


def test_below_a_path_the_cookie_goes_to_that_path_alone_and_tls_may_end_before():
    async def story(_loop):
        site = Site()
        token = await site.person()
        people = Credentials(site.store, SessionCookie("/locksmith", by_tls=True))
        signed = await people.sign_in(asked(), token.text)
        assert isinstance(signed, SignedIn)
        assert signed.cookie.startswith("__Secure-locksmith=lss_")
        assert signed.cookie.endswith("; Max-Age=28800; Path=/locksmith; HttpOnly; SameSite=Strict; Secure")
        assert isinstance(await people.identify(asked(cookie=cookie_of(signed))), Identity)
        assert await people.sign_out(asked(cookie=cookie_of(signed))) == (
            "__Secure-locksmith=; Max-Age=0; Path=/locksmith; HttpOnly; SameSite=Strict; Secure"
        )

    run(story)


def test_a_form_counts_only_with_the_word_of_its_session():
    async def story(_loop):
        site = Site()
        token = await site.person()
        mine, other = [cookie_of(await site.credentials.sign_in(asked(), token.text)) for _ in range(2)]
        word = site.credentials.csrf_token(asked(cookie=mine))
        assert word != site.credentials.csrf_token(asked(cookie=other))
        assert word == site.credentials.csrf_token(asked(cookie=mine))
        problem = site.credentials.csrf_problem
        basic = f"Basic {b64encode(f'x:{token.text}'.encode()).decode()}"  # which a browser sends again by itself
        assert problem(asked(cookie=mine), word) is None
        assert problem(asked(cookie=mine, sec_fetch_site="same-origin"), word) is None
        for request, given in (
            (asked(cookie=mine), ""),
            (asked(cookie=mine), "\ud800"),
            (asked(cookie=other), word),
            (asked(), word),
            (asked(), ""),
            (asked(authorization=basic), ""),
            (asked(authorization=basic, sec_fetch_site="cross-site"), word),
            (asked(cookie=mine, sec_fetch_site="cross-site"), word),
            (asked(cookie=mine, sec_fetch_site="same-site"), word),
        ):
            assert refused(problem(request, given), 403, "load the page again")
        assert problem(asked(authorization=f"Bearer {token.text}"), "") is None
        assert site.credentials.csrf_token(asked()) == ""

    run(story)


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": b"[]"},
        {"groups": b'["a","b"]'},
        {"groups": b"[1]"},
        {"role": b'"root"'},
        {"digest": b"1"},
        {"since": b'"now"'},
        {"until": b"5"},
    ],
)
def test_a_record_of_another_shape_is_refused(fields):
    raw = encode(Credential(MACHINE, N1, "d", START, ("web",)))
    assert decode(raw, "k") == Credential(MACHINE, N1, "d", START, ("web",))
    known = json.loads(raw)
    changed = {**known, **{name: json.loads(value) for name, value in fields.items()}}
    with pytest.raises(CorruptValueError, match="not a credential"):
        decode(json.dumps(changed).encode(), "k")

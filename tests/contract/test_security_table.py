"""Each row of docs/security.md is attempted: a real etcd with users, a real server with TLS, curl, the tool."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from locksmith.fleet.reader import read_group
from locksmith.host.machine_token import MachineToken
from locksmith.lock.admin import LockAdmin
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.guarded import Guarded
from locksmith.lock.records import keys
from locksmith.lock.records.credential import OPERATOR, Credential
from locksmith.server.answers import Answer
from locksmith.server.permissions import Action, may
from tests.builders.callers import asked
from tests.builders.claims import claim
from tests.contract.security_site import NOW, TRUSTED, World, taking, world_in
from tests.harness.certificates import Authority
from tests.harness.etcd import USER, wait_until

TABLE = Path(__file__).parents[2] / "docs/security.md"
_ROW = re.compile(r"\| `([a-z-]+)` \| .* \| (yes|no) \| .*\|")
ROWS = {row[1]: row[2] == "yes" for line in TABLE.read_text().splitlines() if (row := _ROW.fullmatch(line))}

NOBODY = 65534
LIMIT = 20.0
"""Seconds for what ends by itself."""
ONE, OTHER = "1" * 32, "f" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("world")) as found:
        yield found


def certificate_foreign(world):
    foreign = world.certificate(OTHER, authority=Authority(world.folder / "foreign", "foreign"))
    return world.who(certificate=foreign) is not None


def certificate_revoked(world):
    stolen = f"{8:032x}"
    shown = world.certificate(stolen)
    assert world.acts(certificate=shown)
    assert world.tool("server", "enroll", "revoke", stolen) == 0
    wait_until(lambda: not world.acts(certificate=shown), "the certificate is refused", LIMIT)
    assert world.acts(certificate=world.certificate(ONE))
    return world.acts(certificate=world.certificate(stolen))


def fleetlock_certificate_revoked(world):
    stolen = f"{21:032x}"
    shown = world.certificate(stolen)
    assert world.fleetlock_without_secret("vpn", certificate=shown)
    assert world.tool("server", "enroll", "revoke", stolen) == 0
    wait_until(lambda: not world.can_release("vpn", shown), "the certificate is refused", LIMIT)
    assert world.fleetlock_without_secret("vpn", certificate=world.certificate(ONE))
    return world.fleetlock_without_secret("vpn", certificate=world.certificate(stolen))


def enrolment_revoked(world):
    stolen = f"{9:032x}"
    secrets = [(world.secret, "web"), (world.open("db"), "db")]
    assert world.tool("server", "enroll", "revoke", stolen) == 0
    came_back = [world.enrol(secret.text, stolen, group) == 200 for secret, group in secrets]
    assert world.tool("server", "enroll", "forget", stolen) == 0
    assert world.enrol(world.secret.text, stolen) == 200
    return any(came_back)


def machine_sign_in(world):
    async def story(store):
        credentials, _ = await world.signed_in(store)
        return not isinstance(await credentials.sign_in(asked(), world.tokens["machine"].text), Answer)

    return world.play(story)


def operator_enrol(world):
    token = world.tokens["operator"].text
    done = [
        world.curl(path, token=token, body={"name": "eve"})[0] for path in ("/enroll", "/credentials", "/api/v1/enroll")
    ]
    done.append(world.enrol(token, OTHER))
    return any(200 <= status < 300 for status in done)


def session_order(world, *, foreign=False):
    async def story(store):
        credentials, cookie = await world.signed_in(store)
        word = "" if foreign else credentials.csrf_token(asked(cookie=cookie))
        request = asked(cookie=cookie)
        who = await credentials.identify(request)
        assert not isinstance(who, Answer)
        return may(who, Action.ORDER, "web") and credentials.csrf_problem(request, word) is None

    return world.play(story)


def session_over(world):
    async def story(store):
        credentials, cookie = await world.signed_in(store)
        await credentials.sign_out(asked(cookie=cookie))
        return not isinstance(await credentials.identify(asked(cookie=cookie)), Answer)

    return world.play(story)


def enrolment_replay(world):
    machine = f"{3:032x}"
    token = world.enrolled(machine)
    assert world.enrol(world.secret.text, machine, digest=token.digest) == 200  # the same request, which says `{}`
    return world.who(f"{token.text[:-43]}{token.digest[:43]}") is not None


def enrolment_ended(world):
    secret, machines = world.open(ttl=1), iter(range(16, 10_000))
    wait_until(lambda: world.enrol(secret.text, f"{next(machines):032x}") == 401, "an enrolment secret ends", LIMIT)
    return world.enrol(secret.text, OTHER) == 200


def fleetlock_own(world):
    return [world.fleetlock(call, "c1") for call in ("pre-reboot", "steady-state")] == [200, 200]


def fleetlock_other(world):
    assert world.fleetlock("pre-reboot", "c1") == 200
    world.fleetlock("steady-state", "c1")  # by another client, which says that it is c1
    freed = world.fleetlock("pre-reboot", "c2") == 200
    world.fleetlock("steady-state", "c2")
    return freed


def fleetlock_daemon(world):
    world.holds(OTHER)
    world.fleetlock("steady-state", OTHER)
    holders = world.play(lambda store: LockAdmin(Guarded(store, "web")).read()).semaphore.holders
    world.play(lambda store: LockAdmin(Guarded(store, "web")).unlock(OTHER))
    return OTHER not in holders


def metrics_address_call(world):
    """From the address that may scrape: what the other callers of this page ask for."""
    paths = ("/whoami", "/api/v1/groups", "/machines/v1/web/hello")
    statuses = [world.curl(path, "--interface", TRUSTED, body=None if i < 2 else {})[0] for i, path in enumerate(paths)]
    return any(status not in {401, 403} for status in statuses)


def revoked(world):
    token = world.person("rita")
    assert world.who(token.text) is not None

    async def story(store):
        [kept] = await CredentialStore(store).named("rita")
        assert await CredentialStore(store).revoke(kept, "otto")

    world.play(story)
    wait_until(lambda: world.who(token.text) is None, "the revoked token is refused", LIMIT)
    return world.who(token.text) is not None


def ended(world):
    token = world.person("ends", ttl=1)
    key = keys.people_prefix() + token.public
    wait_until(lambda: world.play(lambda store: store.get(key)).entry is None, "etcd has ended the token", LIMIT)
    return world.who(token.text) is not None


def digest(world):
    token = world.tokens["machine"]
    guesses = (token.digest, f"{token.text[:-43]}{token.digest[:43]}", f"lso_{token.public}_{token.digest[-43:]}")
    return any(world.who(guess) for guess in guesses)


def etcd_own(world):
    async def story(_store):
        async with taking(world.settings("web"), "web") as lock:
            await lock.take(claim(OTHER))
            return await lock.release(claim(OTHER)) is not None

    return world.play(story, "web")


def etcd_credentials_write(world):
    new = Credential(OPERATOR, "eve", "", NOW)
    return not world.refuses(lambda store: CredentialStore(store).add_person(new), USER)


def token_file():
    """A machine's token, as `enroll machine` writes it, in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="token-"))
    folder.chmod(0o755)
    kept = MachineToken(folder / "server-token", "web", OTHER)
    kept.prepare()
    kept.settle()
    return kept.path


def root_token(world):
    kept = MachineToken(world.folder / "own-token", "web", f"{7:032x}")
    assert world.enrol(world.secret.text, f"{7:032x}", digest=kept.prepare().digest) == 200
    kept.settle()
    return world.who(kept.path.read_text().strip()) is not None


def user_token(_world):
    path = token_file()
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        if os.geteuid() != 0:
            return False
        (path.parent / "open").write_text("x")
        read = [
            subprocess.run(
                ["cat", str(file)], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
            )
            for file in (path.parent / "open", path)
        ]
        assert read[0].stdout == b"x"
        return bool(read[1].stdout)
    finally:
        shutil.rmtree(path.parent)


ATTEMPTS = {
    "machine-own": lambda world: world.acts(world.tokens["machine"].text),
    "machine-other": lambda world: world.acts(world.tokens["machine"].text, holder=OTHER),
    "machine-other-group": lambda world: world.acts(world.tokens["machine"].text, group="db"),
    "machine-read": lambda world: world.lets("machine", Action.READ),
    "machine-order": lambda world: world.lets("machine", Action.ORDER),
    "machine-sign-in": machine_sign_in,
    "machine-enrol": lambda world: world.enrol(world.tokens["machine"].text, OTHER) == 200,
    "certificate-own": lambda world: world.acts(certificate=world.certificate("n1.example", ONE)),
    "certificate-other": lambda world: world.acts(certificate=world.certificate(ONE), holder=OTHER),
    "certificate-two": lambda world: world.acts(certificate=world.certificate(ONE, OTHER)),
    "certificate-unnamed": lambda world: world.acts(certificate=world.certificate("n1.example")),
    "certificate-revoked": certificate_revoked,
    "certificate-foreign": certificate_foreign,
    "viewer-read": lambda world: world.lets("viewer", Action.READ),
    "viewer-order": lambda world: world.lets("viewer", Action.ORDER),
    "viewer-act": lambda world: world.acts(world.tokens["viewer"].text),
    "operator-read": lambda world: world.lets("operator", Action.READ),
    "operator-order": lambda world: world.lets("operator", Action.ORDER) and world.lets("of-web", Action.ORDER, "web"),
    "operator-other-group": lambda world: world.lets("of-web", Action.ORDER, "db"),
    "operator-act": lambda world: world.acts(world.tokens["operator"].text),
    "operator-enrol": operator_enrol,
    "session-order": session_order,
    "session-foreign": lambda world: session_order(world, foreign=True),
    "session-over": session_over,
    "enrolment-new": lambda world: world.enrol(world.secret.text, f"{2:032x}") == 200,
    "enrolment-taken": lambda world: world.enrol(world.secret.text, world.machine) == 200,
    "enrolment-revoked": enrolment_revoked,
    "enrolment-replay": enrolment_replay,
    "enrolment-other-group": lambda world: world.enrol(world.secret.text, OTHER, "db") == 200,
    "enrolment-call": lambda world: world.acts(world.secret.text) or world.who(world.secret.text) is not None,
    "enrolment-ended": enrolment_ended,
    "fleetlock-own": fleetlock_own,
    "fleetlock-other": fleetlock_other,
    "fleetlock-daemon": fleetlock_daemon,
    "fleetlock-other-group": lambda world: world.fleetlock("pre-reboot", "c1", "db") == 200,
    "fleetlock-order": lambda world: world.who(world.password) is not None,
    "fleetlock-address": lambda world: world.fleetlock_without_secret("lan", TRUSTED),
    "fleetlock-no-address": lambda world: world.fleetlock_without_secret("lan"),
    "fleetlock-certificate": lambda world: world.fleetlock_without_secret("vpn", certificate=world.certificate("c1")),
    "fleetlock-no-certificate": lambda world: world.fleetlock_without_secret("vpn"),
    "fleetlock-certificate-revoked": fleetlock_certificate_revoked,
    "metrics-address": lambda world: world.scrapes(TRUSTED),
    "metrics-no-address": lambda world: world.scrapes(),
    "metrics-address-header": lambda world: world.scrapes(
        "127.0.0.1", "", "-H", f"X-Forwarded-For: {TRUSTED}", "-H", f"Forwarded: for={TRUSTED}"
    ),
    "metrics-address-call": metrics_address_call,
    "metrics-viewer": lambda world: world.scrapes(token=world.tokens["viewer"].text),
    "metrics-machine": lambda world: world.scrapes(token=world.tokens["machine"].text),
    "revoked": revoked,
    "ended": ended,
    "no-secret": lambda world: world.acts() or world.who() is not None,
    "digest": digest,
    "etcd-own": etcd_own,
    "etcd-other": lambda world: world.frees(OTHER, "web"),
    "etcd-freeze": lambda world: world.orders("web"),
    "etcd-other-group": lambda world: world.frees(OTHER, "web", "db"),
    "etcd-default": lambda world: world.frees(OTHER, USER, "db"),
    "etcd-credentials-read": lambda world: not world.refuses(lambda store: store.list(keys.people_prefix()), USER),
    "etcd-credentials-write": etcd_credentials_write,
    "etcd-viewer": lambda world: not world.refuses(lambda store: read_group(store, "web"), "reader"),
    "etcd-viewer-order": lambda world: world.orders("reader"),
    "etcd-operator": lambda world: world.tool("server", "enroll", "operator", "owen") == 0,
    "root-token": root_token,
    "user-token": user_token,
}
"""For each row of the tables: whether the caller can do it."""


def test_each_row_has_an_attempt_and_each_attempt_a_row():
    assert list(ATTEMPTS) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row(world, row):
    assert ATTEMPTS[row](world) == ROWS[row]


def test_no_caller_of_this_page_has_left_a_secret_in_the_log(world):
    for secret in (world.password, "lse_", "lsm_", "lso_", "lsv_", "lss_"):
        assert secret not in world.server.said

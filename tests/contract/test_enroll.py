"""`locksmithctl enroll` with a real etcd, a real locksmith-server, and a network that loses answers."""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from locksmith.host import enrolment
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records import keys
from locksmith.lock.records.credential import OPERATOR, Credential
from locksmith.server.credentials import Credentials
from locksmith.server.enrolment import Asked, Enrolment
from locksmith.server.identity import Identity
from locksmith.store.connect import open_store
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from tests.builders.callers import asked
from tests.contract.security_site import NOW
from tests.harness.ctl import Ctl, flags_for
from tests.harness.etcd import Etcd, wait_until
from tests.harness.fleetlock_server import FleetLockServer
from tests.harness.ports import free_ports

NUMBERS = itertools.count()
REVOKED_WITHIN = 60.0
"""Seconds: 5, and what a busy machine takes."""


@pytest.fixture(scope="module")
def server(wheel_etcd: Etcd) -> Iterator[FleetLockServer]:
    with FleetLockServer(wheel_etcd) as found:
        yield found


class Machine:
    """A machine of a group of its own, its files, and the tool on it; an operator uses the same."""

    def __init__(self, root, ctl, server):
        self.root, self.ctl, self.server = root, ctl, server
        self.group = f"enroll-{time.monotonic_ns()}-{next(NUMBERS)}"
        self.id = uuid.uuid4().hex
        self.secret_file = root / "secret"
        self.token_file = root / "etc/locksmith/server-token"
        self.pending = root / "etc/locksmith/server-token.pending"
        (root / "etc/locksmith").mkdir(parents=True)
        (root / "etc/machine-id").write_text(f"{self.id}\n")
        (root / "etc/hostname").write_text("n1.example\n")
        ctl.flags = (*ctl.flags[:-1], f"-group={self.group}")

    def open(self, *arguments):
        """Open the enrolment of the group; the secret gets to the machine."""
        ended = self.ctl("enroll", "open", self.group, *arguments)
        assert ended.status == 0, ended
        self.secret_file.write_text(ended.out)
        self.secret_file.chmod(0o600)
        return ended.out.strip()

    def enrols(self, *arguments, url=""):
        """Run `enroll machine`."""
        where = ("--server", url or self.server.url, "--secret-file", str(self.secret_file))
        return self.ctl("enroll", "machine", *where, *arguments)

    @property
    def token(self):
        return self.token_file.read_text().strip()

    def who(self, token):
        """What the server says of a token, once etcd has answered it: on a busy machine that may take a while."""
        said: list[Any] = []

        def is_answered():
            said[:] = self.server.post("/whoami", b"", {"Authorization": f"Bearer {token}"}, "GET")
            return said[0] != 503

        wait_until(is_answered, "etcd answers the server", REVOKED_WITHIN)
        return tuple(said)

    def listed(self):
        """The machines of the group that are enrolled."""
        return [one for one in self.everything() if one["role"] == "machine" and one["groups"] == [self.group]]

    def everything(self):
        """All credentials, of all tests."""
        return json.loads(self.ctl("enroll", "list", "--json").out)["credentials"]


@pytest.fixture
def machine(monkeypatch, capfd, wheel_etcd, tmp_path, server):
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "alice")
    return Machine(tmp_path, Ctl(monkeypatch, capfd, *flags_for(wheel_etcd)), server)


def with_store(etcd, story):
    """Give what a story gives with a store."""

    async def whole():
        store = open_store(etcd.settings())
        try:
            return await story(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def everything_in(etcd: Etcd) -> str:
    async def read(store):
        found = [
            await store.list(prefix()) for prefix in (keys.machines_prefix, keys.people_prefix, keys.enrolments_prefix)
        ]
        return "".join(str(entry.value) for listing in found for entry in listing.entries)

    return str(with_store(etcd, read))


def test_a_machine_enrols_is_revoked_is_forgotten_and_enrols_again(machine, wheel_etcd):
    secret = machine.open("--most", "5")
    ended = machine.enrols()
    assert (ended.status, ended.out.startswith(f"this machine is enrolled in group {machine.group} at ")) == (0, True)
    first = machine.token
    assert machine.token_file.stat().st_mode & 0o777 == 0o600
    assert not machine.pending.exists()
    assert machine.who(first) == (200, {"role": "machine", "name": machine.id, "groups": [machine.group]})
    [listed] = machine.listed()
    assert (listed["hostname"], listed["who"], listed["counts"]) == ("n1.example", "alice", True)
    assert "nothing was done" in machine.enrols().out
    assert machine.id not in machine.ctl("groups").out
    said = machine.ctl.fails(
        "enroll", "machine", "--server", machine.server.url, "--secret-file", str(machine.secret_file), "--again"
    )
    assert "enrolled already, with another token: an operator lets it enrol again with `locksmithctl" in said
    assert machine.ctl("enroll", "revoke", machine.id).out.endswith("is revoked: servers refuse it within 5 s\n")
    wait_until(lambda: machine.who(first)[0] == 401, "the revoked token is refused", REVOKED_WITHIN)
    assert "this token was revoked at" in machine.who(first)[1]["value"]
    assert "by alice" in machine.who(first)[1]["value"]
    assert "was revoked before" in machine.ctl("enroll", "revoke", machine.id).out
    assert "the credential of this machine was revoked" in machine.enrols("--again").err
    assert machine.ctl("enroll", "forget", "n1.example", "--in", machine.group).status == 0
    assert machine.enrols("--again").status == 0
    assert machine.who(machine.token)[0] == 200
    assert machine.who(first)[0] == 401
    events = json.loads(machine.ctl("history", "--json").out)["events"]
    assert [event["act"] for event in events] == ["enrolled", "revoked", "reinstated", "enrolled"]
    assert events[2]["detail"] == "it may enrol again"
    assert {(event["id"], event["hostname"], event["who"]) for event in events} == {(machine.id, "n1.example", "alice")}
    assert events[0]["detail"] == "from 127.0.0.1"
    said = machine.ctl("history").out
    assert re.search(r"enrolled +n1\.example +alice@.*: opened the enrolment; from 127\.0\.0\.1", said)
    for text in (machine.server.said, everything_in(wheel_etcd), said):
        for token in (secret, first, machine.token):
            assert token not in text
            assert token[-43:] not in text


def test_a_machine_id_means_no_other_machine_that_calls_itself_so(machine):
    stolen = uuid.uuid4().hex
    (machine.root / "etc/hostname").write_text(f"{stolen}\n")
    machine.open()
    assert machine.enrols().status == 0
    assert [(one["hostname"], one["holder"]) for one in machine.listed()] == [(stolen, machine.id)]
    revoked = machine.ctl("enroll", "revoke", stolen)
    assert revoked.out == f"any client certificate of the machine {stolen} is revoked: servers refuse it within 5 s\n"
    assert revoked.err.endswith("no token of this id is known\n")
    assert "was revoked before" in machine.ctl("enroll", "revoke", stolen).out
    assert [one["counts"] for one in machine.listed()] == [True]
    forgotten = machine.ctl("enroll", "forget", stolen)
    assert forgotten.out == f"the machine {stolen} can be enrolled again\n"
    assert f" enroll forget {stolen} --certificates` lets it count again" in forgotten.err
    assert machine.ctl("enroll", "forget", stolen, "--certificates").out.endswith("counts again, within 5 s\n")
    assert "no client certificates of" in machine.ctl.fails("enroll", "forget", stolen, "--certificates")
    assert "there is no credential of" in machine.ctl.fails("enroll", "forget", stolen)
    assert machine.ctl("enroll", "revoke", machine.id).status == 0
    forgotten = machine.ctl("enroll", "forget", machine.id)
    assert "can be enrolled again" in forgotten.out
    assert f" enroll forget {machine.id} --certificates` lets it count again" in forgotten.err


def test_a_machine_that_was_revoked_enrols_once_an_operator_lets_it(machine):
    machine.open()
    assert machine.ctl("enroll", "revoke", machine.id).status == 0
    assert "this machine was revoked at" in machine.enrols().err
    assert machine.listed() == []
    assert machine.ctl("enroll", "forget", machine.id).status == 0
    assert machine.enrols().status == 0
    assert machine.who(machine.token)[0] == 200
    revoked = [one for one in machine.everything() if one["role"] == "certificate" and one["holder"] == machine.id]
    assert [(one["counts"], one["enrols"]) for one in revoked] == [(False, True)]
    assert re.search(rf"certificate +{machine.id} .* revoked, may enrol", machine.ctl("enroll", "list").out)


def test_a_name_of_two_revokes_neither_and_an_empty_one_is_refused(machine):
    name = f"db-{machine.group}"
    (machine.root / "etc/hostname").write_text(f"{name}\n")
    machine.open()
    assert machine.enrols().status == 0
    token = machine.ctl("enroll", "viewer", name).out.strip()
    for command in ("revoke", "forget"):
        said = machine.ctl.fails("enroll", command, name)
        assert f"'{name}' means the viewer {name}, {name} ({machine.id}) of group {machine.group}: " in said
        assert said.endswith("give the machine-id, or --person for the person; nothing was done")
        for empty in ("", " "):
            assert "NAME is empty" in machine.ctl.fails("enroll", command, empty, status=2)
        assert "leave out --in or --person" in machine.ctl.fails(
            "enroll", command, name, "--person", "--in", "web", status=2
        )
    assert "leave out" in machine.ctl.fails("enroll", "forget", name, "--person", "--certificates", status=2)
    assert machine.who(machine.token)[0] == machine.who(token)[0] == 200
    assert "is a machine-id" in machine.ctl.fails("enroll", "viewer", machine.id, status=2)
    assert machine.ctl("enroll", "revoke", name, "--person").out.startswith(f"the viewer {name} is revoked: ")
    assert [one["counts"] for one in machine.listed()] == [True]
    assert machine.ctl("enroll", "forget", name, "--person").status == 0
    assert f"{name} ({machine.id}) of group {machine.group} is revoked: " in machine.ctl("enroll", "revoke", name).out


def test_a_record_that_cannot_be_read_is_named_so_and_can_be_removed(machine, wheel_etcd):
    name = f"olga {machine.group}"
    key = keys.people_prefix() + tokens.public_of_person(name)

    async def spoil(store):
        await store.create(key, b"{")

    with_store(wheel_etcd, spoil)
    said = machine.ctl("enroll", "revoke", name).out
    assert said.startswith(f"the credential {key} cannot be read, so it lets no caller in: `locksmithctl")
    assert said.endswith(f" enroll forget '{name}'` removes it\n")
    assert machine.ctl("enroll", "forget", name).status == 0
    assert "there is no credential" in machine.ctl.fails("enroll", "revoke", name)


def test_people_get_a_token_once_and_lose_it(machine):
    name = f"olga {machine.group}"
    ended = machine.ctl("enroll", "operator", name, "--only", machine.group, "--for", "90d")
    token = ended.out.strip()
    assert machine.who(token) == (200, {"role": "operator", "name": name, "groups": [machine.group]})
    assert token not in ended.err
    assert f"'{name}' is an operator already" in machine.ctl.fails("enroll", "viewer", name)
    assert name in machine.ctl("enroll", "list").out
    assert machine.ctl("enroll", "forget", name).status == 0
    viewer = machine.ctl("enroll", "viewer", name).out.strip()
    assert machine.who(viewer) == (200, {"role": "viewer", "name": name, "groups": []})
    wait_until(lambda: machine.who(token)[0] == 401, "the token that was forgotten is refused", REVOKED_WITHIN)
    assert "there is no credential of 'nobody'" in machine.ctl.fails("enroll", "forget", "nobody")


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        (("enroll", "open", ""), "leave it out for the configured one"),
        (("enroll", "close", " "), "leave it out for the configured one"),
        (("enroll", "viewer", "eve", "--only", ""), "'(default)' for the default one, or leave it out for all"),
        (("enroll", "operator", "eve", "--only", "web", "--only", ""), "or leave it out for all"),
        (("enroll", "revoke", "eve", "--in", ""), "or leave it out for all that the machine has"),
        (("enroll", "forget", "eve", "--in", ""), "or leave it out for all that the machine has"),
        (("why", ""), "leave it out for this machine"),
        (("forget", ""), "give a machine-id"),
        (("history", "--machine", ""), "leave it out for all"),
        (("window", "set", "", "--open", "Mon 02:00 for 1h"), "name the set"),
        (("window", "show", ""), "leave it out for all"),
        (("notify", ""), "leave it out for all"),
    ],
)
def test_an_empty_argument_is_never_the_default_group_or_all(machine, command, way_out):
    said = machine.ctl.fails(*command, status=2)
    assert (" is empty: " in said, way_out in said) == (True, True)
    assert "eve" not in [one["holder"] for one in machine.everything()]


def test_a_token_is_made_for_no_group_that_cannot_be_and_an_older_one_ends(machine, wheel_etcd):
    name = f"dot-{machine.group}"
    said = machine.ctl.fails("enroll", "operator", name, "--only", machine.group, "--only", ".", status=2)
    assert "--only: group '.' cannot be used" in said
    assert name not in [one["holder"] for one in machine.everything()]
    older = Credential(role=OPERATOR, holder=name, digest="", since=NOW, groups=(".",))
    with_store(wheel_etcd, lambda store: CredentialStore(store).add_person(older))
    assert machine.ctl("enroll", "revoke", name).status == 0
    assert machine.ctl("enroll", "forget", name).status == 0


def test_the_default_group_alone_has_a_name_for_people(machine):
    name = f"zoe-{machine.group}"
    machine.ctl("enroll", "viewer", name, "--only", "(default)")
    assert [one["groups"] for one in machine.everything() if one["holder"] == name] == [[""]]


class LossyServer:
    """Stands before a server: of the first so many requests it passes on each, and drops the answer."""

    def __init__(self, port, lost):
        self._port, self._lost = port, lost
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    client.settimeout(10)
                    self._carry(client, _request(client))

    def _carry(self, client, request):
        if not request:
            return  # whoever asks whether TLS is spoken here
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as server:
            server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b"".join(iter(lambda: server.recv(65536), b""))
        if self._lost:
            self._lost -= 1
        else:
            client.sendall(answer)


def _request(client):
    """Read a whole request; empty: there is none."""
    raw = b""
    while piece := client.recv(65536):
        raw += piece
        head, _, body = raw.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if length and len(body) >= int(length[0].partition(b":")[2]):
            return raw
    return b""


def test_after_a_lost_answer_the_machine_has_one_token_that_counts(machine, monkeypatch):
    monkeypatch.setattr(enrolment, "PAUSE", 0.1)
    machine.open("--most", "1")
    with LossyServer(machine.server.port, 2) as lossy:
        assert machine.enrols(url=lossy.url).status == 0
    assert machine.who(machine.token)[0] == 200
    assert len(machine.listed()) == 1


def test_a_machine_without_an_answer_has_the_same_token_in_its_next_run(machine, monkeypatch):
    monkeypatch.setattr(enrolment, "LIMIT", 0.0)
    machine.open("--most", "1")
    [nobody] = free_ports(1)
    assert "cannot be reached" in machine.enrols(url=f"http://127.0.0.1:{nobody}").err
    with LossyServer(machine.server.port, 1) as lossy:
        assert "gave no answer" in machine.enrols(url=lossy.url).err
    made = machine.pending.read_text()
    assert machine.pending.stat().st_mode & 0o777 == 0o600
    assert not machine.token_file.exists()
    # The secret ends, and the machine was enrolled.
    assert machine.ctl("enroll", "close", machine.group).status == 0
    assert machine.enrols().status == 0
    assert machine.token_file.read_text() == made
    assert machine.who(machine.token)[0] == 200


def test_what_cannot_be_used_is_said_and_no_secret_with_it(machine):
    secret = machine.open()
    file, url = str(machine.secret_file), machine.server.url
    for arguments, says, status in (
        (("enroll", "machine", "--secret-file", file), "no server is named", 2),
        (("enroll", "machine", "--secret-file", file, "--server", "locksmith"), "must begin with https://", 2),
        (("enroll", "machine", "--secret-file", "/none", "--server", url), "cannot be read: No such file", 2),
        (("enroll", "machine", "--secret-file", "/etc/hostname", "--server", url), "has no secret of `locksmithctl", 2),
        (("enroll", "machine", "--secret-file", file, "--server", f"{url}/v1"), "", 0),
        (("enroll", "open", "a/b"), "cannot be reached through a server", 2),
        (("enroll", "open", "web", "--lasts", "8d"), "is not between 1s and 7d", 2),
        (("enroll", "open", "web", "--lasts", "soon"), "is not a duration", 2),
        (("enroll", "viewer", "a\nb"), "a name has 1 to 100 characters that can be printed", 2),
        (("enroll", "viewer", " "), "a name has 1 to 100 characters that can be printed", 2),
    ):
        ended = machine.ctl(*arguments)
        assert (ended.status, says in ended.err) == (status, True), (arguments, ended)
        assert secret not in ended.out + ended.err
    machine.token_file.write_text("rubbish\n")
    assert "has no token of this machine in this group" in machine.enrols().err
    assert machine.token_file.read_text() == "rubbish\n"
    machine.token_file.unlink()
    assert machine.ctl("enroll", "close", machine.group).status == 0
    machine.id = uuid.uuid4().hex
    (machine.root / "etc/machine-id").write_text(f"{machine.id}\n")
    said = machine.enrols().err
    assert "no such enrolment secret is known here: it has expired, was closed, or is wrong" in said
    assert secret not in said


def test_requests_of_another_shape_are_refused_and_the_server_goes_on(machine):
    path, secret = f"/machines/v1/{machine.group}/enroll", machine.open()
    good = {"machine_id": machine.id, "hostname": "<script>n1", "secret": secret, "token_sha256": "a" * 64}
    for body, status in (
        (b"", 400),
        (b"x" * 70_000, 413),
        (b"[" * 60_000, 400),
        (json.dumps({**good, "machine_id": "../n1"}).encode(), 400),
        (json.dumps({**good, "secret": "a"}).encode(), 401),
        (json.dumps(good).encode(), 200),
        (json.dumps({**good, "token_sha256": "b" * 64}).encode(), 403),
    ):
        found, said = machine.server.post(path, body, {})
        assert (found, "value" in said) == (status, status != 200), (body[:40], said)
    assert machine.server.post(path, b"", {}, method="GET")[0] == 405
    assert machine.listed()[0]["hostname"] == "<script>n1"


def test_without_etcd_no_caller_is_let_in_and_no_machine_enrols():
    [port] = free_ports(1)
    where = {"etcd": {"endpoints": [f"http://127.0.0.1:{port}"], "timeout": "500ms"}}
    with FleetLockServer([], tables=where) as server:
        token = tokens.new_token(Kind.OPERATOR).text
        status, said = server.post("/whoami", b"", {"Authorization": f"Bearer {token}"}, "GET")
        assert (status, said["kind"]) == (503, "store")
        body = {"machine_id": "1" * 32, "secret": tokens.new_token(Kind.ENROLMENT).text, "token_sha256": "a" * 64}
        status, said = server.post("/machines/v1/web/enroll", json.dumps(body).encode(), {})
        assert (status, said["kind"]) == (503, "store")
        assert server.post("/whoami", b"", {}, "GET")[0] == 401
        assert token not in server.said


@pytest.mark.parametrize("api", [2, 3])
async def test_both_apis_keep_credentials(wheel_etcd, api):
    store = open_store(wheel_etcd.settings(api=api))
    name = f"olga-{api}-{time.monotonic_ns()}"
    tool, credentials, enrolling = CredentialStore(store), Credentials(store), Enrolment(store)

    async def who(token):
        return await credentials.identify(asked(authorization=f"Bearer {token.text}"))

    try:
        token = await tool.add_person(Credential(OPERATOR, name, "", NOW))
        assert isinstance(await who(token), Identity)
        [kept] = await tool.named(name)
        assert await tool.revoke(kept, "otto")
        credentials = Credentials(store)  # another server
        assert (await who(token)).status == 401
        await tool.forget(kept, "otto")
        assert await tool.named(name) == []
        secret = await tool.open_enrolment(Credential("enrolment", "", "", NOW, ("web",), until=NOW, most=1), 60)
        machine = tokens.new_token(Kind.MACHINE, tokens.public_of_machine("web", name))
        wanted = Asked("web", name, "n1", secret, machine.digest)
        assert [(await enrolling.enrol(wanted, "10.0.0.7")).status for _ in range(2)] == [200, 200]
        assert (await who(machine)).name == name
    finally:
        await store.close()


def events_of(machine, group):
    said = machine.ctl(f"-group={group}", "history", "--json").out
    return [(event["act"], event["detail"], event["id"]) for event in json.loads(said)["events"]]


def test_the_history_has_the_tokens_of_people_and_the_end_of_a_revocation(machine):
    name, other = f"olga-{machine.group}", f"{machine.group}-2"
    machine.ctl("enroll", "operator", name, "--only", machine.group, "--only", other)
    machine.ctl("enroll", "revoke", name)
    machine.ctl("enroll", "forget", name)
    told = [("enrolled", f"the operator {name}", ""), ("revoked", f"the operator {name}", "")]
    assert (events_of(machine, machine.group), events_of(machine, other)) == (told, told)
    machine.ctl(f"-group={other}", "enroll", "viewer", name)
    machine.ctl(f"-group={other}", "enroll", "forget", name)
    every = f"the viewer {name}, of all groups"
    assert events_of(machine, other)[2:] == [("enrolled", every, ""), ("revoked", every, "")]
    stolen = uuid.uuid4().hex
    machine.ctl(f"-group={other}", "enroll", "revoke", stolen)
    machine.ctl(f"-group={other}", "enroll", "forget", stolen, "--certificates")
    assert events_of(machine, other)[4:] == [
        ("revoked", "", stolen),
        ("reinstated", "its client certificates count again", stolen),
    ]
    assert "its client certificates count again" in machine.ctl(f"-group={other}", "history").out

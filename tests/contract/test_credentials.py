"""Credentials as LoadCredential= gives them, and their renewal, with real daemons and a real etcd with TLS."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from locksmith.errors import StoreRefusedError
from locksmith.host.secret_file import FollowedSecret
from locksmith.lock.records.keys import semaphore_key
from locksmith.store.connect import open_store
from tests.contract.daemons import Site
from tests.harness.certificates import Authority
from tests.harness.etcd import DEBIAN, PASSWORD, USER, Etcd, Tls
from tests.harness.node import BIN, Node

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of other users")


KEY = semaphore_key("")


class Renewing:
    """An etcd with TLS and users, and the folder of credentials of a node's unit."""

    def __init__(self, etcd: Etcd, folder: Path) -> None:
        self.etcd, self.folder = etcd, folder
        folder.mkdir()
        assert etcd.authority is not None
        self.old, self.new = etcd.authority.cert.read_text(), Authority(folder.parent / "new-ca")
        self.write("etcd.ca", self.old)
        self.write("etcd.password", PASSWORD)

    def write(self, name: str, text: str) -> None:
        """Replace a credential as systemd does: the file is another one then."""
        new = self.folder / f".{name}"
        new.write_text(text)
        new.chmod(0o400)
        new.rename(self.folder / name)

    def show_certificate_of_new_ca(self) -> None:
        pair = self.new.issue("member0")
        shutil.copy(pair.key, self.etcd.folder / "member0.key")
        shutil.copy(pair.cert, self.etcd.folder / "member0.crt")


async def with_rights(node: Node, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that gives up rights before it runs a program of locksmith."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=30, check=False)

    return await asyncio.to_thread(run)


def test_a_daemon_that_waits_follows_new_certificates_cas_and_passwords(tmp_path):
    """The old CA is dropped, and the old password is no longer valid: what comes after needs the new files."""

    async def story(node):
        node.environ["CREDENTIALS_DIRECTORY"] = str(renewing.folder)
        status, said = await node.tool("freeze", "--yes", "-reason", "test")
        assert status == 0, said
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("frozen")
        renewing.write("etcd.ca", renewing.old + renewing.new.cert.read_text())
        renewing.show_certificate_of_new_ca()
        renewing.write("etcd.ca", renewing.new.cert.read_text())
        await asyncio.sleep(0.2)
        etcd.change_password("another-password-2")
        renewing.write("etcd.password", "another-password-2")
        status, said = await node.tool("thaw")
        assert status == 0, said
        await node.rebooted()
        assert PASSWORD not in node.said
        assert "another-password-2" not in node.said

    with Etcd(tls=Tls.SERVER, auth=True) as etcd:
        renewing = Renewing(etcd, tmp_path / "credentials")
        site = Site(etcd, f"g-{uuid.uuid4()}", tmp_path)
        site.reachable = False
        site.play_stopped(story, etcd={"username": USER, "timeout": "10s"})


def test_a_renewed_password_is_used_on_the_v2_api_too(tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)

    async def story(etcd):
        store = open_store(etcd.settings(api=2, password=PASSWORD, renewed=FollowedSecret(file), timeout=30))
        try:
            await store.get(KEY)
            etcd._put_v2(f"users/{USER}", {"user": USER, "password": "another"})
            with pytest.raises(StoreRefusedError):
                await store.get(KEY)
            file.write_text("another\n")
            await store.get(KEY)
            file.write_text("two\nlines\n")  # of no use: the one before stays
            await store.get(KEY)
        finally:
            await store.close()

    with Etcd(DEBIAN, v2=True, auth=True) as etcd:
        asyncio.run(story(etcd))


def test_check_config_names_the_credentials_and_never_what_is_in_them(site, tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name in ("etcd.password", "alerts.token"):
        (folder / name).write_text(f"the content of {name}\n")
        (folder / name).chmod(0o400)

    async def story(node):
        node.environ["CREDENTIALS_DIRECTORY"] = str(folder)
        status, said = await node.run("locksmithd", "--check-config")
        assert status == 0, said
        assert 'etcd.password = "***"  (from the credential etcd.password)' in said
        assert f'alerts.token-file = "{folder}/alerts.token"  (from the credential alerts.token)' in said
        assert "the content of" not in said
        node.configure(f'{node.paths.config.read_text()}\ntoken-file = "{folder}/other"')
        await node.start_daemon()
        assert await node.ended() == 2
        assert (
            f"{node.paths.config}: alerts.token-file excludes the credential alerts.token of locksmithd.service: "
            "keep one of them" in node.said
        )

    site.play_stopped(story, etcd={"username": "u"}, alerts={"alertmanager": "http://127.0.0.1:1"})


@as_root
def test_without_rights_the_daemon_names_the_line_that_loads_a_key_of_another_user(site, tmp_path):
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("client")
    os.chown(pair.key, 65534, 65534)
    pair.key.chmod(0o600)
    files = {"cafile": str(authority.cert), "certfile": str(pair.cert), "keyfile": str(pair.key)}

    async def story(node):
        ended = await with_rights(node, ["setpriv", "--bounding-set=-all", "--inh-caps=-all", str(BIN / "locksmithd")])
        assert ended.returncode == 2
        line = f"`LoadCredential=etcd.key:{pair.key}`"
        assert f"{node.paths.config}: etcd.keyfile names {pair.key}, which cannot be read: Permission" in ended.stderr
        assert f"remove etcd.keyfile from {node.paths.config}" in ended.stderr
        assert line in ended.stderr
        status, said = await node.run("locksmithd", "--check-config")
        assert status == 0, "a root shell has the right"
        assert line in said
        assert f"Warning: {node.paths.config}: etcd.keyfile names {pair.key}, which locksmithd.service cannot" in said

    site.play_stopped(story, etcd={"endpoints": ["https://127.0.0.1:1"], **files})


@as_root
def test_root_uses_the_running_daemons_credentials_and_other_users_are_told(site):
    async def story(node):
        folder = node.paths.credentials
        folder.mkdir(parents=True)
        (folder / "etcd.password").write_text("hush-hush")
        (folder / "etcd.password").chmod(0o400)
        folder.chmod(0o500)
        status, said = await node.tool("status")
        assert status == 0, said
        as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", str(BIN / "locksmithctl"), "status"]
        ended = await with_rights(node, as_nobody)
        assert (ended.returncode, said_to_others in ended.stderr) == (2, True), ended.stderr
        node.configure(site.settings(etcd={"endpoints": ["https://127.0.0.1:1"]}))
        ended = await with_rights(node, as_nobody)
        assert (ended.returncode, said_to_others in ended.stderr) == (1, True), ended.stderr

    said_to_others = "; the credentials of locksmithd.service cannot be read (Permission denied: "
    with tempfile.TemporaryDirectory(prefix="locksmith-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # every user can enter it, as the tests' own is not
        site.folder = Path(folder)
        site.play_stopped(story, etcd={"username": "u"})

"""URLs of servers as people write them."""

import asyncio

import pytest

from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.config import urls
from locksmith.errors import LocksmithError
from locksmith.host.server_client import ServerClient
from locksmith.lock import machine_wire as wire
from locksmith.store.protocol import NoObserver

KINDS = (urls.base_url, urls.fleet_lock_url, urls.fleet_server_url, urls.public_url, urls.endpoint)


@pytest.mark.parametrize("read", KINDS)
@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_a_scheme_in_capitals_is_the_same_scheme_and_a_path_keeps_its_capitals(read, scheme):
    path = "" if read is urls.endpoint else "/Ops"
    assert read(f"{scheme}://ops.example{path}/") == f"https://ops.example{path}"


async def test_a_token_for_a_url_in_capitals_goes_nowhere_without_tls(tmp_path):
    heard = []

    async def hear(reader, writer):
        heard.append(await reader.read(4096))
        writer.close()

    file = tmp_path / "token"
    file.write_text("lsm_a-token-of-a-machine\n")
    file.chmod(0o600)
    listener = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with listener:
        url = urls.fleet_server_url(f"HTTPS://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        client = ServerClient(FleetServerSettings(urls=(url,), token_file=file), "web", NoObserver())
        with pytest.raises(LocksmithError):
            await client.call(wire.HELLO, limit=5.0)
    assert heard
    assert not any(b"lsm_" in one for one in heard)

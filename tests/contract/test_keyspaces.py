"""The rule of the two keyspaces, asked of real servers."""

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from locksmith.errors import StoreRefusedError, StoreUnavailableError
from locksmith.lock.keyspaces import refuse_if_v2_in_use
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.etcd2 import Etcd2Store
from locksmith.store.settings import StoreSettings
from tests.harness import dead_endpoints
from tests.harness.certificates import Authority
from tests.harness.etcd import DEBIAN, ROOT_PASSWORD, ROOT_USER, USER, WHEEL, Etcd, Tls
from tests.harness.ports import free_ports


@pytest.fixture(scope="module", params=[DEBIAN, WHEEL], ids=["etcd-3.4", "etcd-3.5"])
def etcd(request):
    with Etcd(request.param, v2=True) as server:
        yield server


@pytest.fixture(scope="module")
def etcd_without_v2():
    with Etcd(WHEEL, tls=Tls.SERVER) as server:
        yield server


@pytest.fixture
def group(request):
    return request.node.name


def may_lock_on_v3(settings, group):
    asyncio.run(refuse_if_v2_in_use(settings, group))


def write_v2(settings, key, value):
    async def write():
        store = Etcd2Store(settings)
        try:
            await store.create(key, value)
        finally:
            await store.close()

    asyncio.run(write())


def test_no_semaphore_on_v2_is_fine(etcd, group):
    may_lock_on_v3(etcd.settings(), group)


def test_no_v2_api_is_fine(etcd_without_v2, group):
    may_lock_on_v3(etcd_without_v2.settings(), group)


@pytest.mark.parametrize(
    "value",
    [
        semaphore.encode(Semaphore(1)),
        semaphore.encode(Semaphore(1, ("node",))),
        semaphore.encode(Semaphore(0, ("node",))),
        semaphore.encode(Semaphore(-1)),
        b"",
        b"{}",
        b"no JSON",
        b'{"semaphore":0,"max":0}extra',
        b'{"semaphore":1,"max":0,"holders":null}',
    ],
)
def test_a_semaphore_on_v2_is_refused_with_the_ways_out(etcd, group, value):
    write_v2(etcd.settings(), keys.semaphore_key(group), value)
    with pytest.raises(
        StoreRefusedError, match=r"exists on etcd's v2 API.*`--etcd-api 2`.*`locksmithctl retire-v2`"
    ) as no:
        may_lock_on_v3(etcd.settings(), group)
    assert keys.semaphore_key(group) in str(no.value)


@pytest.mark.parametrize(
    "value", [semaphore.encode(Semaphore(0)), b'{"semaphore":0,"max":0,"holders":[]}'], ids=["null", "empty list"]
)
def test_a_retired_semaphore_is_accepted(etcd, group, value):
    write_v2(etcd.settings(), keys.semaphore_key(group), value)
    may_lock_on_v3(etcd.settings(), group)


@pytest.mark.parametrize("group", ["", "prod/database", "a b+c", "../x", "größe"])
def test_each_group_is_asked_for_by_its_own_key(etcd, group):
    may_lock_on_v3(etcd.settings(), group)
    write_v2(etcd.settings(), keys.semaphore_key(group), b"{}")
    with pytest.raises(StoreRefusedError):
        may_lock_on_v3(etcd.settings(), group)


WITHOUT_V2 = dead_endpoints.answering("404 page not found\n", 404)


def test_a_member_without_v2_says_nothing_about_the_others(etcd, group):
    with dead_endpoints.endpoint(WITHOUT_V2) as url:
        both = etcd.settings(endpoints=(url, *etcd.endpoints))
        may_lock_on_v3(both, group)
        write_v2(etcd.settings(), keys.semaphore_key(group), semaphore.encode(Semaphore(1, ("node",))))
        with pytest.raises(StoreRefusedError, match="exists on etcd's v2 API"):
            may_lock_on_v3(both, group)


def test_a_member_that_is_down_does_not_count_beside_one_without_v2(group):
    with dead_endpoints.endpoint(WITHOUT_V2) as url:
        for endpoints in ((url, nobody_there()), (nobody_there(), url)):
            may_lock_on_v3(StoreSettings(endpoints=endpoints), group)


def test_a_member_that_gives_no_answer_is_a_doubt_beside_one_without_v2(group):
    with dead_endpoints.endpoint(WITHOUT_V2) as without, dead_endpoints.endpoint(dead_endpoints.silent) as silent:
        for endpoints in ((without, silent), (silent, without)):
            with pytest.raises(StoreUnavailableError, match=f"{silent}.*nothing is done on v3"):
                may_lock_on_v3(StoreSettings(endpoints=endpoints, timeout=2), group)  # the other needs a part of it


def nobody_there():
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def test_a_folder_in_place_of_the_semaphore_is_a_doubt(etcd, group):
    write_v2(etcd.settings(), f"{keys.semaphore_key(group)}/below", b"{}")
    with pytest.raises(StoreUnavailableError, match="nothing is done on v3"):
        may_lock_on_v3(etcd.settings(), group)


RUBBISH = {
    "a page": dead_endpoints.answering("<html>Welcome</html>"),
    "somebody's 404": dead_endpoints.answering("<html>404</html>", 404),
    "a 404 with another code": dead_endpoints.answering('{"errorCode":101}', 404, "application/json"),
    "a gateway's 502": dead_endpoints.answering("Bad Gateway", 502),
    "etcd's 500": dead_endpoints.answering(
        '{"errorCode":300,"message":"Raft Internal Error"}', 500, "application/json"
    ),
    "a moved page": dead_endpoints.answering("", 302),
    "other JSON": dead_endpoints.answering('{"node": []}', 200, "application/json"),
}


@pytest.mark.parametrize("answer", RUBBISH.values(), ids=RUBBISH)
def test_a_doubt_is_a_no_until_another_endpoint_decides(etcd, group, answer):
    with dead_endpoints.endpoint(answer) as url:
        with pytest.raises(StoreUnavailableError, match=f"{url}.*nothing is done on v3"):
            may_lock_on_v3(StoreSettings(endpoints=(url,)), group)
        both = etcd.settings(endpoints=(url, *etcd.endpoints))
        may_lock_on_v3(both, group)
        write_v2(etcd.settings(), keys.semaphore_key(group), b"{}")
        with pytest.raises(StoreRefusedError):
            may_lock_on_v3(both, group)


@pytest.mark.parametrize("handler", [dead_endpoints.silent, lambda _connection: None], ids=["silent", "hangs up"])
def test_an_endpoint_without_an_answer_is_a_no_that_is_not_about_v2(etcd, group, handler):
    with dead_endpoints.endpoint(handler) as url:
        with pytest.raises(StoreUnavailableError, match=f"no etcd endpoint could be used: {url}: ") as no:
            may_lock_on_v3(StoreSettings(endpoints=(url,), timeout=0.3), group)
        assert "v2" not in str(no.value)
        may_lock_on_v3(etcd.settings(endpoints=(url, *etcd.endpoints), timeout=3), group)


@pytest.mark.parametrize("status", [401, 403])
def test_an_endpoint_that_does_not_let_us_look_is_a_no(group, status):
    with (
        dead_endpoints.endpoint(dead_endpoints.answering('{"message":"Insufficient credentials"}', status)) as url,
        pytest.raises(StoreRefusedError, match=f"HTTP {status}"),
    ):
        may_lock_on_v3(StoreSettings(endpoints=(url,)), group)


def test_nobody_there_is_a_no(group):
    with pytest.raises(StoreUnavailableError, match=r"connection refused$"):
        may_lock_on_v3(StoreSettings(endpoints=(nobody_there(),)), group)


def test_the_deadline_is_for_all_endpoints_together(group):
    with ExitStack() as stack:
        urls = tuple(stack.enter_context(dead_endpoints.endpoint(dead_endpoints.silent)) for _ in range(3))
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            may_lock_on_v3(StoreSettings(endpoints=urls, timeout=1.5), group)
    assert time.monotonic() - begun < 3 * 1.5


def test_a_member_without_a_leader_is_a_doubt(group):
    with Etcd(WHEEL, members=3, v2=True) as servers:
        lonely, *others = servers.members
        for other in others:
            other.freeze()
        with pytest.raises(StoreUnavailableError):
            may_lock_on_v3(servers.settings(endpoints=(lonely.url,), timeout=1), group)


def test_a_wrong_ca_is_a_no(etcd_without_v2, group, tmp_path):
    with pytest.raises(StoreUnavailableError, match="certificate cannot be trusted"):
        may_lock_on_v3(etcd_without_v2.settings(cafile=Authority(tmp_path, "other").cert), group)


def test_the_library_for_v2_is_not_loaded_for_it():
    story = "import sys, locksmith.lock.keyspaces; sys.exit('etcd' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", story], timeout=10, check=False).returncode == 0


def test_users_of_v2_are_authenticated(group):
    with Etcd(WHEEL, v2=True, auth=True) as server:
        may_lock_on_v3(server.settings(), group)
        write_v2(server.settings(), keys.semaphore_key(group), b"{}")
        with pytest.raises(StoreRefusedError, match="--etcd-api 2"):
            may_lock_on_v3(server.settings(), group)
        for settings in (server.settings(password="wrong"), server.settings(username=None, password=None)):
            with pytest.raises(StoreRefusedError, match="cannot be told"):
                may_lock_on_v3(settings, group)


def test_users_of_v3_alone_are_nothing_to_v2(group):
    """v2 has users of its own: where only v3 asks for a password, v2 lets everybody look."""
    with Etcd(WHEEL, v2=True) as server:
        server.call("/v3/auth/user/add", name=ROOT_USER, password=ROOT_PASSWORD)
        server.call("/v3/auth/user/grant", user=ROOT_USER, role="root")
        server.call("/v3/auth/enable")
        settings = server.settings(username=USER, password="of v3")
        may_lock_on_v3(settings, group)
        write_v2(server.settings(), keys.semaphore_key(group), b"{}")
        with pytest.raises(StoreRefusedError, match="--etcd-api 2"):
            may_lock_on_v3(settings, group)

"""An endpoint that was wrong, and is corrected: the machine goes on by itself, or `forget-claim` is the way on."""

import pytest

from tests.contract.daemons import Lock
from tests.contract.programs import program
from tests.harness.delay_proxy import delay_proxy, take
from tests.harness.etcd import Etcd
from tests.harness.ports import free_ports
from tests.harness.waiting import until

VERSION = "4081.2.0"


@pytest.fixture
def nowhere() -> str:
    [port] = free_ports(1)
    return f"http://127.0.0.1:{port}"


async def with_endpoints(site, node, *endpoints: str, **changes) -> None:
    """Restart its daemon with other endpoints."""
    await node.stop_daemon()
    node.configure(site.settings(etcd={"endpoints": list(endpoints)}, **changes))
    await node.start_daemon()


def test_a_new_machine_with_a_wrong_endpoint_goes_on_when_it_is_corrected(site, nowhere):
    async def story(node):
        await with_endpoints(site, node, nowhere)
        node.need_reboot(VERSION)
        await until(lambda: node.claim, "it has written its claim down")
        await node.says("no etcd endpoint could be used")
        assert (node.claim["endpoints"], node.claim["unsent"]) == ([nowhere], True)
        await with_endpoints(site, node, *site.endpoints)
        await node.says("the claim is dropped: its store never answered")
        await node.rebooted()
        await site.is_free()
        assert site.lock.story == ["held", "committed", "free"]

    site.play_stopped(story)


def test_so_does_a_machine_that_has_rebooted_meanwhile(site, nowhere):
    async def story(node):
        await with_endpoints(site, node, nowhere)
        node.need_reboot(VERSION)
        await until(lambda: node.claim, "it has written its claim down")
        site.reachable = False  # it goes down without a slot, by another order
        node.while_off = lambda: node.configure(site.settings())
        await node.reboot()
        await until(lambda: node.claim is None, "it has no claim any more")
        assert site.lock.holders == []

    site.play_stopped(story)


def test_a_machine_that_knows_its_cluster_goes_on_at_other_endpoints_of_it(site, nowhere):
    async def story(node):
        await until((node.paths.state / "seen.json").exists, "it has seen its cluster")
        await with_endpoints(site, node, nowhere)
        node.need_reboot(VERSION)
        await until(lambda: node.claim, "it has written its claim down")
        await with_endpoints(site, node, site.endpoints[0].replace("127.0.0.1", "localhost"))
        await node.rebooted()
        await site.is_free()

    site.play(story)


def test_a_slot_is_released_at_the_new_endpoints_of_the_same_cluster(site):
    async def story(node):
        site.reachable = False  # it does not reboot while the slot is looked at
        program(node, "pre-reboot.d/50-long", "sleep 60")
        with delay_proxy(site.etcd.endpoints[0]) as way:
            await with_endpoints(site, node, way.url)
            node.need_reboot(VERSION)
            await until(lambda: site.lock.holders, "it has a slot")
            await until(lambda: node.claim["hooks"], "its hooks run")
            assert "unsent" not in node.claim
            await node.kill_daemon()
        (node.paths.root / "etc/locksmith/pre-reboot.d/50-long").unlink()
        node.configure(site.settings())
        await node.start_daemon()
        await node.says("the configuration names another strategy, group or store now")
        await node.rebooted()
        await site.is_free()

    site.play_stopped(story)


def test_a_slot_is_released_where_it_was_taken_if_no_endpoint_is_configured_any_more(site):
    async def story(node):
        site.reachable = False  # it does not reboot while the slot is looked at
        program(node, "pre-reboot.d/50-long", "sleep 60")
        node.need_reboot(VERSION)
        await until(lambda: site.lock.holders and node.claim["hooks"], "its hooks run")
        await node.kill_daemon()
        node.configure('strategy = "off"\n[metrics]\nenabled = false')
        await node.start_daemon()
        await site.is_free()

    site.play(story)


def test_what_was_asked_of_a_store_that_is_gone_is_forgotten_by_an_operator(site):
    async def story(node, gone: Etcd):
        program(node, "pre-reboot.d/50-long", "sleep 60")
        await with_endpoints(site, node, *gone.endpoints)
        node.need_reboot(VERSION)
        lock = Lock(gone, site.group)
        await until(lambda: node.claim and node.claim["hooks"], "its hooks run")
        assert lock.holders == [node.machine_id]
        status, said = await node.tool("forget-claim", "--yes")
        assert (status, "the claim was made at the lock that is configured" in said) == (1, True)
        await node.kill_daemon()
        (node.paths.root / "etc/locksmith/pre-reboot.d/50-long").unlink()
        node.configure(site.settings())

        status, said = await node.tool("forget-claim", "--yes")
        assert (status, "answers, and this machine has a slot there" in said) == (1, True)
        gone.members[0].kill()
        cluster = node.claim["cluster"]
        assert (await node.tool("resume", "--replaces", cluster))[0] == 0
        await node.start_daemon()
        await node.says("forget-claim` on this machine")

        status, said = await node.tool("forget-claim")
        assert (status, "use --yes" in said) == (2, True)
        assert f"was made at {gone.endpoints[0]} (etcd cluster {cluster})" in said
        assert f"`locksmithctl -endpoint={gone.endpoints[0]} -group={site.group} unlock {node.machine_id}`" in said
        assert node.claim is not None
        status, said = await node.tool("forget-claim", "--yes")
        assert (status, "forgotten: locksmithd may ask" in said) == (0, True)
        await node.rebooted()
        await site.is_free()
        status, said = await node.tool("forget-claim", "--json")
        assert (status, '"forgotten": null' in said) == (0, True)

    with Etcd() as gone:
        site.reachable = False
        site.play_stopped(lambda node: story(node, gone))


def test_a_claim_at_the_configured_store_is_not_forgotten_while_etcd_is_away(site):
    """Under the strategy `reboot` too: when etcd is back, locksmithd releases the slot."""

    async def story(node):
        await node.tool("run", "--", "sh", "-c", "kill -KILL $PPID")
        assert site.lock.holders == [node.machine_id]
        with site.etcd_away():
            status, said = await node.tool("forget-claim", "--yes")
            assert (status, "the claim was made at the lock that is configured" in said) == (1, True), said
        await node.start_daemon()
        await site.is_free()

    site.play_stopped(story, strategy="reboot")


def test_no_slot_is_asked_for_before_the_journal_says_so(site, nowhere):
    """Between the two writes the daemon may die, and then the claim must not be dropped."""

    async def story(node):
        with delay_proxy(site.etcd.endpoints[0]) as way:
            await with_endpoints(site, node, nowhere)
            node.need_reboot(VERSION)
            await until(lambda: node.claim and node.claim["unsent"], "it has written its claim down")
            await node.kill_daemon()
            journal = node.paths.state / "journal.json"
            journal.write_text(journal.read_text().replace(nowhere, way.url))
            asks = way.hold(take)
            node.configure(site.settings(etcd={"endpoints": [way.url]}))
            await node.start_daemon()
            await until(lambda: asks.arrived, "it asks for a slot")
            assert "unsent" not in node.claim
            asks.let_go()
            await node.rebooted()

    site.play_stopped(story)

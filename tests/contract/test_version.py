"""There is one version: what a build is called is what each of its programs says, wherever it says so."""

import asyncio
import urllib.request

from locksmith.daemon.bus_settings import INTERFACE
from release.source import export
from tests.contract.bus_calls import call, caller
from tests.harness.ports import free_ports


def test_every_program_metric_and_property_says_the_version_of_the_build(site, tmp_path):
    build = export(tmp_path / "sources")
    [port] = free_ports(1)

    async def story(node):
        node.environ["PYTHONPATH"] = f"{tmp_path}/sources:{tmp_path}/sources/strategies"
        await node.start_daemon()
        await node.says("idle")
        for program in ("locksmithd", "locksmithctl"):
            for flag in ("--version", "-version"):
                assert await node.run(program, flag) == (0, f"{program} version {build.version}\n")
        async with caller(node) as bus:
            properties = "org.freedesktop.DBus.Properties"
            [version] = (await call(bus, "Get", "ss", [INTERFACE, "Version"], properties)).body
            assert version.value == build.version
        metrics = await asyncio.to_thread(urllib.request.urlopen, f"http://localhost:{port}/metrics")
        assert f'locksmith_build_info{{version="{build.version}"}} 1.0' in metrics.read().decode()

    site.play(story, running=False, metrics={"enabled": True, "port": port})

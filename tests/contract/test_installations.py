"""Two installations of different kinds on one node: the daemon, `--check-config` and `status` each name the other."""

SAYS = "locksmith is installed 2 times on this machine: deb 0.0.9, "


def test_each_program_names_the_other_installation_and_an_older_unit(site):
    async def story(node):
        packages = node.paths.root / "usr/lib/locksmith/installed.d"
        packages.mkdir(parents=True)
        (packages / "deb").write_text("0.0.9\n")
        unit = node.paths.root / "etc/systemd/system/locksmithd.service"
        unit.parent.mkdir(parents=True)
        unit.write_text("[Service]\nExecStart=/opt/locksmith/bin/locksmithd\n")
        for words in (["locksmithd", "--check-config"], ["locksmithctl", "status"]):
            status, said = await node.run(*words)
            assert status == 0, said
            assert f"Warning: {SAYS}" in said
            assert f"by the unit {unit}, which covers the unit of deb 0.0.9" in said
        await node.start_daemon()
        await node.says(SAYS)
        await node.says(f"which covers the unit of deb 0.0.9: `rm {unit}")

    site.play_stopped(story)

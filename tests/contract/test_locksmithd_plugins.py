"""Strategies and triggers of third parties, installed beside locksmith: they work, or say in one sentence why not."""

import json
import shutil
import signal
import tomllib
from pathlib import Path

import pytest

from tests.contract.daemons import CLOSED, QUICK
from tests.harness.waiting import until

EXAMPLE = Path(__file__).parents[1] / "example_strategy"
TRIGGER = Path(__file__).parents[1] / "example_trigger"


def install(project: Path, target: Path) -> None:
    """Install a project of plain modules, without a build and a network: what a wheel's installation leaves."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = target / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    [(group, points)] = about["entry-points"].items()
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    for module in project.glob("*.py"):
        shutil.copy(module, target)


def with_plugins(node, target):
    node.environ["PYTHONPATH"] = str(target)


@pytest.fixture
def example(tmp_path):
    """The folder where the example is installed."""
    install(EXAMPLE, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def variant(example):
    """Make the example another: replace a text in it."""

    def change(old, new):
        module = example / "locksmith_file_strategy.py"
        assert old in module.read_text()
        module.write_text(module.read_text().replace(old, new))
        return example

    return change


def test_a_third_partys_strategy_works_by_its_name(site, example):
    async def story(node):
        permission = node.paths.root / "etc/may-reboot"
        with_plugins(node, example)
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (file): {permission} is not there: make it")
        permission.touch()
        await node.rebooted()
        await until(lambda: node.claim is None, "the permission is given back")
        assert not permission.exists()
        assert site.lock.history == []

    site.play(story, running=False, strategy="file")


def test_an_unknown_strategy_lists_those_that_are_installed(site, example):
    async def story(node):
        with_plugins(node, example)
        await node.start_daemon()
        assert await node.ended() == 2
        installed = "installed are: etcd-lock, file, fleet-lock, off, reboot, server; did you mean file?"
        assert node.said == f"Error: there is no strategy 'fiel'; {installed}\n"

    site.play(story, running=False, strategy="fiel")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("import asyncio", "import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
        ("class File:", "class Life:", "has no attribute 'File'"),
        ("del context", "raise RuntimeError('no disk')", "no disk"),
        ("    reboots = True", "", "its `reboots` must be True or False"),
    ],
    ids=["import", "name", "constructor", "attribute"],
)
def test_a_strategy_that_cannot_be_made_ends_the_daemon_with_a_sentence(site, variant, old, new, why):
    async def story(node):
        with_plugins(node, variant(old, new))
        await node.start_daemon()
        assert await node.ended() == 2
        [line] = node.said.splitlines()
        assert line.startswith("Error: the strategy 'file' (locksmith_file_strategy:File) cannot be used: ")
        assert why in line

    site.play(story, running=False, strategy="file")


def test_a_strategy_that_fails_is_a_no_and_not_the_end(site, variant):
    async def story(node):
        with_plugins(node, variant("if self._file.exists() else Denied", "if {}['oops'] else Denied"))
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (defect): request failed: KeyError: 'oops'")
        assert node.machine.reboots == 0

    site.play(story, running=False, strategy="file")


def test_a_strategy_that_cannot_be_watched_is_asked_again_after_a_while(site, variant):
    async def story(node):
        with_plugins(node, variant("for _ in range(int(limit / LOOK_EVERY)):", "for _ in no_watch:"))
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("cannot watch for a free slot: name 'no_watch' is not defined")
        (node.paths.root / "etc/may-reboot").touch()
        node.send_signal(signal.SIGHUP)
        await node.rebooted()
        assert node.said.count("cannot watch for a free slot") == 1

    site.play(story, running=False, strategy="file")


def test_a_claim_of_a_strategy_that_is_gone_is_kept_until_it_is_back(site, example):
    async def story(node):
        with_plugins(node, example)
        (node.paths.root / "etc/may-reboot").touch()
        await node.start_daemon()
        node.machine.on_reboot = lambda: None
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        node.environ.clear()
        node.configure(site.settings(strategy="reboot"))
        await node.reboot()
        await node.says("waiting (configuration): there is no strategy 'file'; installed are: ")
        assert node.claim["strategy"] == "file"
        with_plugins(node, example)
        await node.stop_daemon()
        await node.start_daemon()
        await until(lambda: node.claim is None, "the permission is given back")

    site.play(story, running=False, strategy="file", reboot=QUICK)


@pytest.fixture
def example_trigger(tmp_path):
    """The folder where the example of a trigger is installed."""
    install(TRIGGER, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def variant_trigger(example_trigger):
    """Make the example of a trigger another: replace a text in it."""

    def change(old, new):
        module = example_trigger / "locksmith_file_trigger.py"
        assert old in module.read_text()
        module.write_text(module.read_text().replace(old, new))
        return example_trigger

    return change


def test_a_third_partys_trigger_is_used_without_a_word_and_takes_its_wish_back(site, example_trigger):
    async def story(node):
        with_plugins(node, example_trigger)
        await node.start_daemon()
        await node.says("idle")
        file = node.paths.root / "etc/wants-reboot"
        file.write_text("1.0\n")
        node.send_signal(signal.SIGHUP)
        await node.says("waiting (window)")
        code, said = await node.tool("triggers")
        assert (code, "\nfile  " in said) == (0, True)
        code, said = await node.tool("triggers", "file")
        assert (code, [line.split()[0] for line in said.splitlines()]) == (0, ["TRIGGER", "file"])
        code, said = await node.tool("triggers", "no-such")
        assert (code, "there is no trigger 'no-such' on this machine" in said) == (1, True)
        file.unlink()
        node.send_signal(signal.SIGHUP)
        await node.says("idle", times=2)

    site.play(story, running=False, window=CLOSED)


def test_a_trigger_that_fails_is_a_doubt_and_holds_no_other_back(site, variant_trigger):
    async def story(node):
        with_plugins(node, variant_trigger("if not self._file.exists():", "if {}['oops']:"))
        await node.start_daemon()
        await node.says("waiting (trigger): file: KeyError: 'oops'")
        node.need_reboot("4081.2.0")
        await node.rebooted()

    site.play(story, running=False)


BROKEN_TRIGGERS = pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("from datetime", "import a_package_that_is_not_there\nfrom datetime", "No module named 'a_package_that_"),
        ("class FileTrigger:", "class Life:", "has no attribute 'FileTrigger'"),
        ("self._since: datetime | None = None", "raise RuntimeError('no disk')", "no disk"),
        ('name = "file"', 'name = "fiel"', "it calls itself 'fiel'"),
        ('name = "file"', "", "has no attribute 'name'"),
    ],
    ids=["import", "class", "constructor", "other-name", "no-name"],
)


@BROKEN_TRIGGERS
def test_a_trigger_that_is_named_and_cannot_be_made_ends_the_daemon_with_a_sentence(
    site, variant_trigger, old, new, why
):
    async def story(node):
        with_plugins(node, variant_trigger(old, new))
        await node.start_daemon()
        assert await node.ended() == 2
        line = node.said.splitlines()[-1]
        assert line.startswith("Error: the trigger 'file' (locksmith_file_trigger:FileTrigger) cannot be used: ")
        assert why in line

    site.play(story, running=False, triggers={"use": ["update-engine", "file"]})


@BROKEN_TRIGGERS
def test_a_broken_trigger_that_nobody_has_named_is_shown_and_left_out(site, variant_trigger, old, new, why):
    async def story(node):
        with_plugins(node, variant_trigger(old, new))
        await node.start_daemon()
        await node.says("idle")
        assert node.said.count("cannot be used") == 1
        code, said = await node.tool("triggers", "--json")
        [shown] = [one for one in json.loads(said)["triggers"] if one["name"] == "file"]
        assert (code, shown["says"], why in shown["text"]) == (0, "error", True)
        node.need_reboot("4081.2.0")
        await node.rebooted()

    site.play(story, running=False)


def test_a_broken_trigger_that_others_are_named_beside_is_never_loaded(site, variant_trigger):
    async def story(node):
        with_plugins(node, variant_trigger("from datetime", "import a_package_that_is_not_there\nfrom datetime"))
        await node.start_daemon()
        await node.says("idle")
        assert "cannot be used" not in node.said
        node.need_reboot("4081.2.0")
        await node.rebooted()

    site.play(story, running=False, triggers={"use": ["update-engine"]})


def test_a_trigger_that_cannot_listen_is_looked_at_all_the_same(site, variant_trigger):
    async def story(node):
        with_plugins(
            node, variant_trigger('"""Need nothing: the loop looks', 'raise OSError("no inotify")\n        """')
        )
        await node.start_daemon()
        await node.says("the trigger 'file' does not listen: OSError: no inotify")
        (node.paths.root / "etc/wants-reboot").write_text("1.0\n")
        node.send_signal(signal.SIGHUP)
        await node.says("waiting (window)")

    site.play(story, running=False, window=CLOSED)

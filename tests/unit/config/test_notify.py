"""The table `[notify]`: what is refused, where URLs are read from, and that none is ever shown."""

import logging
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.config.load import load_notify, load_server
from locksmith.config.notify import chosen, read_url
from locksmith.config.problems import Problems
from locksmith.config.show import describe
from locksmith.errors import HostError, UsageError
from locksmith.fleet.notice_templates import Templates
from locksmith.host.paths import Paths
from locksmith.lock.records.notice_events import EVENTS
from locksmith.util.text import one_line

SERVED = '[server.groups.web]\nclients = ["::/0"]\n'
SECRET = "json://user:a-passw0rd@hook.example/a-t0ken"


class Site:
    """A machine with a configuration."""

    def __init__(self, root) -> None:
        self.paths, self.root = Paths(root), root
        self.environ: dict[str, str] = {}

    def write(self, text: str, name: str = "locksmith.toml") -> None:
        file = self.root / "etc/locksmith" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def secret(self, name: str, text: str = SECRET, mode: int = 0o600) -> str:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        file.chmod(mode)
        return str(file)

    def load(self):
        """Give the server's configuration, and its problems."""
        problems = Problems()
        return load_server(self.paths, self.environ, problems), problems.found

    def problem(self, text: str) -> str:
        self.write(f"{SERVED}{text}")
        found: str
        _, [found] = self.load()
        with pytest.raises(UsageError):
            load_notify(self.paths, self.environ)
        return found


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def test_a_whole_table_is_read(site):
    file = site.secret("ops.url")
    site.write(
        f"""{SERVED}
        [notify]
        no-reboot-after = "30d"
        repeat-after = "4h"
        [notify.targets.ops]
        url-file = "{file}"
        events = ["lost", "lost", "frozen"]
        groups = ["web", "", "web"]
        [notify.templates]
        title = "$$ $headline"
        [notify.templates.lost]
        message = "$sentence\\n$machines"
        """
    )
    config, problems = site.load()
    assert problems == ()
    found = config.notify
    assert (found.no_reboot_after, found.repeat_after) == (timedelta(days=30), timedelta(hours=4))
    [ops] = found.targets.values()
    assert (ops.name, str(ops.url_file), ops.events) == ("ops", file, ("lost", "frozen"))
    assert ops.wants("lost", "web")
    assert ops.wants("lost", "")
    assert not ops.wants("lost", "db")
    assert not ops.wants("thawed", "web")
    lost = Templates("$$ $headline", "$sentence\n$machines")
    assert found.templates == Templates("$$ $headline", "$sentence", {"lost": lost})


def test_without_a_table_there_is_no_target_and_every_event_is_the_default(site):
    site.write(SERVED)
    config, _ = site.load()
    assert config.notify.targets == {}
    site.secret("run/credentials/locksmith-server.service/notify.a")
    site.write(f"{SERVED}[notify.targets.a]")
    config, problems = site.load()
    assert problems == ()
    assert config.notify.targets["a"].events == EVENTS
    assert config.notify.targets["a"].wants("lost", "any group")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[notify]\ntargets = 3", "notify.targets must be a table of tables, not a whole number"),
        ("[notify.targets]\nops = 3", "must have a table for 'ops', not a whole number"),
        ('[notify.targets."a b"]', "has the target 'a b': a name has at most 64"),
        ('[notify.targets."../x"]', "has the target '../x': a name has at most 64"),
        (f'[notify.targets.ops]\nurl = "{SECRET}"', "has ops.url, and a URL is a secret"),
        ("[notify.targets.ops]\nevent = []", "has ops.event, which is no key of a target: known are events, groups,"),
        ("[notify.targets.ops]\nevents = []", "events is empty: leave it out for all events"),
        ('[notify.targets.ops]\nevents = ["losst"]', "events has 'losst', which is no event: known are frozen, lost,"),
        ("[notify.targets.ops]\nevents = [3]", "events must be a string, not a whole number"),
        ('[notify.targets.ops]\nevents = "lost"', "events must be a list, not a string"),
        ("[notify.targets.ops]\ngroups = []", "groups is empty: leave it out for all groups"),
        ('[notify.targets.ops]\ngroups = [".."]', "group '..' cannot be used"),
        ('[notify.targets.ops]\nurl-file = "ops.url"', "must be a path from the root on"),
        ('[notify]\nno-reboot-after = "30"', "notify.no-reboot-after"),
        ("[notify]\nno-reboot-after = 30", "notify.no-reboot-after must be a string"),
        ('[notify]\nrepeat-after = "-1h"', "notify.repeat-after"),
        ('[notify]\nrepeat = "1h"', "notify.repeat is not a key of the configuration"),
        ("[notify]\ntemplates = 3", "notify.templates must be a table"),
        ('[notify.templates]\nbody = "x"', "has body, which is no key of the templates: known are "),
        ('[notify.templates.losst]\ntitle = "x"', "has losst, which is no key of the templates"),
        (
            '[notify.templates.lost]\ntext = "x"',
            "has lost.text, which is no key of a template: known are message, title",
        ),
        ('[notify.templates]\ntitle = "$machine"', "which is no field: known are at, count, event,"),
        ('[notify.templates]\ntitle = "${headline.__class__}"', "has a $ that begins no field"),
        ('[notify.templates]\ntitle = "5 $"', "has a $ that begins no field: write $$"),
        ('[notify.templates]\nmessage = " "', "has message, which is empty"),
        ('[notify.templates]\ntitle = "a\\nb"', "must not have control characters"),
        ('[notify.templates]\nmessage = "a\\u0000b"', "must not have control characters"),
        ("[notify.templates]\nmessage = 3", "has message, which must be a string, not a whole number"),
        (f'[notify.templates]\nmessage = "{"x" * 4001}"', "has 4001 characters, and at most 4000"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(site, text, says):
    found = site.problem(text)
    assert says in found
    assert "a-passw0rd" not in found


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0, "cannot be read: No such file or directory"),
        ("", 0o600, "which must be one line of text with the URL alone"),
        ("a\nb", 0o600, "which must be one line of text with the URL alone"),
        ("json://x", 0o666, "which other users can change"),
    ],
)
def test_a_file_without_a_usable_url_is_an_error(site, content, mode, says):
    file = site.root / "ops.url"
    if content is not None:
        site.secret("ops.url", content, mode)
    site.write(f'{SERVED}[notify.targets.ops]\nurl-file = "{file}"')
    _, [found] = site.load()
    assert f"has the target ops, whose url-file is {file}, which" in found
    assert says in found


def test_without_a_file_the_url_is_a_credential_of_the_unit(site):
    site.write(f"{SERVED}[notify.targets.ops]")
    _, [found] = site.load()
    assert "whose URL is expected in the credential" in found
    running = site.secret("run/credentials/locksmith-server.service/notify.ops", "json://running")
    config, problems = site.load()
    assert (problems, str(config.notify.targets["ops"].url_file)) == ((), running)
    own = site.secret("own/notify.ops", "json://own")
    site.environ["CREDENTIALS_DIRECTORY"] = str(site.root / "own")
    config, problems = site.load()
    assert (problems, str(config.notify.targets["ops"].url_file)) == ((), own)
    assert read_url(config.notify.targets["ops"]) == "json://own"


def test_a_url_is_in_no_line_of_the_settings_nor_in_the_log(site, caplog):
    file = site.secret("ops.url")
    site.write(f'{SERVED}[notify.targets.ops]\nurl-file = "{file}"\ngroups = ["web"]')
    config, _ = site.load()
    shown = {name: value for name, value, _ in describe(config)}
    assert shown["notify.targets"].startswith(f'{{"ops" = {{"url-file" = "{file}", "events" = ["rollout-begins",')
    assert shown["notify.targets"].endswith('"groups" = ["web"]}}')
    assert not any("t0ken" in value or "passw0rd" in value for value in shown.values())
    logging.getLogger("locksmith").warning("%s", one_line(f"it is {SECRET}"))
    assert "t0ken" not in one_line(caplog.text)


def test_a_file_that_others_can_read_is_warned_of():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        site = Site(Path(folder))
        site.root.chmod(0o755)
        file = site.secret("ops.url", mode=0o644)
        site.write(f'{SERVED}[notify.targets.ops]\nurl-file = "{file}"')
        config, problems = site.load()
    assert problems == ()
    assert f"every user can read {file}, which has a secret in it: `chmod go-rwx {file}`" in config.cautions


def test_a_setting_without_a_target_is_warned_of(site):
    site.write(f'{SERVED}[notify]\nno-reboot-after = "30d"')
    config, _ = site.load()
    assert [one for one in config.cautions if "no-reboot-after has no use without a target" in one] != []


def test_a_drop_in_replaces_a_target_by_its_name(site):
    first, second = site.secret("a.url"), site.secret("b.url")
    site.write(f'{SERVED}[notify.targets.a]\nurl-file = "{first}"\n[notify.targets.b]\nurl-file = "{first}"')
    site.write(f'[notify.targets.b]\nurl-file = "{second}"\nevents = ["lost"]', "locksmith.toml.d/50-b.toml")
    config, problems = site.load()
    assert problems == ()
    found = config.notify.targets
    assert [str(one.url_file) for one in found.values()] == [first, second]
    assert found["b"].events == ("lost",)


def test_a_target_is_chosen_by_its_name(site):
    site.write(SERVED)
    with pytest.raises(UsageError, match="no target is configured: write a table"):
        chosen(load_notify(site.paths, {}).notify, "")
    site.write("[notify.targets.ops]\n[notify.targets.chat]")
    settings = load_notify(site.paths, {}).notify  # no file of a URL is read
    assert [one.name for one in chosen(settings, "")] == ["ops", "chat"]
    assert [one.name for one in chosen(settings, "chat")] == ["chat"]
    with pytest.raises(UsageError, match="there is no target 'char': known are chat, ops; did you mean chat"):
        chosen(settings, "char")
    with pytest.raises(HostError):
        read_url(settings.targets["ops"])

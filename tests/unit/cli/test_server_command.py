"""`locksmith-server` on the command line: what it refuses before it serves."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from locksmith.cli import server
from locksmith.cli.server import LIBRARIES, command
from locksmith.server import delivery


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run it with a configuration; give its exit status, what it printed, and its errors."""

    def run(*arguments, config=""):
        monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
        file = tmp_path / "etc/locksmith/locksmith.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config)
        status = command.main([*arguments], prog_name="locksmith-server", standalone_mode=False)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize("found", [None, "0.17.6", "0.31", "0"])
def test_without_its_libraries_it_names_them_and_the_command(run, monkeypatch, found):
    def version(name):
        if name in {"jinja2", "starlette"}:
            return {"jinja2": "3.1.6", "starlette": "1.0rc1"}[name]
        if found is None:
            raise PackageNotFoundError
        return found

    monkeypatch.setattr(server, "version", version)
    with pytest.raises(
        Exception, match=r"needs uvicorn 0.32 or newer, which the extra `server` .* `pip install 'locksmith\[server\]'`"
    ):
        run()


def test_the_lowest_versions_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    extra = [requirement.partition(",")[0] for requirement in project["optional-dependencies"]["server"]]
    libraries = {**LIBRARIES, "apprise": delivery.LOWEST}
    assert extra == [f"{name}>={lowest}" for name, lowest in libraries.items()]


def test_online_alone_is_refused(run):
    with pytest.raises(Exception, match="--online is for --check-config"):
        run("--online")


def test_each_problem_is_printed_at_once(run):
    status, said, errors = run(
        "--check-config",
        config="""
            [server]
            port = "x"
            certfile = "/nowhere"
            [server.groups.a]
        """,
    )
    assert (status, said) == (2, "")
    assert len(errors.splitlines()) == 2
    assert "server.port must be a whole number" in errors
    assert "without a rule that says who its clients are" in errors


def test_a_certificate_that_is_none_is_a_problem_of_the_check(run, tmp_path):
    file = tmp_path / "x.pem"
    file.write_text("none")
    config = f"""
        [server]
        certfile = "{file}"
        keyfile = "{file}"
        [server.groups.a]
        clients = ["::/0"]
    """
    status, _, errors = run("--check-config", config=config)
    assert status == 2
    assert f"[server] cannot be served: the certificate {file} and its key {file} cannot be used" in errors


def test_the_settings_are_printed_with_where_they_are_from(run, tmp_path):
    status, said, errors = run("--check-config", config='[server.groups.a]\nclients = ["::/0"]')
    file = tmp_path / "etc/locksmith/locksmith.toml"
    assert (status, errors) == (0, "")
    assert f'server.groups = {{"a" = {{"clients" = ["::/0"], "limit" = "15m"}}}}  (from {file})' in said.splitlines()

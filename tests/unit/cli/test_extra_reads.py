"""What a command reads only to say more: where that fails, what the command has done or found is said all the same."""

from types import SimpleNamespace

import pytest

from locksmith.cli.commands import freeze
from locksmith.cli.group_names import note_unknown_group
from locksmith.errors import StoreRefusedError, StoreUnavailableError


class Away:
    """A session whose store fails from now on."""

    config = SimpleNamespace(group="web")
    names_group = False

    def __init__(self, error):
        self._error = error

    def with_store(self, _work):
        raise self._error


@pytest.fixture(params=[StoreUnavailableError("no answer in time"), StoreRefusedError("no rights")], ids=type)
def session(request):
    return Away(request.param)


def test_the_other_groups_that_are_frozen(session):
    assert freeze._frozen(session) == []


def test_whether_the_group_is_in_use(session, capsys):
    note_unknown_group(session)
    assert capsys.readouterr().err == ""

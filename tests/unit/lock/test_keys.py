"""Where things stand in the store: the original's keys, literally."""

import pytest

from locksmith.errors import UsageError
from locksmith.lock.records import keys


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("", "coreos.com/updateengine/rebootlock/semaphore"),
        ("db", "coreos.com/updateengine/rebootlock/groups/db/semaphore"),
        ("prod/database", "coreos.com/updateengine/rebootlock/groups/prod%2Fdatabase/semaphore"),
        ("two words", "coreos.com/updateengine/rebootlock/groups/two+words/semaphore"),
        ("../x", "coreos.com/updateengine/rebootlock/groups/..%2Fx/semaphore"),
        ("a~b_c-d.e", "coreos.com/updateengine/rebootlock/groups/a~b_c-d.e/semaphore"),
        ("ü*", "coreos.com/updateengine/rebootlock/groups/%C3%BC%2A/semaphore"),
    ],
)
def test_a_group_is_escaped_as_go_does(group, key):
    assert keys.semaphore_key(group) == key


@pytest.mark.parametrize("group", [".", ".."])
def test_a_group_that_collapses_in_a_path_is_refused(group):
    with pytest.raises(UsageError, match="choose another name"):
        keys.semaphore_key(group)


@pytest.mark.parametrize(
    ("holder", "segment"),
    [
        ("1c09ca98", "1c09ca98"),
        ("a/b", "a%2Fb"),
        ("_hidden", "%5Fhidden"),
        (".", "%2E"),
        ("..", "%2E."),
        ("...", "..."),
    ],
)
def test_an_id_is_one_visible_segment(holder, segment):
    assert keys.holder_key("", holder) == f"coreos.com/updateengine/rebootlock/holders/{segment}"

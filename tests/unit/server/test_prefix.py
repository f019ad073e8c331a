"""The path of a proxy is removed once, at the beginning, however a client spells it."""

import pytest

from locksmith.server.prefix import below


@pytest.mark.parametrize(
    ("path", "raw", "left", "raw_left"),
    [
        ("/ops", b"/ops", "/", b"/"),
        ("/ops/", b"/ops/", "/", b"/"),
        ("/ops/ops/x", b"/ops/ops/x", "/ops/x", b"/ops/x"),
        ("/ops/groups/a/b", b"/ops/groups/a%2Fb", "/groups/a/b", b"/groups/a%2Fb"),
        ("/ops/groups/x", b"http://h/ops/groups/x", "/groups/x", b"/groups/x"),
        ("/ops/groups/ops", b"/o%70s/groups/ops", "/groups/ops", b"/groups/ops"),
        ("/groups/ops", b"/groups/ops", "/groups/ops", b"/groups/ops"),
        ("/opsy", b"/opsy", "/opsy", b"/opsy"),
        ("/OPS/x", b"/OPS/x", "/OPS/x", b"/OPS/x"),
    ],
)
def test_the_path_of_a_proxy_is_removed_once_at_the_beginning(path, raw, left, raw_left):
    scope = {"path": path, "raw_path": raw}
    below("/ops")(scope)
    assert scope == {"path": left, "raw_path": raw_left}
    alone = {"path": path, "raw_path": raw}
    below("")(alone)
    assert alone == {"path": path, "raw_path": raw}

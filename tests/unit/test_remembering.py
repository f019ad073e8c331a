"""A store that remembers asks its store for what it is asked for itself."""

import asyncio

import pytest

from locksmith.kv.remembering import RememberingStore
from locksmith.kv.store import Known


class Memory:
    """What has been seen: nothing."""

    def sending(self) -> Known:
        return Known(0)

    def followed(self, now, known, *, part) -> None:
        pass


class Asked:
    """Notes each call, with its arguments."""

    def __init__(self) -> None:
        self.calls = []

    def __getattr__(self, name):
        async def call(*args, **more):
            self.calls.append((name, args, more))

        return call


@pytest.mark.parametrize(
    ("ask", "asked"),
    [
        (lambda store: store.list("g/"), ("list", ("g/",), {"limit": 0, "last_before": None})),
        (
            lambda store: store.list("g/", limit=5, last_before=7),
            ("list", ("g/",), {"limit": 5, "last_before": 7}),
        ),
        (lambda store: store.wait("g/", 7), ("wait", ("g/", 7), {"prefix": False, "limit": 60.0})),
        (
            lambda store: store.wait("g/", 7, prefix=True, limit=5.0),
            ("wait", ("g/", 7), {"prefix": True, "limit": 5.0}),
        ),
        (lambda store: store.close(), ("close", (), {})),
    ],
)
def test_a_call_arrives_with_all_that_it_says(ask, asked):
    inner = Asked()
    asyncio.run(ask(RememberingStore(inner, Memory(), "key")))
    assert inner.calls == [asked]

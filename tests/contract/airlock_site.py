"""An etcd with groups of airlock, and an operator who takes them over."""

import asyncio
import uuid

from locksmith.lock.records import airlock, keys, semaphore
from locksmith.store.connect import open_store
from tests.harness.ctl import plain


class Site:
    """One group of its own, and the operator's tool."""

    def __init__(self, etcd, ctl):
        self.etcd = etcd
        self.ctl = ctl
        self.group = f"g-{uuid.uuid4()}"

    def play(self, story):
        async def scene():
            store = open_store(self.etcd.settings())
            try:
                return await story(store)
            finally:
                await store.close()

        return asyncio.run(scene())

    def put(self, value, group=None, key=None):
        key = key or airlock.semaphore_key(group or self.group)

        async def story(store):
            reading = await store.get(key)
            if value is None:
                await store.delete(key, reading.version)
            else:
                await store.swap(key, value, reading.version)

        self.play(story)

    def get(self, key):
        entry = self.play(lambda store: store.get(key)).entry
        return entry.value if entry else None

    def there(self, group=None):
        return self.get(airlock.semaphore_key(group or self.group))

    def here(self, group=None):
        raw = self.get(keys.semaphore_key(group or self.group))
        return semaphore.decode(raw, "") if raw else None

    def run(self, *args, group=None):
        return self.ctl("import-airlock", group or self.group, *args)

    def fails(self, *args, status=1):
        return plain(self.ctl.fails("import-airlock", self.group, *args, status=status))

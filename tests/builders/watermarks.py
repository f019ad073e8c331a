"""What a machine has seen of a store."""

from datetime import UTC, datetime, timedelta

from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.store.meter import Meter
from locksmith.store.protocol import Position

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class Gauge(Meter):
    def __init__(self):
        self.values = []

    def went_back(self, *, back):
        self.values.append(back)


def make(folder, **more) -> SeenRevision:
    return SeenRevision(Paths(folder), 3, ["http://a"], more.pop("clock", lambda: NOW), **more)


def hears(mark, revision, known=None, **more):
    cluster = more.pop("cluster", "")
    mark.answered(Position(revision, cluster), mark.sending() if known is None else known, **more)

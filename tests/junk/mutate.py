"""Broken input for everything that is read: good texts and records, mutated.

`python -m tests.junk.mutate --inputs 1000000` reads a million. Whatever is read is read, or refused by an error that is
raised on purpose, and that has no secret of the input in it.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from locksmith.cli import moments
from locksmith.config.load import load_daemon
from locksmith.errors import LocksmithError
from locksmith.fleet.forecast.plan import parse_plan
from locksmith.fleet.forecast.spread import Spread
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.records import claim, event, incident, node, order, semaphore, share, waiter
from locksmith.lock.records.waiter import Waiter
from locksmith.server.answers import Answer
from locksmith.server.requests import parse_body
from locksmith.util.jsonread import BadJsonError
from locksmith.util.secret import keep_secret
from locksmith.util.text import one_line
from locksmith.window import ical, window_set
from locksmith.window.blackout import Blackout
from locksmith.window.calendar import Calendar
from locksmith.window.duration import parse_duration
from locksmith.window.window import Window
from tests.junk.bus_readers import bus_readers
from tests.junk.file_readers import file_readers
from tests.junk.http_readers import http_readers
from tests.junk.reader import SECRET, Reader, of_text

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CLAIM = b"""{"schema":1,"kind":"reboot","nonce":"n","who":"locksmithd","hostname":"n1","since":"2026-05-01T02:00:00Z",
"boot_id":"b","userspace":5,"version":"1.2.3","state":"held","reason":"update 1.2.3","system":"debian 12","failure":"",
"acknowledged":"","taken":"2026-05-01T02:00:01Z"}"""
NODE = b"""{"schema":1,"hostname":"n1","boot_id":"b","group":"web","strategy":"etcd-lock","state":"waiting",
"since":"2026-05-01T02:00:00Z","code":"window","reason":"x","until":"2026-05-01T03:00:00Z","need":"kernel",
"need_reasons":["a"],"windows":["02:00 for 1h"],"blackouts":[],"window_opens":"2026-05-01T02:00:00Z"}"""
ORDER = b'{"schema":1,"who":"alice","since":"2026-05-01T02:00:00Z","reason":"x","until":"","slots":2,"nonce":"n"}'
RESUME = b'{"schema":1,"who":"alice","since":"2026-05-01T02:00:00Z","cluster":"a1","replaces":["b2","c3"]}'
PLACE = waiter.encode(Waiter.of(claim.decode(CLAIM, "k", "n1")))
INCIDENTS = incident.encode([incident.Incident(claim.decode(CLAIM, "k", "n1"), incident.EXPIRED, "not seen")])
EVERY = "Sat 22:00 every 2 weeks from 2026-12-05"
EVENTS = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:a\r\nDTSTART;TZID=Europe/Berlin:20261224T180000\r\nDURATION:PT4H\r\n"
    "RRULE:FREQ=YEARLY;COUNT=2\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261224\r\nDTEND:20261226\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)
SET = b'{"schema":1,"open":["Mon..Fri 02:00 for 3h"],"blackouts":["*-12-24..26"],"zone":"Europe/Berlin","who":"a"}'
JOURNAL = (
    b"""{"schema":1,"machine_id":"n1","entry":{"claim":%s,"holder":"n1","strategy":"etcd-lock","group":"web","api":3,"endpoints":["http://a"],
"phase":"requested","boot_id":"b","userspace":5,"by":"locksmithd","hooks":"","before":{"trigger":"kernel","system":"x",
"failed_units":["a.service"]}},"failure":{"at":"2026-05-01T02:00:00Z","reason":"x","version":"1","tries":2},
"done":{"version":"1","at":"2026-05-01T02:00:00Z"}}"""
    % CLAIM
)
CONFIG = b"""strategy = "etcd-lock"
group = "web"
[etcd]
endpoints = ["https://a:2379"]
timeout = "5s"
[window]
open = ["Mon..Fri 02:00 for 3h"]
blackouts = ["*-12-20..*-01-06"]
zone = "UTC"
splay = "25%"
[window-sets.nights]
open = ["23:00 for 1h"]
[triggers]
use = ["kernel"]
needed = [1]
[halt]
after = "5%"
[server.groups.web]
clients = ["10.0.0.0/8", "fd00::/8"]
limit = "20m"
"""
CALL = b'{"client_params":{"id":"978a225b3d7b40e9acd7ce9b62f68444","group":"web.eu-1"}}'
PLAN = b"""start = "2026-12-01T12:00"
[groups.db]
machines = 300
slots = "1%"
reboot = "90s..4m"
health = "3m+-30s"
[groups.db.window]
open = ["Mon..Fri 02:00 for 3h"]
"""


class _Journal(JournalFile):
    """A journal whose file holds what it is given."""

    raw = b""

    def _load(self) -> bytes | None:
        return self.raw


def _journal(raw: bytes) -> object:
    journal = _Journal(Paths(), "n1")
    journal.raw = raw
    return journal.read()


def _call(raw: bytes) -> object:
    found = parse_body(raw)
    if isinstance(found, Answer):
        assert found.status == 400
        raise LocksmithError(found.body.decode())
    return found


def _config(paths: Paths) -> Callable[[bytes], object]:
    paths.config.parent.mkdir(parents=True)

    def read(raw: bytes) -> object:
        paths.config.write_bytes(raw)
        return load_daemon(paths, {}, {})

    return read


def readers(folder: Path) -> dict[str, Reader]:
    """Give all of them, by what they read; `folder` is for those that read files."""
    paths = Paths(folder)
    return {
        **file_readers(paths),
        **bus_readers(paths),
        **http_readers(),
        "semaphore": Reader(lambda raw: semaphore.decode(raw, "k"), (b'{"semaphore":0,"max":1,"holders":["n1"]}',)),
        "claim": Reader(lambda raw: claim.decode(raw, "k", "n1"), (CLAIM,)),
        "place in line": Reader(lambda raw: waiter.decode(raw, "k"), (PLACE,)),
        "presence": Reader(lambda raw: node.decode(raw, "k", "n1"), (NODE,)),
        "share": Reader(lambda raw: share.decode(raw, "k"), (b'{"schema":1,"percent":"10%","wrote":[3,4]}',)),
        "order": Reader(lambda raw: order.decode(raw, "k", order.FREEZE), (ORDER, RESUME)),
        "incidents": Reader(lambda raw: incident.decode(raw, "k"), (INCIDENTS,)),
        "history": Reader(event.decode, (b'{"schema":1,"at":"2026-05-01T02:00:00Z","act":"held","who":"a"}',)),
        "set of windows": Reader(lambda raw: window_set.decode(raw, "k"), (SET,)),
        "journal": Reader(_journal, (JOURNAL,)),
        "configuration": Reader(_config(paths), (CONFIG,), share=1),
        "FleetLock call": Reader(_call, (CALL,)),
        "plan": of_text(lambda text: parse_plan(text, NOW), PLAN.decode()),
        "time of --at": of_text(lambda text: moments.shown(text, NOW, UTC, "--at"), "18:30", "2026-05-01T18:30+14:00"),
        "time of --until": of_text(lambda text: moments.coming(text, NOW, UTC, "--until"), "18:30", "2026-12-24"),
        "time of --since": of_text(
            lambda text: moments.past(text, NOW, UTC, "--since"), "2d", "2026-04-24 18:30-12:00"
        ),
        "iCalendar blackouts": of_text(ical.blackouts, EVENTS),
        "iCalendar windows": of_text(lambda text: ical.windows(text, UTC), EVENTS),
        "duration": of_text(parse_duration, "1h30m", "250ms", "-1.5h", "2 weeks 3d"),
        "spread": of_text(Spread.parse, "90s..4m", "3m+-30s"),
        "calendar": of_text(Calendar.parse, "2nd Tue *-1,4-* 22:00 UTC", "*-*~1..3 02..04:0/15:30.5", "weekly", EVERY),
        "window": of_text(Window.parse, "Mon..Fri 02:00 Europe/Berlin for 3h"),
        "blackout": of_text(Blackout.parse, "2026-12-24 18:00..2026-12-27 06:00 UTC", "last Fri", "Fri 12:00 for 12h"),
    }


def run(inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Read so many; give how many of each were read. `AssertionError`: one was refused in no way that is meant."""
    rng, known, read = Random(seed), readers(folder), Counter[str]()
    names = [name for name, reader in known.items() for _ in range(reader.share)]
    logging.disable()
    keep_secret(SECRET)
    for _ in range(inputs):
        name = rng.choice(names)
        reader = known[name]
        raw = reader.mutate(rng.choice(reader.good), rng)
        try:
            reader.read(raw)
            read[f"{name}: read"] += 1
        except (LocksmithError, BadJsonError) as error:
            read[f"{name}: refused"] += 1
            if SECRET in one_line(str(error)):
                raise AssertionError(f"{name} shows a secret: {raw!r}") from error
        except ValueError as error:
            if type(error) is not ValueError:
                raise AssertionError(f"{name}: {raw!r}") from error
            read[f"{name}: refused"] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {raw!r}") from error
    logging.disable(logging.NOTSET)
    return read


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = run(asked.inputs, asked.seed, Path(folder) / "root")
    seconds = time.monotonic() - began
    sys.stdout.write(f"{asked.inputs:,} inputs of seed {asked.seed} in {seconds:.0f} s, and no traceback\n")
    sys.stdout.writelines(f"{number:>12,}  {name}\n" for name, number in sorted(seen.items()))


if __name__ == "__main__":
    main()

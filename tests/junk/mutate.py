"""Broken input for everything that is read: good texts and records, mutated.

`python -m tests.junk.mutate --inputs 1000000` reads a million. Whatever is read is read, or refused by an error that is
raised on purpose.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from locksmith import fleet, halt, history, node, orders, semaphore, share, waiter
from locksmith.config import load_daemon
from locksmith.errors import LocksmithError
from locksmith.forecast.plan import parse_plan
from locksmith.forecast.spread import Spread
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.jsonread import BadJsonError
from locksmith.waiter import Waiter
from locksmith.window import window_set
from locksmith.window.blackout import Blackout
from locksmith.window.calendar import Calendar
from locksmith.window.duration import parse_duration
from locksmith.window.window import Window

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CLAIM = b"""{"schema":1,"kind":"reboot","nonce":"n","who":"locksmithd","hostname":"n1","since":"2026-05-01T02:00:00Z",
"boot_id":"b","userspace":5,"version":"1.2.3","state":"held","reason":"update 1.2.3","system":"debian 12","trouble":"",
"acknowledged":"","taken":"2026-05-01T02:00:01Z"}"""
NODE = b"""{"schema":1,"hostname":"n1","boot_id":"b","group":"web","strategy":"etcd-lock","state":"waiting",
"since":"2026-05-01T02:00:00Z","code":"window","reason":"x","until":"2026-05-01T03:00:00Z","wish":"kernel",
"wish_reasons":["a"],"windows":["02:00 for 1h"],"blackouts":[],"window_opens":"2026-05-01T02:00:00Z"}"""
ORDER = b'{"schema":1,"who":"alice","since":"2026-05-01T02:00:00Z","reason":"x","until":"","slots":2,"nonce":"n"}'
PLACE = waiter.encode(Waiter.of(fleet.decode(CLAIM, "k", "n1")))
INCIDENTS = halt.encode([halt.Incident(fleet.decode(CLAIM, "k", "n1"), halt.EXPIRED, "not seen")])
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
"""
PLAN = b"""start = "2026-12-01T12:00"
[groups.db]
machines = 300
slots = "1%"
reboot = "90s..4m"
health = "3m+-30s"
[groups.db.window]
open = ["Mon..Fri 02:00 for 3h"]
"""
TOKENS = [
    *(b"null", b"true", b"-1", b"1e999", b"9" * 40, b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\ud800", b"\\u0000"),
    *(b"\xff", b"\xc3", b"\x00", b"..", b"/", b"~", b"*", b"for", b"2nd", b"last", b"Sun", b"99", b"%", b"+-", b"\n"),
    *(b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59-23:59", b"2199-12-31", b"UTC", b"Europe/../Berlin"),
]


@dataclass(frozen=True)
class Reader:
    """What reads something, and what it reads when all is well."""

    read: Callable[[bytes], object]
    good: tuple[bytes, ...]


def _of_text(read: Callable[[str], object], *good: str) -> Reader:
    return Reader(lambda raw: read(raw.decode(errors="surrogateescape")), tuple(text.encode() for text in good))


class _Journal(JournalFile):
    """A journal whose file holds what it is given."""

    raw = b""

    def _load(self) -> bytes | None:
        return self.raw


def _journal(raw: bytes) -> object:
    journal = _Journal(Paths(), "n1")
    journal.raw = raw
    return journal.read()


def _config(folder: Path) -> Callable[[bytes], object]:
    paths = Paths(folder)
    paths.config.parent.mkdir(parents=True)

    def read(raw: bytes) -> object:
        paths.config.write_bytes(raw)
        return load_daemon(paths, {}, {})

    return read


def readers(folder: Path) -> dict[str, Reader]:
    """Give all of them, by what they read; `folder` is for those that read files."""
    return {
        "semaphore": Reader(lambda raw: semaphore.decode(raw, "k"), (b'{"semaphore":0,"max":1,"holders":["n1"]}',)),
        "claim": Reader(lambda raw: fleet.decode(raw, "k", "n1"), (CLAIM,)),
        "place in line": Reader(lambda raw: waiter.decode(raw, "k"), (PLACE,)),
        "presence": Reader(lambda raw: node.decode(raw, "k", "n1"), (NODE,)),
        "share": Reader(lambda raw: share.decode(raw, "k"), (b'{"schema":1,"percent":"10%","wrote":[3,4]}',)),
        "order": Reader(lambda raw: orders.decode(raw, "k", orders.FREEZE), (ORDER,)),
        "incidents": Reader(lambda raw: halt.decode(raw, "k"), (INCIDENTS,)),
        "history": Reader(history.decode, (b'{"schema":1,"at":"2026-05-01T02:00:00Z","act":"held","who":"a"}',)),
        "set of windows": Reader(lambda raw: window_set.decode(raw, "k"), (SET,)),
        "journal": Reader(_journal, (JOURNAL,)),
        "configuration": Reader(_config(folder), (CONFIG,)),
        "plan": _of_text(lambda text: parse_plan(text, NOW), PLAN.decode()),
        "duration": _of_text(parse_duration, "1h30m", "250ms", "-1.5h"),
        "spread": _of_text(Spread.parse, "90s..4m", "3m+-30s"),
        "calendar": _of_text(Calendar.parse, "2nd Tue *-1,4-* 22:00 UTC", "*-*~1..3 02..04:0/15:30.5", "weekly"),
        "window": _of_text(Window.parse, "Mon..Fri 02:00 Europe/Berlin for 3h"),
        "blackout": _of_text(Blackout.parse, "2026-12-24 18:00..2026-12-27 06:00 UTC", "last Fri", "Fri 12:00 for 12h"),
    }


def mutate(good: bytes, rng: Random) -> bytes:
    """Break something, once or a few times."""
    raw = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, end = sorted((rng.randint(0, len(raw)), rng.randint(0, len(raw))))
        match rng.randrange(5):
            case 0:
                raw[at:end] = b""
            case 1:
                raw[at:at] = rng.choice(TOKENS)
            case 2:
                raw[at : at + rng.randint(1, 12)] = rng.choice(TOKENS)
            case 3:
                raw[at:at] = raw[at : min(end, at + 60)]
            case _ if raw:
                raw[at % len(raw)] = rng.randrange(256)
    return bytes(raw)


def run(inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Read so many; give how many of each were read. `AssertionError`: one was refused in no way that is meant."""
    rng, known, read = Random(seed), readers(folder), Counter[str]()
    # Files are slow: the configuration has its share.
    names = [name for name in known for _ in range(1 if name == "configuration" else 4)]
    for _ in range(inputs):
        name = rng.choice(names)
        raw = mutate(rng.choice(known[name].good), rng)
        try:
            known[name].read(raw)
            read[f"{name}: read"] += 1
        except (LocksmithError, BadJsonError):
            read[f"{name}: refused"] += 1
        except ValueError as error:
            if type(error) is not ValueError:
                raise AssertionError(f"{name}: {raw!r}") from error
            read[f"{name}: refused"] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {raw!r}") from error
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

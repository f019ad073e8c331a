"""One daemon with a clock that is wrong, by libfaketime; the clock of the machine, and of all others, is right."""

from pathlib import Path

from tests.harness.node import Node

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
LACKING = "a wrong clock needs the Debian package libfaketime"


def set_clock(node: Node, offset: str) -> None:
    """Set the clock of the node's daemon off by so much, also while it runs; its monotonic clock stays what it is.

    A daemon that was started before the first call keeps its clock.
    """
    file = node.paths.root / "clock"
    file.write_text(offset)
    node.environ |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Otherwise each wait of Python's GIL takes seconds while a second thread runs, as the one of the metrics does.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }

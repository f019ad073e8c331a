"""Runs a program for the daemon and outlives the daemon: `python -m locksmith.host.supervise PLACE LIMIT PROGRAM...`.

This is a separate process, with systemd in a separate unit. So neither the daemon's sandbox nor its restart affects the
program. PLACE.lock has the pid and is locked while the program runs; PLACE.json has its end. Its output goes to
standard output, bounded; the last line is the reason that operators are told.
"""

import codecs
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

from locksmith.util.secret import redact

MOST_OUTPUT = 64 * 1024
"""Characters of output that reach the log; the others are counted."""
LONGEST_REASON = 400
"""Characters of the last line that are kept."""
MOST_SAID = 8 * 1024
"""Characters of standard output, from its beginning, that are kept for the caller."""
LONGEST_LINE = 4096
"""Characters of a line that wait for its end: a secret is found only in a whole line."""
LAST_WORDS = 0.5
"""Seconds to empty the pipe after the program has ended: a process that it started may keep the pipe open."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a program that has run too long."""
NOT_STARTED = 127


class Output:
    """The output of a program: bounded on its way to the log, printable, its beginning and its last line kept.

    What looks like a secret is left out of the log and of the last line.
    """

    def __init__(self, sink: int) -> None:
        self._sink = sink
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {False: decoder(errors="replace"), True: decoder(errors="replace")}
        self._left = MOST_OUTPUT
        self._dropped = 0
        self._tail = ""
        self._line = ""
        self.said = ""
        """The beginning of the standard output."""

    def take(self, raw: bytes, *, error: bool) -> None:
        """Pass on the bytes that came, on standard output or on standard error."""
        read = self._decoders[error].decode(raw)
        text = "".join(char if char.isprintable() or char in "\n\t" else "?" for char in read)
        self._tail = (self._tail + text)[-4 * LONGEST_REASON :]
        if not error:
            self.said += text[: MOST_SAID - len(self.said)]
        shown = text[: self._left]
        self._left -= len(shown)
        self._dropped += len(text) - len(shown)
        self._line += shown
        whole = len(self._line) if len(self._line) > LONGEST_LINE else self._line.rfind("\n") + 1
        self._show(self._line[:whole])
        self._line = self._line[whole:]

    def _show(self, text: str) -> None:
        if text:
            os.write(self._sink, "".join(map(redact, text.splitlines(keepends=True))).encode())

    def end(self) -> None:
        """Show the rest, and say how many characters were left out."""
        self._show(self._line)
        if self._dropped:
            os.write(self._sink, f"\n({self._dropped} more characters of output are not shown)\n".encode())

    @property
    def reason(self) -> str:
        """The last line that is not empty."""
        last = next((line.strip() for line in reversed(self._tail.splitlines()) if line.strip()), "")
        last = redact(last)
        # A word that is cut in two may be half a secret.
        return last if len(last) <= LONGEST_REASON else last[-LONGEST_REASON:].partition(" ")[2] or "(one long word)"


def supervise(place: Path, limit: float, command: list[str]) -> int:
    """Run the program to its end, or to its limit, and write down its end."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    output = Output(sys.stdout.fileno())
    try:
        process = subprocess.Popen(  # noqa: S603 - an operator's own program, from a folder that is root's
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        _write(place, NOT_STARTED, f"it cannot be started: {error.strerror}")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: _end(process))
    late = _follow(process, output, time.monotonic() + limit)
    output.end()
    code = process.returncode
    reason = f"it ran longer than {limit:g} s" if late else output.reason
    _write(place, code, reason, late=late, said=output.said)
    return 0 if code == 0 and not late else 1


def _follow(process: "subprocess.Popen[bytes]", output: Output, ends: float) -> bool:
    """Read until the program itself has ended, without its leftover processes. True: it had to be ended."""
    late = False
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe.fileno(), selectors.EVENT_READ, data=pipe is process.stderr)
        while process.poll() is None:
            if time.monotonic() > ends:
                late = True
                _end(process)
            if not selector.get_map():
                time.sleep(0.02)  # closed: only the end of the program is missing
            _take(selector, output, 0.05)
        last = time.monotonic() + LAST_WORDS
        while time.monotonic() < last and _take(selector, output, 0.0):
            pass
    _signal(process, signal.SIGKILL)
    return late


def _take(selector: selectors.BaseSelector, output: Output, wait: float) -> bool:
    """Read what has come; False: nothing has. What is on standard error is the last word."""
    ready = sorted(selector.select(wait), key=lambda found: found[0].data) if selector.get_map() else []
    for key, _ in ready:
        try:
            raw = os.read(key.fd, 65536)
        except BlockingIOError:
            continue
        if raw:
            output.take(raw, error=key.data)
        else:
            selector.unregister(key.fd)
    return bool(ready)


def _end(process: "subprocess.Popen[bytes]") -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal the program's session, and so all that it has started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _write(place: Path, code: int, reason: str, *, late: bool = False, said: str = "") -> None:
    new = place.with_suffix(".new")
    # Not escaped: a character then takes 4 bytes at most, not 12, and the whole stays within what its reader takes.
    end = {"code": code, "reason": reason, "late": late, "said": said}
    new.write_text(json.dumps(end, ensure_ascii=False), encoding="utf-8")
    new.rename(place.with_suffix(".json"))


def main() -> None:
    """Run what the command line says, and exit."""
    sys.exit(supervise(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))


if __name__ == "__main__":
    main()

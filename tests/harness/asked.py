"""The real `locksmithctl` on a terminal of its own, which asks and waits for an answer."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.harness.etcd import wait_until

TOOL = Path(sys.executable).with_name("locksmithctl")


class Asked:
    """One call of the tool. `said` is all that it has written."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self.said = ""

    def asks(self, question: str) -> None:
        """Wait for a question, which nothing was written after."""
        wait_until(lambda: question in self._read() and self.said.rstrip().endswith("[y/N]:"), f"it asks: {question}")

    def answer(self, words: str) -> None:
        """Type an answer."""
        self.said = ""
        os.write(self._terminal, f"{words}\n".encode())

    def ends(self) -> int:
        """Wait for its end; give its exit status."""
        wait_until(lambda: self._read() is not None and self._process.poll() is not None, "it ends")
        self._read()
        assert "Traceback" not in self.said
        return self._process.returncode

    def _read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            while piece := os.read(self._terminal, 65536):
                self.said += piece.decode(errors="replace").replace("\r\n", "\n")
        return self.said


@contextlib.contextmanager
def asked(flags: Sequence[str], *command: str) -> Iterator[Asked]:
    """Run a command; it is ended with the block."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([TOOL, *flags, *command], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.set_blocking(ours, False)
        try:
            yield Asked(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

"""A built locksmith-server on an etcd of its own: it serves its pages, and ends when it is told to."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness.etcd import Etcd, wait_until


def settings_of(etcd: Etcd, port: int) -> str:
    """Give its configuration, with one group."""
    return (
        f'strategy = "off"\netcd.endpoints = {json.dumps(etcd.endpoints)}\n'
        f'[server]\nport = {port}\n[server.groups.web]\nclients = ["127.0.0.1"]\n'
    )


def serves_and_ends(command: Sequence[str | Path], environ: Mapping[str, str], port: int, log: Path) -> None:
    """Start it, fetch a page, its style and its state, and end it. `log` has what it says."""
    with log.open("ab") as out:
        running = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
    try:
        wait_until(lambda: _fetched(port, "/healthz") == b"ok\n", "the server answers", 60)
        assert b"Sign in" in _fetched(port, "/sign-in")
        assert b"{" in _fetched(port, "/static/page.css")
    finally:
        running.terminate()
        ended = running.wait(20)
    assert ended == 0, log.read_text()


def _fetched(port: int, path: str) -> bytes:
    url = f"http://127.0.0.1:{port}{path}"
    with contextlib.suppress(ConnectionError, urllib.error.URLError), urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())
    return b""

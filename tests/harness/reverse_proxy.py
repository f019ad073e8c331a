"""A real nginx or HAProxy in front of a server, configured as docs/server.md shows it.

with ReverseProxy("nginx", server.port, folder) as proxy:
    urlopen(f"{proxy.url}/healthz")
"""

import os
import re
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from tests.harness.certificates import KeyPair
from tests.harness.etcd import wait_until
from tests.harness.ports import free_ports

DOCS: Final = Path(__file__).parents[2] / "docs/server.md"
NGINX, HAPROXY = (shutil.which(name, path="/usr/sbin:/usr/bin") or "" for name in ("nginx", "haproxy"))
PREFIX: Final = "/locksmith"
_USER: Final = "user root root;" if os.getuid() == 0 else ""
"""The workers write the bodies of requests into the folder of the test."""
STARTS_WITHIN, STOPS_WITHIN = 20.0, 10.0

_NGINX: Final = """
{user}
pid {folder}/pid;
error_log stderr;
worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}{tls};
{example}
  }}
}}
"""
_HAPROXY: Final = """
defaults
    mode http
    timeout connect 5s
    timeout client 90s
frontend test
    bind 127.0.0.1:{port}{tls}
{example}
"""


def example(language: str) -> str:
    """Give the example of docs/server.md in a language, which has to be there once."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


class ReverseProxy:
    """A proxy for what is below `/locksmith`. `strips`: it removes that from each path. With `pair` it speaks TLS."""

    def __init__(self, program: str, server: int, folder: Path, *, strips: bool, pair: KeyPair | None = None) -> None:
        self._program, self._folder = program, folder
        [self.port] = free_ports(1)
        self.url = f"{'https' if pair else 'http'}://127.0.0.1:{self.port}{PREFIX}"
        write = self._nginx if program == "nginx" else self._haproxy
        self._command = write(server, pair, strips=strips)

    def _nginx(self, server: int, pair: KeyPair | None, *, strips: bool) -> list[str]:
        tls = f" ssl;\n    ssl_certificate {pair.cert};\n    ssl_certificate_key {pair.key}" if pair else ""
        target = f"http://127.0.0.1:{server}"
        shown = example("nginx").replace("http://127.0.0.1:3333", f"{target}/" if strips else target)
        assert target in shown
        file = self._folder / "nginx.conf"
        file.write_text(_NGINX.format(user=_USER, folder=self._folder, port=self.port, tls=tls, example=shown))
        return [NGINX, "-c", str(file), "-g", "daemon off;", "-e", "stderr"]

    def _haproxy(self, server: int, pair: KeyPair | None, *, strips: bool) -> list[str]:
        both = self._folder / "haproxy.pem"
        if pair:
            both.write_text(Path(pair.cert).read_text() + Path(pair.key).read_text())
        head, _, shown = example("haproxy").partition("use_backend")
        assert "frontend" in head
        shown = f"    use_backend{shown}".replace("127.0.0.1:3333", f"127.0.0.1:{server}")
        removes = next(line for line in shown.splitlines() if "replace-path" in line)
        shown = shown if strips else shown.replace(removes, "")
        file = self._folder / "haproxy.cfg"
        file.write_text(_HAPROXY.format(port=self.port, tls=f" ssl crt {both}" if pair else "", example=shown))
        return [HAPROXY, "-db", "-f", str(file)]

    def __enter__(self) -> Self:
        log = self._folder / "proxy.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out)
        try:
            wait_until(self._listens, f"{self._program} listens; it said: {log.read_text()}", STARTS_WITHIN)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "proxy.log").read_text()
        with closing(socket.socket()) as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

"""A network of the tests' own: one switch, and for each address a network namespace that one machine joins.

So machines have the addresses and the ports that a page names, and nothing outside sees them.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

PACKAGE = "iproute2"
"""The Debian package of `ip`."""
_SWITCH = "ip link set lo up && ip link add switch type bridge && ip link set switch up"
_CABLE = "ip link add port{n} type veth peer name eth0 netns {pid} && ip link set port{n} master switch up"
_MACHINE = "ip link set lo up && ip address add {address}/24 dev eth0 && ip link set eth0 up"


def hindrance() -> str:
    """Why there can be no network here, in a sentence; empty when there can."""
    return "" if shutil.which("ip") else f"a network of the tests' own needs the Debian package {PACKAGE}"


@contextmanager
def own_network(*addresses: str) -> Iterator[Mapping[str, Path]]:
    """Give the file of the network namespace that has each address; they reach each other, and nothing else."""
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace())
        _inside(switch, _SWITCH)
        found = {}
        for number, address in enumerate(addresses):
            pid = stack.enter_context(_namespace())
            _inside(switch, _CABLE.format(n=number, pid=pid))
            _inside(pid, _MACHINE.format(address=address))
            found[address] = Path(f"/proc/{pid}/ns/net")
        yield found


@contextmanager
def _namespace() -> Iterator[int]:
    """Give the process that keeps a new namespace."""
    keeper = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert keeper.stdout is not None
        with keeper.stdout:
            if not keeper.stdout.readline():
                raise AssertionError("no network namespace was made")
        yield keeper.pid
    finally:
        keeper.kill()
        keeper.wait()


def _inside(pid: int, script: str) -> None:
    subprocess.run(["nsenter", "--target", str(pid), "--net", "sh", "-ec", script], check=True, timeout=30)

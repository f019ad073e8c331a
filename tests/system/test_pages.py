"""The commands of README.md and docs/install*.md for each kind of node, pasted: the nodes then reboot in turn.

A block is marked by a comment in the line before it: `<!-- node: debian12 debian13 -->`. Every kind of a page becomes a
machine with the file that the page installs, in /root, and with addresses as in the pages: 10.0.0.1 is an etcd. What a
test replaces: `VERSION` by that of this working tree, and for `flatcar` the image by a folder with the same files, as a
container has no loop devices.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from release import bundle, deb
from tests.harness import bundles, debs, image, network, pages
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.network import own_network
from tests.system.layers import Layers, NewMachine

STORE = "10.0.0.1"
NODES = ("10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14")
LIMIT = 180.0
LOG = "_SYSTEMD_UNIT=locksmithd.service"
CONFIGURATION = f'strategy = "etcd-lock"\ngroup = "web"\netcd.endpoints = ["http://{STORE}:2379"]\n'
"""The file `locksmith.toml` in /root, for pages that only say where it goes."""
IMAGE = re.compile(r"^install -D -m 644 (\S+\.raw) (\S+)\.raw$", re.MULTILINE)
PYTHON = ("usr/bin/python3*", "usr/bin/py3*", "usr/lib/python3*", "usr/share/python3", "opt/locksmith")

Maker = Callable[[Callable[[Layers], Machine], Path], Machine]
"""Takes what makes a machine of layers, and a folder of its own; gives the machine, off, with the file in /root."""


def debian(suite: str) -> Maker:
    """A fresh Debian, with the dependencies that apt would fetch."""

    def make(machine_of: Callable[[Layers], Machine], _folder: Path) -> Machine:
        if hindrance := debs.hindrance():
            pytest.skip(hindrance)
        flavour = {image.BOOKWORM: deb.BOOKWORM, image.TRIXIE: deb.TRIXIE}[suite]
        base = image.base(suite)
        machine = machine_of((image.with_debian_packages(base, *debs.NEEDS[flavour]), base))
        shutil.rmtree(machine.root / "opt/locksmith")
        shutil.copy(debs.built(flavour), machine.root / "root")
        return machine

    return make


def without_python(machine_of: Callable[[Layers], Machine], folder: Path) -> Machine:
    """A root without Python whose /usr can be written, with the archive of the self-contained build."""
    payload = _payload(folder)
    base = image.base()
    machine = machine_of((image.with_debian_packages(base, "xz-utils"), base))
    for pattern in PYTHON:
        for path in machine.root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    bundle.archive(payload, machine.root / "root" / f"{payload.name}.tar.xz")
    return machine


def flatcar(machine_of: Callable[[Layers], Machine], folder: Path) -> Machine:
    """A root as on Flatcar: a read-only /usr without Python and with an older locksmith; with the extension."""
    payload = _payload(folder)
    base = image.base()
    machine = machine_of((image.without_python(base), base))
    with bundle.as_extension(payload, "locksmith") as root:
        shutil.copytree(root, machine.root / "root" / f"{payload.name}.raw", symlinks=True)
    return machine


def _payload(folder: Path) -> bundle.Payload:
    if hindrance := bundles.hindrance():
        pytest.skip(hindrance)
    return bundles.built(folder)


KINDS: Mapping[str, Maker] = {
    "debian12": debian(image.BOOKWORM),
    "debian13": debian(image.TRIXIE),
    "nopython": without_python,
    "flatcar": flatcar,
}


def as_here(text: str, machine: Machine) -> str:
    """Put in what differs from the page, as the module says."""
    names = [path.name for path in (machine.root / "root").iterdir() if path.name.startswith("locksmith-")]
    for name in names:
        version = re.fullmatch(r"locksmith-(.*)-x86-64\.(?:raw|tar\.xz)", name)
        text = text.replace("VERSION", version[1]) if version else text
    return IMAGE.sub(r"mkdir -p /var/lib/extensions && cp -r \1 \2", text)


@pytest.fixture
def addresses() -> Iterator[Mapping[str, Path]]:
    if reason := network.hindrance():
        pytest.skip(reason)
    with own_network(STORE, *NODES) as found:
        yield found


@pytest.fixture
def store(new_machine: NewMachine, bare: Layers, addresses: Mapping[str, Path]) -> Machine:
    machine = new_machine("store", (image.with_debian_packages(bare[-1], "etcd-server"), *bare))
    machine.network = addresses[STORE]
    machine.write("etc/hosts", "127.0.0.1 localhost\n")
    url = f"http://{STORE}:2379"
    machine.write("etc/default/etcd", f"ETCD_LISTEN_CLIENT_URLS={url}\nETCD_ADVERTISE_CLIENT_URLS={url}\n")
    machine.start()
    machine.wait_booted()
    return machine


def paste(machine: Machine, block: pages.Marked) -> None:
    """Run the commands of a block one after the other, as a reader does."""
    machine.run("bash", "-ec", f"cd /root\n{as_here(block.text, machine)}", limit=LIMIT)


def is_idle(machine: Machine) -> bool:
    shown = machine.run("systemctl", "show", "locksmithd", "--value", "--property=StatusText").stdout
    return shown.startswith("idle")


def has_released(machine: Machine) -> bool:
    return "releasing the slot" in machine.journal(LOG)


WITH_BLOCKS = [page for page in pages.pages_for_nodes() if pages.marked(page)]


@pytest.mark.parametrize("page", WITH_BLOCKS)
@pytest.mark.usefixtures("store")
def test_the_nodes_of_a_page_join_a_rollout_after_its_commands(
    page: str, new_machine: NewMachine, addresses: Mapping[str, Path], tmp_path: Path
):
    free = iter(NODES)
    fleet: dict[Machine, pages.Marked] = {}
    for number, (kind, block) in enumerate([(kind, one) for one in pages.marked(page) for kind in one.kinds]):

        def machine_of(layers: Layers, name: str = f"n{number}") -> Machine:
            machine = new_machine(name, layers)
            machine.network = addresses[next(free)]
            machine.write("root/locksmith.toml", CONFIGURATION)
            return machine

        folder = tmp_path / str(number)
        folder.mkdir()
        fleet[KINDS[kind](machine_of, folder)] = block
    for machine in fleet:
        machine.start()
    for machine, block in fleet.items():
        machine.wait_booted()
        paste(machine, block)
    for machine in fleet:
        wait_until(partial(is_idle, machine), limit=LIMIT, what=f"{machine.name} is idle")
    for machine in fleet:
        machine.run("locksmithctl", "request", "--reason", "all at once")
    for machine in fleet:
        machine.wait_booted(boots=2, limit=LIMIT)
        wait_until(partial(has_released, machine), limit=LIMIT, what=f"{machine.name} is healthy")
    away = sorted((one.begins, one.ends) for machine in fleet for one in machine.outages())
    assert len(away) == len(fleet)
    assert all(before[1] < after[0] for before, after in pairwise(away)), "one after another"

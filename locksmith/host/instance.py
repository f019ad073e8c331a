"""The id of the present run: random, kept in /run, so a restarted daemon finds it and a reboot forgets it.

Two containers of a host share the kernel's boot id. A copied container also shares the machine id and the host name.
They do not share the id of the run.
"""

import secrets

from locksmith.host.paths import Paths

LENGTH = 16


def read_instance(paths: Paths) -> str:
    """Give the id of this run, made at the first call; empty: /run/locksmith cannot be written."""
    path = paths.run / "instance"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="ascii") as file:
            file.write(secrets.token_hex(LENGTH // 2))
    except FileExistsError:
        pass
    except OSError:
        return ""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text if len(text) == LENGTH else ""

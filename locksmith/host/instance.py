"""Which run of this machine's /run this is: a random id that a reboot forgets, and a restarted daemon finds again.

Two containers of one host share the kernel's boot id, and a copied one the machine id and the host name as well; this
id they do not share.
"""

import secrets

from locksmith.host.paths import Paths

LENGTH = 16


def read_instance(paths: Paths) -> str:
    """Give the id of this run, made at the first call in it; empty where /run/locksmith cannot be written."""
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

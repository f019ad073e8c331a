"""The Ignition file of contrib/flatcar, `python -m release.ignition`: the translation of its Butane file.

Butane itself makes the same from it. This knows what that one file has (Butane's specification flatcar 1.1.0, which
becomes Ignition 3.4.0), and refuses everything else.
"""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from release.source import REPOSITORY

BUTANE = REPOSITORY / "contrib/flatcar/locksmith.bu"
IGNITION = BUTANE.with_suffix(".ign")
UNESCAPED = "-_.!~*'()"
"""What a data URL of Butane has as it is, besides letters and digits."""
SAME = {
    "links": {"path", "target", "hard"},
    "units": {"name", "enabled", "dropins"},
    "dropins": {"name", "contents"},
    "verification": {"hash"},
}
"""What both formats write alike."""


def translate(butane: dict[str, Any]) -> dict[str, Any]:
    """Give the Ignition configuration; `ValueError`: there is more in it than this knows."""
    if (butane.pop("variant", None), butane.pop("version", None)) != ("flatcar", "1.1.0"):
        raise ValueError("the Butane file is not of flatcar 1.1.0")
    _only(butane, {"storage", "systemd"})
    storage, systemd = butane["storage"], butane["systemd"]
    _only(storage, {"files", "links"})
    _only(systemd, {"units"})
    for unit in systemd["units"]:
        _only(unit, SAME["units"])
        for dropin in unit.get("dropins", []):
            _only(dropin, SAME["dropins"])
    for link in storage["links"]:
        _only(link, SAME["links"])
    return {
        "ignition": {"version": "3.4.0"},
        "storage": {"files": [_file(file) for file in storage["files"]], "links": storage["links"]},
        "systemd": {"units": systemd["units"]},
    }


def _file(file: dict[str, Any]) -> dict[str, Any]:
    _only(file, {"path", "mode", "contents"})
    contents = file["contents"]
    if "inline" in contents:
        _only(contents, {"inline"})
        # Named although it is empty: otherwise a configuration that this one is merged into would give its own.
        return {**file, "contents": {"compression": "", "source": _data_url(contents["inline"].encode())}}
    _only(contents, {"source", "verification"})
    _only(contents["verification"], SAME["verification"])
    return file


def _data_url(content: bytes) -> str:
    """Give the shorter one, as Butane does. Butane also tries gzip, whose bytes differ from tool to tool."""
    return min("data:," + quote(content, safe=UNESCAPED), "data:;base64," + base64.b64encode(content).decode(), key=len)


def _only(found: dict[str, Any], known: set[str]) -> None:
    if unknown := set(found) - known:
        raise ValueError(f"this does not know how to translate {', '.join(sorted(unknown))}")


def translation(butane: Path = BUTANE) -> str:
    """Give the text of the Ignition file."""
    return json.dumps(translate(yaml.safe_load(butane.read_text())), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    IGNITION.write_text(translation())

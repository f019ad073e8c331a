"""The files of contrib/flatcar: the Ignition file is valid, and it is the translation of the Butane file.

Neither Butane nor Ignition is to be had here. The rules are those of Ignition's published specification 3.4
(`config/v3_4`), for the parts that the file has; the translator knows those of Butane's.
"""

import json
import re
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
import yaml

from release import bundle
from release.ignition import BUTANE, IGNITION, translate, translation

TEXT, FLAG, NUMBER = str, bool, int
RESOURCE = {"source": TEXT, "compression": TEXT, "httpHeaders": list, "verification": {"hash": TEXT}}
NODE = {"path": TEXT, "overwrite": FLAG, "user": {"id": NUMBER, "name": TEXT}, "group": {"id": NUMBER, "name": TEXT}}
SCHEMA = {
    "ignition": {"version": TEXT, "config": dict, "timeouts": dict, "security": dict, "proxy": dict},
    "storage": {
        "files": [NODE | {"mode": NUMBER, "contents": RESOURCE, "append": [RESOURCE]}],
        "directories": [NODE | {"mode": NUMBER}],
        "links": [NODE | {"target": TEXT, "hard": FLAG}],
    },
    "systemd": {
        "units": [
            {
                "name": TEXT,
                "enabled": FLAG,
                "mask": FLAG,
                "contents": TEXT,
                "dropins": [{"name": TEXT, "contents": TEXT}],
            }
        ]
    },
}
"""Each key, and what it has. A list has one entry: what each of its entries is."""
REQUIRED = {"path", "name", "version"}
HASH = re.compile(r"sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128}")
UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)")


def problems(found, schema=SCHEMA, place="$"):
    """Say what the structure breaks."""
    if isinstance(schema, dict):
        if not isinstance(found, dict):
            return [f"{place} is no object"]
        said = [f"{place}.{key} is unknown" for key in found.keys() - schema.keys()]
        said += [f"{place}.{key} is missing" for key in schema.keys() & REQUIRED - found.keys()]
        return said + [
            one for key in found.keys() & schema.keys() for one in problems(found[key], schema[key], f"{place}.{key}")
        ]
    if isinstance(schema, list):
        if not isinstance(found, list):
            return [f"{place} is no list"]
        return [one for number, entry in enumerate(found) for one in problems(entry, schema[0], f"{place}[{number}]")]
    return [] if type(found) is schema else [f"{place} is of another type"]


def contradictions(config):
    """Say what the values break."""
    storage, units = config["storage"], config["systemd"]["units"]
    nodes = [node for kind in ("files", "directories", "links") for node in storage.get(kind, [])]
    paths = [node["path"] for node in nodes]
    said = [f"{path} is there twice" for path in set(paths) if paths.count(path) > 1]
    said += [f"{path} is not absolute, or not clean" for path in paths if not re.fullmatch(r"(/[^/]+)+", path)]
    said += [f"the mode of {node['path']}" for node in nodes if not 0 <= node.get("mode", 0) <= 0o7777]
    said += [f"{link['path']} has no target" for link in storage.get("links", []) if not link.get("target")]
    for file in storage["files"]:
        contents = file["contents"]
        if urlsplit(contents["source"]).scheme not in {"http", "https", "tftp", "s3", "gs", "arn", "data"}:
            said.append(f"the source of {file['path']}")
        if contents.get("compression", "") not in {"", "gzip"}:
            said.append(f"the compression of {file['path']}")
        if not HASH.fullmatch(contents.get("verification", {}).get("hash", "sha256-" + "0" * 64)):
            said.append(f"the hash of {file['path']}")
    said += [f"the unit {unit['name']}" for unit in units if not UNIT.fullmatch(unit["name"])]
    dropins = [dropin["name"] for unit in units for dropin in unit.get("dropins", [])]
    return said + [f"the drop-in {name}" for name in dropins if not name.endswith(".conf")]


@pytest.fixture
def config():
    return json.loads(IGNITION.read_text())


def test_the_ignition_file_is_the_translation_of_the_butane_file():
    assert IGNITION.read_text() == translation(), "run `python -m release.ignition`"


def test_it_keeps_the_specification(config):
    assert config["ignition"]["version"] == "3.4.0"
    assert problems(config) == []
    assert contradictions(config) == []


def test_what_breaks_the_specification_is_seen(config):
    config["storage"]["files"][0]["mode"] = "0644"
    config["storage"]["links"][0].pop("path")
    config["systemd"]["unit"] = []
    assert sorted(problems(config)) == [
        "$.storage.files[0].mode is of another type",
        "$.storage.links[0].path is missing",
        "$.systemd.unit is unknown",
    ]


def test_values_that_ignition_refuses_are_seen(config):
    config["storage"]["files"][0]["contents"]["verification"]["hash"] = "sha256-0"
    config["storage"]["files"][1]["path"] = "etc/locksmith"
    config["systemd"]["units"][0]["name"] = "locksmithd"
    assert len(contradictions(config)) == 3


def test_what_the_translator_does_not_know_is_refused():
    butane = yaml.safe_load(BUTANE.read_text())
    butane["storage"]["directories"] = [{"path": "/opt"}]
    with pytest.raises(ValueError, match="directories"):
        translate(butane)


def test_the_files_of_the_node_arrive_as_they_are_written(config):
    written = {file["path"]: file["contents"] for file in yaml.safe_load(BUTANE.read_text())["storage"]["files"]}
    for file in config["storage"]["files"]:
        kind, _, content = file["contents"]["source"].partition(",")
        if kind == "data:":
            assert unquote_to_bytes(content).decode() == written[file["path"]]["inline"]


def test_the_image_comes_with_its_hash_and_has_a_name_that_systemd_sysext_takes(config):
    image, link = config["storage"]["files"][0], config["storage"]["links"][0]
    assert image["contents"]["verification"]["hash"].startswith("sha256-")
    assert image["path"].endswith("/locksmith-0.1.0-x86-64.raw")
    assert (link["path"], link["target"]) == ("/etc/extensions/locksmith.raw", image["path"])


def test_the_drop_ins_are_those_of_start_at_boot(config):
    script = bundle.START_AT_BOOT.read_text()
    for unit in config["systemd"]["units"]:
        [dropin] = unit["dropins"]
        assert f"/etc/systemd/system/{unit['name']}.d/{dropin['name']} <<'END'\n{dropin['contents']}END\n" in script


def test_the_daemon_of_the_image_does_not_start_without_the_extension(config):
    [daemon] = [unit for unit in config["systemd"]["units"] if unit["name"] == "locksmithd.service"]
    lines = [line for line in daemon["dropins"][0]["contents"].splitlines() if not line.startswith("#")]
    assert lines == ["[Unit]", f"ConditionPathExists=/{bundle.HOME}/installed.d/sysext"]

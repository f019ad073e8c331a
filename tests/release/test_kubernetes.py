"""contrib/kubernetes, as kustomize renders it, against the models that Kubernetes' API description is the source of.

The Python client's models have each field of the API with its type. They let an unknown field pass, so each is looked
up here. Not checked: what only a server checks, such as whether a ServiceAccount exists.
"""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from release import image
from release.source import REPOSITORY

BASE = REPOSITORY / "contrib/kubernetes"
KUBECTL = REPOSITORY / ".cache/kubectl/sid/usr/bin/kubectl"
KINDS = {
    "v1 Namespace": "V1Namespace",
    "v1 ServiceAccount": "V1ServiceAccount",
    "v1 ConfigMap": "V1ConfigMap",
    "rbac.authorization.k8s.io/v1 ClusterRole": "V1ClusterRole",
    "rbac.authorization.k8s.io/v1 ClusterRoleBinding": "V1ClusterRoleBinding",
    "apps/v1 DaemonSet": "V1DaemonSet",
}
SIMPLE: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "object": (object,)}


@pytest.fixture(scope="session")
def documents() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="`make manifests` installs what reads the manifests")
    kubectl = str(KUBECTL) if KUBECTL.exists() else shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl: `make manifests` fetches it")
    done = subprocess.run([kubectl, "kustomize", BASE], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    [daemonset] = (one for one in documents if one["kind"] == "DaemonSet")
    spec = daemonset["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def problems(value: Any, kind: str, where: str) -> Iterator[str]:
    """Say what of a value is not what the API has."""
    from kubernetes.client import models  # noqa: PLC0415 - takes seconds to load

    if found := re.fullmatch(r"List\[(.*)\]", kind):
        if not isinstance(value, list):
            yield f"{where} must be a list"
            return
        for index, one in enumerate(value):
            yield from problems(one, found[1], f"{where}[{index}]")
    elif found := re.fullmatch(r"Dict\[str, (.*)\]", kind):
        for name, one in value.items():
            yield from problems(one, found[1], f"{where}.{name}")
    elif kind in SIMPLE:
        if not isinstance(value, SIMPLE[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where} must be {kind} and is {value!r}"
    elif (model := getattr(models, kind, None)) is not None:
        yield from problems_of_model(value, model, where)


def problems_of_model(value: Any, model: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be an object"
        return
    fields = {wire: name for name, wire in model.attribute_map.items()}
    known = {fields[wire]: one for wire, one in value.items() if wire in fields}
    try:
        model(**known)
    except ValueError as error:
        yield f"{where}: {error}"
    for wire, one in value.items():
        if wire in fields:
            yield from problems(one, model.openapi_types[fields[wire]], f"{where}.{wire}")
        else:
            yield f"{where}.{wire} is no field of {model.__name__}"


def test_every_object_is_as_the_api_describes_it(documents):
    pytest.importorskip("kubernetes", reason="`make manifests` installs the models of the API")
    assert {f"{one['apiVersion']} {one['kind']}" for one in documents} == set(KINDS)
    for one in documents:
        assert list(problems(one, KINDS[f"{one['apiVersion']} {one['kind']}"], one["kind"])) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hostPid",), True),
        (("hostPID",), "yes"),
        (("containers", 0, "volumeMounts", 0, "mountpropagation"), "None"),
        (("containers", 0, "volumeMounts", 0, "mountPath"), None),
        (("volumes", 0, "hostPath", "path"), ["/"]),
    ],
)
def test_a_field_that_the_api_does_not_have_is_found(pod, path, value):
    pytest.importorskip("kubernetes", reason="`make manifests` installs the models of the API")
    import copy  # noqa: PLC0415

    broken = copy.deepcopy(pod)
    *way, last = path
    place = broken
    for step in way:
        place = place[step]
    place[last] = value
    assert list(problems(broken, "V1PodSpec", "spec")) != []


def test_the_pods_share_their_machine_and_can_do_little_else(pod):
    assert pod["hostPID"] is True
    assert pod["hostNetwork"] is True
    [container] = pod["containers"]
    for one in (container, *pod["initContainers"]):
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    assert mounts[image.MACHINE]["readOnly"] is True
    assert mounts[image.MACHINE]["mountPropagation"] == "HostToContainer"
    volumes = {one["name"]: one for one in pod["volumes"]}
    for folder in image.OWN_FOLDERS.keys() - {"etc/locksmith"}:
        assert volumes[mounts[f"/{folder}"]["name"]]["hostPath"]["path"] == f"/{folder}"


def test_no_user_of_a_node_can_have_its_pod_ended(pod):
    """A probe of a port of the machine's network fails while any user floods that port."""
    [container] = pod["containers"]
    assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container)


def test_the_role_allows_each_thing_that_the_hook_does_and_no_more(documents):
    [role] = (one for one in documents if one["kind"] == "ClusterRole")
    allowed = {(what, verb) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}
    assert allowed == {
        ("nodes", "get"),
        ("nodes", "patch"),
        ("pods", "get"),
        ("pods", "list"),
        ("pods/eviction", "create"),
        ("daemonsets", "get"),
    }


def test_the_configuration_is_valid_and_begins_with_a_dry_run(documents):
    """A node may need a reboot already when the base is applied."""
    [config] = (one for one in documents if one["kind"] == "ConfigMap")
    settings = tomllib.loads(config["data"]["locksmith.toml"])
    assert (settings["strategy"], settings["dry-run"]) == ("etcd-lock", True)
    assert "DRAIN_TIMEOUT=600" in config["data"]["kubernetes-node.conf"]


def test_the_containerfile_puts_the_hook_where_the_daemon_looks():
    text = Path(BASE / "Containerfile").read_text()
    assert "/usr/share/locksmith/hooks/kubernetes-node" in text
    assert "COPY --from=kubectl" in text

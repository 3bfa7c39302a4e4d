"""The manifests: each is what Kubernetes takes, and they agree with one another, the settings and the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.deploy.test_prometheus import names, registry  # noqa: F401  (a fixture)
from tests.docs.examples import ROOT
from transport.admin import pages
from transport.cli.serve import STOP_SECONDS
from transport.settings import load

BASE = ROOT / "deploy" / "kubernetes" / "base"
MONITORED = BASE.with_name("monitored")
VERSION = "1.34"  # the oldest that has all of it
APART = {"voxtree", "voxtree-admin"}
BYTES_A_SECOND = 32_000  # of audio at 16 kHz

SETTINGS = load(BASE / "voxtree.toml", environ={}).settings


def documents(folder: Path) -> list[dict[str, Any]]:
    """What a kustomization lists, in its order."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    files = [folder / name for name in listed if (folder / name).is_file()]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


ALL = [*documents(BASE), *documents(MONITORED)]


def the(kind: str, name: str = "voxtree") -> dict[str, Any]:
    (found,) = (each for each in ALL if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


POD = the("Deployment")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def size(text: str) -> int:
    number, unit = text[:-2], text[-2:]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


# ---- what Kubernetes takes


@pytest.mark.parametrize("document", ALL, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}")
def test_each_document_is_what_kubernetes_takes(document: dict[str, Any]) -> None:
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        return  # not of Kubernetes itself
    whole = yaml.safe_load(yaml.safe_dump(document))
    if document["kind"] == "Deployment":  # kustomize's `labels` puts these into it
        labels = {"app.kubernetes.io/name": "voxtree"}
        whole["spec"]["selector"] = {"matchLabels": labels}
        whole["spec"]["template"]["metadata"] = {"labels": labels}
    kubernetes_validate.validate(whole, VERSION, strict=True)


def test_every_file_is_listed() -> None:
    for folder in (BASE, MONITORED):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        listed = {name for name in kustomization["resources"] if not name.startswith("..")}
        generated = {name for one in kustomization.get("configMapGenerator", ()) for name in one["files"]}
        assert {file.name for file in folder.iterdir()} == {"kustomization.yaml", *listed, *generated}


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert pod["runAsUser"] > 0
    assert POD["automountServiceAccountToken"] is False
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}\n" in user


# ---- how they agree


def test_ports_are_those_of_the_settings_and_everything_names_them() -> None:
    assert {"speech": SETTINGS.server.port, "admin": SETTINGS.admin.port} == PORTS
    assert (SETTINGS.server.host, SETTINGS.admin.host) == ("0.0.0.0", "0.0.0.0")
    services = [port for name in APART for port in the("Service", name)["spec"]["ports"]]
    policy = the("NetworkPolicy")["spec"]["ingress"]
    named = {port["targetPort"] for port in services} | {port["port"] for rule in policy for port in rule["ports"]}
    assert named == set(PORTS)
    assert the("ServiceMonitor")["spec"]["endpoints"][0]["port"] in {port["name"] for port in services}


def test_probes_ask_the_admin_port_for_what_it_answers() -> None:
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/startupz", "port": "admin"},
        "liveness": {"path": "/livez", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }
    answered = Path(pages.__file__).read_text()
    paths = [*(probe["path"] for probe in probes.values()), the("ServiceMonitor")["spec"]["endpoints"][0]["path"]]
    assert [path for path in paths if f'"{path}"' not in answered] == []


def test_there_is_time_to_drain() -> None:
    sleep = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = SETTINGS.server.shutdown_timeout
    assert POD["terminationGracePeriodSeconds"] == drain + 30 >= sleep + drain + STOP_SECONDS
    assert sleep > CONTAINER["readinessProbe"]["periodSeconds"] * CONTAINER["readinessProbe"]["failureThreshold"]


def test_files_of_the_settings_are_mounted() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert CONTAINER["args"] == ["serve", "--config", "/etc/voxtree/voxtree.toml"]
    assert volumes[mounts["/etc/voxtree"]]["configMap"]["name"] == "voxtree"
    secret, told = (
        volumes[mounts["/run/secrets/voxtree"]]["secret"]["secretName"],
        (BASE / "kustomization.yaml").read_text(),
    )
    assert f"create secret generic {secret} " in told
    for file in (SETTINGS.journal.dsn_file, SETTINGS.admin.token_file, SETTINGS.auth.keys_file):
        assert file is not None
        folder, _, key = file.rpartition("/")
        assert folder == "/run/secrets/voxtree"
        assert re.search(rf"--from-(literal={key}=|file={key}\b)", told)
    credentials = the("ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert credentials == {"name": secret, "key": (SETTINGS.admin.token_file or "").rpartition("/")[2]}
    assert SETTINGS.session.spool_dir in mounts


def test_there_is_room_for_the_audio_of_all_sessions() -> None:
    most, session = SETTINGS.session.max_sessions or 0, SETTINGS.session
    rooms = {volume["name"]: size(volume["emptyDir"]["sizeLimit"]) for volume in POD["volumes"] if "emptyDir" in volume}
    requests, limits = CONTAINER["resources"]["requests"], CONTAINER["resources"]["limits"]
    assert most * session.spool_seconds * BYTES_A_SECOND <= rooms["spool"]
    assert sum(rooms.values()) <= size(limits["ephemeral-storage"])
    assert most * session.log_seconds * BYTES_A_SECOND + 90 * 2**20 <= size(limits["memory"])
    assert {name: requests[name] for name in limits} == limits  # so that nothing is taken away
    assert "cpu" not in limits
    assert sum(backend.max_streams for backend in SETTINGS.backends) >= most


def test_pods_are_added_before_they_are_full_by_a_metric_that_exists(registry: CollectorRegistry) -> None:  # noqa: F811
    spec = the("HorizontalPodAutoscaler")["spec"]
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"]["name"] in names(registry)
    assert int(metric["pods"]["target"]["averageValue"]) == 0.7 * (SETTINGS.session.max_sessions or 0)
    assert spec["scaleTargetRef"]["name"] == the("Deployment")["metadata"]["name"]
    assert the("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
    assert spec["minReplicas"] > the("PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_the_pods_reach_what_the_settings_name() -> None:
    out = {port["port"] for rule in the("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}
    assert out == {53, 5432, *(int(backend.address.rpartition(":")[2]) for backend in SETTINGS.backends)}

"""Each overlay as it would be sent to Kubernetes."""

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from standalone.command_line import commands
from tests.compose.stack import ROOT
from tests.deployment.manifests import CA, OVERLAYS, Manifest
from tests.deployment.tools import kustomize

COMPONENTS = "\ncomponents:" + "".join(
    f"\n  - ../../components/{one.name}" for one in sorted((ROOT / "k8s/components").iterdir())
)
RENDERED = [f"{overlay}{components}" for overlay in OVERLAYS for components in ("", " with all")]
HOW = {"local": [], "production": ["--rabbitmq", "rabbitmq.realtime.svc", "--ca", CA]}
"""By overlay: the options with which its secrets are made, as docs/kubernetes.md tells."""


@pytest.fixture(scope="session", params=RENDERED)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One overlay with secrets, as it would be sent."""
    overlay, _, components = str(request.param).partition(" ")
    copy = tmp_path_factory.mktemp(overlay) / "k8s"
    shutil.copytree(ROOT / "k8s", copy, ignore=shutil.ignore_patterns("*_*", "*.json"))
    if components:
        with (copy / "overlays" / overlay / "kustomization.yaml").open("a") as kustomization:
            kustomization.write(COMPONENTS)
    secrets = copy / "overlays" / overlay / "secrets"
    made = CliRunner().invoke(commands, ["secrets", str(secrets), *HOW[overlay]])
    assert made.exit_code == 0, made.output
    (directory := copy / "rendered").mkdir()
    path = directory / f"{overlay}.yaml"
    path.write_text(kustomize(copy / "overlays" / overlay))
    return path


@pytest.fixture(scope="session")
def manifests(rendered: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(rendered.read_text()) if one]

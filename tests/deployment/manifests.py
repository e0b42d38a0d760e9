"""What is looked for in the manifests for Kubernetes."""

from collections.abc import Iterator
from typing import Any

OVERLAYS = ("local", "production")
CA = "/run/secrets/realtime/rabbitmq-ca.crt"

Manifest = dict[str, Any]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for one in manifests:
        if one["kind"] in {"Deployment", "StatefulSet"}:
            yield one["metadata"]["name"], one["spec"]["template"]


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector means these labels; of expressions only ``In`` is known."""
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )

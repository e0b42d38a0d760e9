"""What is locked in requirements/ fits pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = DECLARED["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
WANTED: dict[str, list[str]] = {
    "build": DECLARED["build-system"]["requires"],
    "main": PROJECT["dependencies"],
    "otel": PROJECT["dependencies"] + EXTRAS["otel"],
    "bench": PROJECT["dependencies"] + EXTRAS["bench"],
    "test": [*PROJECT["dependencies"], *EXTRAS["otel"], *EXTRAS["bench"], *EXTRAS["test"]],
}


def entries(lock: str) -> list[str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return [one for one in text.replace("\\\n", " ").splitlines() if one.strip()]


def pins(lock: str) -> dict[str, set[str]]:
    """Return the versions of each package: some have another one for another Python."""
    found: dict[str, set[str]] = {}
    for entry in entries(lock):
        name, _, version = entry.split()[0].partition("==")
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("lock", WANTED)
def test_every_dependency_is_locked_at_a_version_that_the_project_allows(lock: str) -> None:
    locked = pins(lock)
    for wanted in map(Requirement, WANTED[lock]):
        if wanted.name == PROJECT["name"]:
            continue
        versions = locked.get(canonicalize_name(wanted.name), set())
        assert versions, f"{wanted} is not in the lock: run `make lock`"
        assert all(wanted.specifier.contains(one) for one in versions), (wanted, versions)


@pytest.mark.parametrize("lock", WANTED)
def test_every_entry_is_one_version_with_hashes_and_nothing_else_is_in_the_file(lock: str) -> None:
    form = re.compile(r"[a-z0-9-]+==[\w.+]+( ; [^#:]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [one for one in entries(lock) if not form.fullmatch(one)] == []


@pytest.mark.parametrize("lock", ["main", "otel", "bench"])
def test_what_is_tested_and_audited_holds_all_that_is_installed(lock: str) -> None:
    tested = set(entries("test"))
    assert set(entries(lock)) <= tested

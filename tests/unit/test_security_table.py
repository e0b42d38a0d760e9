"""docs/security.md names tests; those are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOLD = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_is_there():
    tests = "".join(path.read_text() for path in ROOT.glob("tests/*/*.py"))
    named = set(re.findall(r"`(test_\w+)`", TOLD))

    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:tests|gateway)/[\w/.]+)`", TOLD))

    assert {name for name in named if not (ROOT / name).exists()} == set()

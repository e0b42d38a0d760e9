"""docs/settings.md and .env.example say what the code does: standalone/reference.py."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from shared.settings import KNOWN, SECONDS, Settings, load
from standalone import reference
from standalone.reference import entries, example, page, values_of

CHECKOUT = Path(__file__).parents[2]


def test_every_setting_has_a_heading_and_a_meaning():
    found = {entry.variable: entry for entry in entries()}

    assert list(found) == [f"REALTIME_{field.name.upper()}" for field in fields(Settings)]
    assert all(entry.heading and entry.meaning for entry in found.values())


@pytest.mark.parametrize(
    ("path", "made"), [("docs/settings.md", page), (".env.example", example)], ids=str
)
def test_the_documents_are_those_that_the_code_makes(path, made):
    assert (CHECKOUT / path).read_text() == made(), "run make docs"


def test_the_example_names_every_variable_and_sets_none():
    lines = [line for line in example().splitlines() if line and not line.startswith("# ")]

    assert all(line.startswith("#REALTIME_") for line in lines)
    assert {line[1:].partition("=")[0] for line in lines} == set(KNOWN)


def test_what_the_example_tells_is_the_default():
    told = dict(
        line[1:].split("=", 1) for line in example().splitlines() if line.startswith("#REALTIME_")
    )
    needed = {
        "REALTIME_JWT_SECRET": "Nobody would think of this, surely",
        "REALTIME_JWT_ISSUER": "https://id.example.com",
        "REALTIME_ALLOWED_ORIGINS": "https://app.example.com",
        "REALTIME_NODE_ID": "n1",
    }

    assert load({**told, **needed}) == load(needed)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Annotated[int, Meta(ge=1, le=9000)], "1 to 9,000"),
        (Annotated[float, Meta(ge=0), SECONDS], "0 or more seconds"),
        (bool, "`true`, `false`"),
        (list[str], "list"),
        (str, ""),
    ],
)
def test_bounds_and_units_are_those_of_the_type(hint, words):
    assert values_of(hint) == words


def test_a_type_without_words_is_refused():
    with pytest.raises(TypeError, match="say in words"):
        values_of(bytes)


def test_a_link_becomes_plain_text_in_the_example():
    assert reference.LINK.sub(r"\1", "see [modes](operations.md#modes).") == "see modes."

"""The table of docs/protocol.md that names what shows each promise, against the tests there are."""

import ast
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from standalone.asyncapi import document

CHECKOUT = Path(__file__).parents[2]
TESTS = CHECKOUT / "tests"
STOREY = "protocol"
"""A test that is named without its file is one of this storey, which runs on both brokers."""

LAST = {"A": 8, "T": 9, "H": 4, "R": 4, "P": 3, "C": 2, "B": 4, "S": 7, "X": 7}
ROWS = [f"{letter}{number + 1}" for letter, last in LAST.items() for number in range(last)]
MESSAGES = [name.replace(".", " ") for name in document()["components"]["messages"]]

Table: TypeAlias = list[tuple[str, list[str]]]
"""Promises, each with the tests that are named for it."""


def entries(page: str) -> Table:
    """Return what the tables of the last section say."""
    section = page.split("\n## What shows it\n")[1]
    lines = [line for line in section.splitlines() if line.startswith("|") and "test_" in line]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [(row[0].replace("`", ""), row[-1].replace("`", "").split(", ")) for row in cells]


@cache
def read(path: Path) -> list[str]:
    """Return the names of the tests in a file."""
    found = ast.walk(ast.parse(path.read_text()))
    functions = (one for one in found if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    return [one.name for one in functions if one.name.startswith("test_")]


def storey_tests() -> list[str]:
    return [name for path in sorted((TESTS / STOREY).glob("test_*.py")) for name in read(path)]


def is_there(name: str) -> bool:
    file, _, test = name.rpartition("::")
    return test in (read(TESTS / file) if file else storey_tests())


def out_of_place(table: Table) -> list[str]:
    """Return the promises that stand there never, or more than once, or are none."""
    counts = Counter(promise for promise, _ in table)
    expected = Counter([*ROWS, *MESSAGES])
    return sorted((expected - counts) + (counts - expected))


def without_proof(table: Table) -> list[str]:
    """Return the promises that nothing shows on both brokers."""
    return [promise for promise, named in table if all("::" in one for one in named)]


def not_there(table: Table) -> list[str]:
    """Return the tests that are named and do not exist."""
    return sorted({one for _, named in table for one in named if not is_there(one)})


def unnamed(table: Table) -> list[str]:
    """Return the tests of the storey that no promise names."""
    return sorted(set(storey_tests()) - {one for _, named in table for one in named})


@pytest.fixture(scope="module")
def table() -> Table:
    return entries((CHECKOUT / "docs/protocol.md").read_text())


def test_every_row_and_every_type_of_message_stands_in_the_table_once(table):
    assert out_of_place(table) == []


def test_every_promise_is_shown_on_both_brokers(table):
    assert without_proof(table) == []


def test_every_test_that_is_named_exists_and_its_name_is_no_other_tests(table):
    assert not_there(table) == []
    assert len(storey_tests()) == len(set(storey_tests()))


def test_every_test_of_the_protocol_is_named(table):
    assert unnamed(table) == []


@pytest.mark.parametrize(
    ("rule", "change", "told"),
    [
        (out_of_place, lambda table: table[1:], ["A1"]),
        (out_of_place, lambda table: [*table, ("X7", ["test_a"])], ["X7"]),
        (out_of_place, lambda table: [*table, ("client Dance", ["test_a"])], ["client Dance"]),
        (without_proof, lambda table: [("A1", ["unit/test_a.py::test_b"])], ["A1"]),
        (not_there, lambda table: [("A1", ["test_that_is_not_there"])], ["test_that_is_not_there"]),
        (
            not_there,
            lambda table: [("A1", ["unit/test_pattern.py::test_nothing"])],
            ["unit/test_pattern.py::test_nothing"],
        ),
        (unnamed, lambda table: [], sorted(set(storey_tests()))),
    ],
)
def test_a_table_that_is_wrong_is_seen(
    table, rule: Callable[[Table], list[str]], change: Callable[[Table], Table], told: list[str]
):
    assert rule(change(table)) == told

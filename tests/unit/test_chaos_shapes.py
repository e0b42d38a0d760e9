"""The shapes in which a cluster of three is parted."""

import random
from collections.abc import Iterable

import pytest

from tests.chaos.shapes import Cut, Shape, between, halves, link, one_alone, random_halves, ring

NODES = ("a", "b", "c")
A_ALONE = between("a", "bc")
TRIES = 50


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - to be repeated


def shapes_of(shape: Shape) -> set[Cut]:
    """Return what a shape may do."""
    return {shape(NODES, chance(seed)) for seed in range(TRIES)}


def seen_by(cut: Cut, node: str) -> set[str]:
    return {one for one in NODES if one == node or link(one, node) not in cut}


def sizes(cuts: Iterable[Cut]) -> set[tuple[int, ...]]:
    """Return how many nodes each node sees, itself among them."""
    return {tuple(sorted(len(seen_by(cut, node)) for node in NODES)) for cut in cuts}


def test_a_link_is_the_same_from_both_its_ends() -> None:
    assert link("a", "b") == link("b", "a")


def test_halves_are_always_the_first_node_against_the_others() -> None:
    assert shapes_of(halves) == {A_ALONE}


def test_halves_are_two_sides_that_are_whole_in_themselves() -> None:
    four = ("a", "b", "c", "d")
    assert halves(four, chance(1)) == between("ab", "cd")


@pytest.mark.parametrize("shape", [random_halves, one_alone])
def test_chance_may_part_any_node_from_the_others(shape: Shape) -> None:
    assert shapes_of(shape) == {A_ALONE, between("b", "ac"), between("c", "ab")}
    assert sizes(shapes_of(shape)) == {(1, 2, 2)}


def test_in_a_ring_every_node_sees_a_majority_and_no_two_see_the_same() -> None:
    assert sizes(shapes_of(ring)) == {(2, 2, 3)}
    for cut in shapes_of(ring):
        assert len({frozenset(seen_by(cut, node)) for node in NODES}) == len(NODES)


@pytest.mark.parametrize("shape", [halves, random_halves, ring, one_alone])
def test_the_same_seed_parts_the_same_nodes(shape: Shape) -> None:
    assert shape(NODES, chance(7)) == shape(NODES, chance(7))

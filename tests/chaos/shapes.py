"""PURE: which links are cut. The four shapes in which RabbitMQ's Jepsen suite divides a cluster."""

import random
from collections.abc import Callable, Collection, Sequence
from itertools import product
from typing import TypeAlias

Link: TypeAlias = frozenset[str]
"""The two nodes at its ends."""

Cut: TypeAlias = frozenset[Link]

Shape: TypeAlias = Callable[[Sequence[str], random.Random], Cut]


def link(one: str, other: str) -> Link:
    """Return the link between two nodes."""
    return frozenset({one, other})


def between(some: Collection[str], others: Collection[str]) -> Cut:
    """Return all links from the ones to the others."""
    return frozenset(link(one, other) for one, other in product(some, others))


def halves(nodes: Sequence[str], _rng: random.Random) -> Cut:
    """Always the same two sides, the smaller one first."""
    middle = len(nodes) // 2
    return between(nodes[:middle], nodes[middle:])


def random_halves(nodes: Sequence[str], rng: random.Random) -> Cut:
    """Two sides of chance."""
    return halves(rng.sample(nodes, len(nodes)), rng)


def ring(nodes: Sequence[str], rng: random.Random) -> Cut:
    """Every one of three nodes sees a majority, and no two see the same: one link is cut."""
    return frozenset({link(*rng.sample(nodes, 2))})


def one_alone(nodes: Sequence[str], rng: random.Random) -> Cut:
    """Some node sees no other."""
    alone = rng.choice(nodes)
    return between([alone], [one for one in nodes if one != alone])

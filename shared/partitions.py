"""PURE: which partition serves a name, and which replica should own it.

A partition is a slice of the topics, or of the users.
"""

from collections import Counter
from collections.abc import Collection
from functools import partial
from hashlib import blake2b
from zlib import crc32


def partition_of(name: str, partitions: int) -> int:
    """Return the number, from 0, of the partition that serves this topic or user id.

    It depends on nothing but the two arguments, so every process of a cluster agrees.
    """
    return crc32(name.encode()) % partitions


def shares(partitions: int, replicas: Collection[str]) -> dict[int, str]:
    """Return which replica should own each partition; no two differ by more than one.

    Rendezvous hashing with a bound: whoever computes it for the same replicas gets the same, and
    when one comes or goes few partitions change hands.
    """
    if not replicas:
        return {}
    share, larger = divmod(partitions, len(replicas))
    held: Counter[str] = Counter()
    owners: dict[int, str] = {}
    for partition in range(partitions):
        most = share + (larger > 0)
        free = [replica for replica in replicas if held[replica] < most]
        owner = owners[partition] = max(free, key=partial(_weight, partition))
        held[owner] += 1
        larger -= held[owner] > share
    return owners


def _weight(partition: int, replica: str) -> bytes:
    return blake2b(f"{partition} {replica}".encode(), digest_size=8).digest()

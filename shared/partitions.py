"""Which partition serves a name. A partition is a slice of the topics, or of the users."""

from zlib import crc32


def partition_of(name: str, partitions: int) -> int:
    """Return the number, from 0, of the partition that serves this topic or user id.

    It depends on nothing but the two arguments, so every process of a cluster agrees.
    """
    return crc32(name.encode()) % partitions

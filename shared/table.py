"""PURE: text for a terminal: in aligned columns, and free of what would steer it."""

from collections.abc import Iterable, Sequence


def aligned(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a line for the heads and one for each row, in columns."""
    lines = [heads, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def escaped(text: str) -> str:
    """Return text whose line breaks, escape sequences and the like are spelt out (W25)."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)

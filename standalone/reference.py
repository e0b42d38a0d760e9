"""``realtime settings``: docs/settings.md and .env.example, from the class ``Settings`` alone.

Names, defaults, bounds and units are the types'; the words are the texts under the fields, and the
headings the comments between them.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import msgspec
from msgspec.inspect import (
    BoolType,
    FloatType,
    IntType,
    ListType,
    Metadata,
    StrType,
    UnionType,
)

from shared import settings
from shared.settings import Settings

PAGE = """# Settings

Environment variables, read once at the start. `make docs` writes this page from the code.

- Each that is no path itself can also be given as `<NAME>_FILE`, the path of a file that holds the
  value; not both. That is better for secrets.
- An empty variable counts as not set. Lists are separated by commas.
- All processes read all of them and check them alike. Only a gateway must know in production whose
  tokens and which origins to believe.
- Give every process of a cluster the same values, but for host, ports and node id.
- Wrong settings end a process at once with status 2, and a line for each. A `REALTIME_*` variable
  that is not known is a warning in the log. `realtime check-config` tells both
  [before the start](operations.md#before-the-start).
"""
EXAMPLE = """# Every setting with its default, made by `make docs`; docs/settings.md says more.
# Take the # away from what you set. Secrets are better in files: REALTIME_JWT_SECRET_FILE.
"""
HEADING = re.compile(r"^    # -+ (.+?) -+$")
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
CODE = re.compile(r"^`([^`]+)`")


@dataclass(frozen=True)
class Entry:
    """One setting, as both documents tell of it."""

    heading: str
    variable: str
    default: str
    """In Markdown; empty if there is none."""

    values: str
    """Which it may have."""

    meaning: str


def entries() -> Iterator[Entry]:
    """Return every setting, in the order of the class."""
    source = Path(settings.__file__).read_text(encoding="utf-8")
    lines, heading, done = source.splitlines(), "", 0
    hints = get_type_hints(Settings, include_extras=True)
    defaults = {field.name: field.default for field in fields(Settings)}
    for name, line, text in _documented(ast.parse(source)):
        for found in filter(None, map(HEADING.match, lines[done:line])):
            heading = found[1]
        done = line
        meaning, _, default = (part.strip() for part in text.partition("Default:"))
        yield Entry(
            heading,
            f"REALTIME_{name.upper()}",
            default or _shown(defaults[name]),
            values_of(hints[name]),
            meaning,
        )


def _documented(module: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Return each field of the class, its line, and the text under it on one line."""
    [body] = [
        node.body
        for node in module.body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    ]
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split())
            yield node.target.id, node.lineno, text


def _shown(default: Any) -> str:
    if default is None or default in {"", ()}:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def values_of(hint: Any) -> str:
    """Return which values a type allows, in words."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{name}`" for name in get_args(hint))
    return _in_words(msgspec.inspect.type_info(hint))


def _in_words(kind: msgspec.inspect.Type) -> str:
    match kind:
        case Metadata(type=inner, extra={"unit": unit}):
            return f"{_in_words(inner)} {unit}"
        case Metadata(type=inner, extra={"secret": True}):
            return "list of secrets" if isinstance(inner, ListType) else "a secret"
        case Metadata(type=inner) | UnionType(types=(IntType() as inner, _)):
            return _in_words(inner)
        case UnionType():
            return "JSON"
        case IntType(ge=least, le=most) | FloatType(ge=least, le=most):
            return f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        case BoolType():
            return "`true`, `false`"
        case ListType():
            return "list"
        case StrType():
            return ""
    raise TypeError(f"say in words what {kind} allows")


def page() -> str:
    """Return docs/settings.md."""
    written, heading = [PAGE], ""
    for entry in entries():
        if entry.heading != heading:
            heading = entry.heading
            head = "| variable | default | values | meaning |\n|---|---|---|---|"
            written.append(f"\n## {heading}\n\n{head}\n")
        cells = (f"`{entry.variable}`", entry.default, entry.values, entry.meaning)
        written.append(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|\n")
    return "".join(written)


def example() -> str:
    """Return .env.example."""
    written, heading = [EXAMPLE], ""
    for entry in entries():
        if entry.heading != heading:
            heading = entry.heading
            written.append(f"\n# ---- {heading} ----\n")
        default = CODE.match(entry.default)
        told = entry.meaning
        if entry.values:
            told += f" Values: {entry.values}."
        if entry.default and (default is None or default[0] != entry.default):
            told += f" Default: {entry.default}."
        plain = LINK.sub(r"\1", told).replace("`", "")
        written.append("\n" + textwrap.indent(textwrap.fill(plain, 96), "# "))
        written.append(f"\n#{entry.variable}={default[1] if default else ''}\n")
    return "".join(written)


@click.command("settings")
@click.option("--env", is_flag=True, help="Print the file .env.example instead.")
def print_settings(env: bool) -> None:
    """Print every setting, its default and its meaning, in Markdown."""
    click.echo(example() if env else page(), nl=False)

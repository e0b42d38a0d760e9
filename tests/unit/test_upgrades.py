"""Two releases that talk: what may change of an envelope, and what may not (docs/upgrades.md)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import NODEFAULT, Struct

from shared.messages import answers, codec, deliveries, envelopes, news, records
from shared.messages.version import ENVELOPE_VERSION
from tests.unit.builders import life
from tests.unit.test_codec import DECODER_OF, values

TABLE = Path(__file__).with_name("envelope_fields.json")
KINDS = [
    kind
    for module in (envelopes, deliveries, answers, news, records)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Struct) and kind.__module__ == module.__name__
]
RULE = (
    "A release may only append fields that have a default, and add whole envelopes with a tag of "
    "their own (docs/upgrades.md). Other releases of a running cluster, and the logs, hold the old "
    "order: put back what was there."
)


def name_of(kind: type[Struct]) -> str:
    """Return a name that no other kind has: two modules may know a ``Kept``."""
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


each_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)
some = settings(max_examples=10)


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is NODEFAULT else made()


def release(kind: type[Struct], count: int, *further: Any) -> Any:
    """Return what a release knows of an envelope that has its first fields, and further ones."""
    known = msgspec.structs.fields(kind)[:count]
    hints = get_type_hints(kind, include_extras=True)
    fields = [
        (one.name, hints[one.name], *(() if one.required else (default_of(one),))) for one in known
    ]
    tag = kind.__struct_config__.tag
    return msgspec.defstruct(kind.__name__, [*fields, *further], tag=tag, array_like=True)


def before(kind: type[Struct]) -> Iterator[Any]:
    """Return what releases knew before some of the last fields were appended."""
    known = len(kind.__struct_fields__)
    for count in range(known - len(kind.__struct_defaults__), known):
        yield release(kind, count)


def after(kind: type[Struct]) -> Any:
    """Return what a release will know that has appended one field more."""
    return release(kind, len(kind.__struct_fields__), ("later", str, "unsaid"))


def fields(one: Struct, count: int | None = None) -> list[bytes]:
    """Return the first fields, as bytes that can be compared."""
    return [codec.encode(getattr(one, name)) for name in one.__struct_fields__[:count]]


def decode(body: bytes, kind: Any) -> Any:
    """Read an envelope as its receivers do."""
    return codec.decode(body, DECODER_OF.get(kind) or msgspec.msgpack.Decoder(kind))


@each_kind
@some
@given(data=st.data())
def test_an_older_release_reads_what_this_one_says(kind, data):
    said = data.draw(values(kind))

    for older in before(kind):
        heard = decode(codec.encode(said), older)
        assert fields(heard) == fields(said, len(older.__struct_fields__))


@each_kind
@some
@given(data=st.data())
def test_this_release_reads_what_an_older_one_says_and_takes_the_defaults(kind, data):
    for older in before(kind):
        said, count = data.draw(values(older)), len(older.__struct_fields__)
        heard = decode(codec.encode(said), kind)
        assert type(heard) is kind
        assert fields(heard, count) == fields(said)
        unsaid = [codec.encode(default_of(one)) for one in msgspec.structs.fields(kind)[count:]]
        assert fields(heard)[count:] == unsaid


@each_kind
@some
@given(data=st.data())
def test_this_release_reads_what_a_newer_one_says_and_a_newer_one_reads_this(kind, data):
    newer = data.draw(values(after(kind)))
    heard = decode(codec.encode(newer), kind)
    assert type(heard) is kind
    assert fields(heard) == fields(newer, -1)

    said = data.draw(values(kind))
    understood = decode(codec.encode(said), after(kind))
    assert fields(understood, -1) == fields(said)
    assert understood.later == "unsaid"


def test_what_is_said_to_all_and_in_batches_tells_its_version():
    said = [
        envelopes.CommandBatch(life("n1"), "", []),
        deliveries.DeliveryBatch(1, 1, 1, 0, []),
        news.Lease(life("n1"), 1, 2),
        news.Heartbeat("router", "r1", 1, 2, {}, []),
    ]

    assert {one.version for one in said} == {ENVELOPE_VERSION}


# ---- the table of all fields ---------------------------------------------------------------------


def shape(kind: type[Struct]) -> dict[str, Any]:
    """Return what other releases rely on: the tag, the order, and what may be left out."""
    known, optional = list(kind.__struct_fields__), len(kind.__struct_defaults__)
    tag, must = kind.__struct_config__.tag, len(known) - optional
    return {"tag": tag, "required": known[:must], "optional": known[must:]}


def complaint(name: str, now: dict[str, Any] | None, then: dict[str, Any]) -> str:
    """Return what is wrong with a shape, compared with the one that other releases know."""
    if now is None:
        return f"{name} is gone. {RULE}"
    for part in ("tag", "required"):
        if now[part] != then[part]:
            return f"{name}: {part} was {then[part]} and is {now[part]}. {RULE}"
    if now["optional"][: len(then["optional"])] != then["optional"]:
        return f"{name}: optional was {then['optional']} and is {now['optional']}. {RULE}"
    return ""


SHAPES = {name_of(kind): shape(kind) for kind in KINDS}


def test_nothing_that_other_releases_rely_on_has_changed():
    known = json.loads(TABLE.read_text())
    wrong = [complaint(name, SHAPES.get(name), then) for name, then in known.items()]

    assert not any(wrong), "\n".join(filter(None, wrong))


def test_the_table_knows_every_field():
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(SHAPES.items())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"

    assert TABLE.read_text() == text, (
        f"{TABLE.name} must hold every envelope and every field: append what is new to it. "
        f"It should be:\n{text}"
    )


THEN = {"tag": 1, "required": ["a", "b"], "optional": ["c", "d"]}


@pytest.mark.parametrize(
    "now",
    [
        None,
        {**THEN, "tag": 2},
        {**THEN, "required": ["b", "a"]},
        {**THEN, "required": ["a"]},
        {**THEN, "required": ["a", "b", "e"]},
        {**THEN, "optional": ["d", "c"]},
        {**THEN, "optional": ["c"]},
        {**THEN, "optional": ["e", "c", "d"]},
    ],
)
def test_what_another_release_could_not_read_is_complained_of(now):
    assert RULE in complaint("envelopes.X", now, THEN)


def test_an_appended_field_with_a_default_is_no_matter():
    assert complaint("envelopes.X", {**THEN, "optional": ["c", "d", "e"]}, THEN) == ""

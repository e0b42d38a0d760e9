"""Commands that workers outside the service carry out (X1)."""

import asyncio
import json
from typing import Any

import pytest

from extensions import Ask, ExtensionError, extension
from extensions import worker as helper
from gateway import answers
from shared.broker import topology
from shared.broker.ports import Arrived
from tests.component.conftest import Start
from tests.component.working import program, working
from tests.support.embedded import PATIENCE, Place, until


@extension("X-Echo")
async def echo(ask: Ask) -> object:
    return ask.data


@extension("X-Refuse")
async def refuse(ask: Ask) -> object:
    raise ExtensionError(409, "Already done", order=7, by=ask.from_user)


@extension("X-Break")
async def broken(ask: Ask) -> object:
    raise KeyError(f"a secret of {ask.from_user}")


async def test_a_handler_of_the_setting_answers_and_then_comes_the_ack(start: Start) -> None:
    place = await start(extensions=["extensions.example"])
    alice = await place.connect("alice")
    assert await alice.ask("X-CustomAction", {"action": "special"}, id="1") == [
        {"type": "X-CustomAction", "data": {"done": "special", "for": "alice"}, "id": "1"},
        {"type": "Ack", "data": {"message_id": "1", "status": "ok"}, "id": "1"},
    ]


async def test_without_an_id_there_is_an_answer_and_no_ack(place: Place) -> None:
    alice = await place.connect("alice")
    async with working(place, echo):
        await alice.say("X-Echo", {"a": 1})
        assert await alice.hear() == {"type": "X-Echo", "data": {"a": 1}}
        assert await alice.told() == []


async def test_a_handler_is_told_who_asks_and_what_the_client_has_said(place: Place) -> None:
    asked: asyncio.Queue[Ask] = asyncio.Queue()

    @extension("X-Note")
    async def note(ask: Ask) -> object:
        asked.put_nowait(ask)
        return None

    alice = await place.connect("alice")
    async with working(place, note):
        headers = {"trace": "t", "from_user": "mallory", "connection_id": "forged"}
        result, _ = await alice.ask("X-Note", {"a": [1]}, id="n1", metadata=headers, timestamp=5)
        assert result["data"] is None
        ask = asked.get_nowait()
    assert (ask.type, ask.data, ask.id) == ("X-Note", {"a": [1]}, "n1")
    assert (ask.from_user, ask.connection_id) == ("alice", alice.id)
    assert ask.metadata == {"trace": "t", "client_timestamp": 5}
    assert ask.message_id.startswith("extension_")
    assert ask.sent_at_ms > 0


async def test_a_handler_gets_numbers_of_any_size_that_python_reads(place: Place) -> None:
    @extension("X-Large")
    async def large(ask: Ask) -> object:
        return [number > 10**300 for number in ask.data["numbers"]]

    alice = await place.connect("alice")
    async with working(place, large):
        for number, told in ((f"1e999, {10**400}, 1", [True, True, False]), ("9" * 5000, 400)):
            await alice.raw(f'{{"type":"X-Large","data":{{"numbers":[{number}]}}}}')
            data = (await alice.hear())["data"]
            assert told in (data, isinstance(data, dict) and data["code"])


async def test_the_error_of_a_handler_is_the_clients(place: Place) -> None:
    alice = await place.connect("alice")
    async with working(place, refuse):
        assert await alice.refused("X-Refuse", {}, id="r") == {
            "code": 409,
            "message": "Already done",
            "details": {"order": 7, "by": "alice", "message_id": "r"},
        }


@pytest.mark.parametrize("result", [object(), ExtensionError(400, "bad", why=object())])
async def test_a_handler_that_breaks_is_an_incident_that_its_log_names_and_no_more(
    place: Place, capsys: pytest.CaptureFixture[str], result: object
) -> None:
    @extension("X-NoJson")
    async def no_json(ask: Ask) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    alice = await place.connect("alice")
    async with working(place, broken, no_json, echo) as worker:
        for kind in ("X-Break", "X-NoJson"):
            error = await alice.refused(kind, {})
            assert error["code"] == 500
            assert set(error["details"]) == {"incident", "message_id"}
            assert "secret" not in json.dumps(error)
            logged = capsys.readouterr().out
            assert error["details"]["incident"] in logged
        await until(lambda: not worker._in_hand, "what broke counts as answered")
        assert (await alice.ask("X-Echo", {}))[0]["data"] == {}


async def test_a_handler_that_takes_too_long_is_given_up_and_its_outcome_is_unknown(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "HANDLER_SECONDS", 0.05)
    gone = asyncio.Event()

    @extension("X-Slow")
    async def slow(ask: Ask) -> object:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return None

    alice = await place.connect("alice")
    async with working(place, slow):
        error = await alice.refused("X-Slow", {})
    assert (error["code"], error["details"]["outcome"]) == (503, "unknown")
    assert error["details"]["retry_after_ms"] == 1000
    assert gone.is_set()


async def test_a_handler_that_waits_holds_up_nobody(place: Place) -> None:
    go_on = asyncio.Event()

    @extension("X-Wait")
    async def wait(ask: Ask) -> object:
        if ask.data.get("first"):
            await go_on.wait()
        return ask.from_user

    alice, bob = await place.people("alice", "bob")
    async with working(place, wait):
        await alice.say("X-Wait", {"first": True}, id="w")
        assert (await bob.ask("X-Wait", {}))[0]["data"] == "bob"
        assert (await alice.broadcast("a", 1))["status"] == "delivered"
        go_on.set()
        assert [one["type"] for one in await alice.answers("w")] == ["X-Wait", "Ack"]


async def test_so_many_commands_of_a_type_are_in_hand_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "CONCURRENT", 3)
    go_on, most = asyncio.Event(), 0

    @extension("X-Count")
    async def count(ask: Ask) -> object:
        nonlocal most
        most = max(most, len(worker._in_hand))
        await go_on.wait()
        return None

    alice = await place.connect("alice")
    async with working(place, count) as worker:
        for number in range(9):
            await alice.say("X-Count", {}, id=str(number))
        await until(lambda: len(worker._in_hand) == 3, "three are in hand")
        await alice.told()
        go_on.set()
        assert [one["type"] for one in await alice.hears(18)].count("Ack") == 9
    assert most == 3


async def test_without_a_worker_it_is_404(place: Place) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("X-Nobody", {})
    assert (error["code"], error["message"]) == (404, "No worker for X-Nobody")


async def test_without_an_answer_in_time_it_is_503_and_the_outcome_is_unknown(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.05)
    alice = await place.connect("alice")
    async with program(place, "X-Silent") as given:
        error = await alice.refused("X-Silent", {})
        assert (error["code"], error["details"]["outcome"]) == (503, "unknown")
        assert given.qsize() == 1


async def test_more_than_may_wait_for_a_worker_is_503_and_was_not_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "EXTENSION_LIMIT", 1)
    async with program(place, "X-Full"):
        pass  # it was there once: commands wait for it
    alice = await place.connect("alice")
    await alice.say("X-Full", {}, id="waits")
    error = await alice.refused("X-Full", {})
    assert error["code"] == 503
    assert "outcome" not in error["details"]
    async with working(place, extension("X-Full")(echo.handler)):
        assert [one["type"] for one in await alice.answers("waits")] == ["X-Full", "Ack"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x93\x00",
        b"7",
        b"{}",
        b'{"data": 1, "error": {"code": 400, "message": "both"}}',
        b'{"error": {"code": 200, "message": "no error"}}',
        b'{"error": {"code": 600, "message": "none known"}}',
        b'{"error": {"code": 400}}',
        b'{"error": "text"}',
        b'{"data": NaN}',
        b'{"data": "\xff"}',
        b'{"data": ' + b"[" * 100_000,
        b'{"data": "' + b"x" * 1_048_576 + b'"}',
    ],
    ids=lambda answer: answer[:40].decode("latin-1"),
)
async def test_an_answer_that_is_none_is_an_incident(
    place: Place, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    alice = await place.connect("alice")
    async with program(place, "X-Odd", lambda _: [answer]):
        error = await alice.refused("X-Odd", {})
    assert error["code"] == 500
    assert set(error["details"]) == {"incident", "message_id"}
    assert error["details"]["incident"] in capsys.readouterr().out


async def test_of_several_answers_the_first_counts(place: Place) -> None:
    alice = await place.connect("alice")

    def count(arrived: Arrived) -> list[bytes]:
        return [b'{"data": %d}' % number for number in range(3)]

    async with program(place, "X-Count", count):
        for _ in range(3):
            assert (await alice.ask("X-Count", {}))[0]["data"] == 0
        assert await alice.told() == []


@pytest.mark.parametrize(
    "value",
    ['{"a":1e999,"b":123456789012345678901234567890}', '{ "a" : [1.0,1e2,-0] }', '{"a":1,"a":2}'],
)
async def test_data_and_result_are_handed_on_as_they_came(place: Place, value: str) -> None:
    alice = await place.connect("alice")

    def back(arrived: Arrived) -> list[bytes]:
        assert f'"data":{value},' in arrived.body.decode()
        return [b'{"data":' + value.encode() + b"}"]

    async with program(place, "X-Back", back):
        await alice.raw(f'{{"type":"X-Back","data":{value}}}')
        assert f'"data":{value}' in await alice.hear_text()


async def test_what_a_worker_had_in_hand_when_it_was_cut_off_is_anothers(place: Place) -> None:
    stuck = asyncio.Event()

    @extension("X-Stuck")
    async def gets_stuck(ask: Ask) -> object:
        stuck.set()
        await asyncio.Event().wait()
        return None

    alice = await place.connect("alice")
    async with working(place, gets_stuck, name="one"):
        await alice.say("X-Stuck", {}, id="s")
        async with asyncio.timeout(PATIENCE):
            await stuck.wait()
        async with working(place, extension("X-Stuck")(echo.handler), name="two"):
            place.server.broker.cut("extensions one")
            assert (await alice.answers("s"))[0]["type"] == "X-Stuck"


async def test_a_worker_that_stops_finishes_what_is_in_hand_and_leaves_the_rest(
    place: Place,
) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    @extension("X-Last")
    async def last(ask: Ask) -> object:
        begun.set()
        await go_on.wait()
        return "the first"

    alice = await place.connect("alice")
    async with working(place, last, name="one") as one:
        await alice.say("X-Last", {}, id="in hand")
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        finishing = asyncio.create_task(one.finish())
        await until(lambda: not one.ready, "it is stopping")
        async with working(place, extension("X-Last")(echo.handler), name="two"):
            assert (await alice.ask("X-Last", {"to": "the second"}))[0]["data"] != "the first"
        assert not finishing.done()
        go_on.set()
        assert (await alice.answers("in hand"))[0]["data"] == "the first"
        await finishing


async def test_a_worker_that_loses_its_connection_comes_back_by_itself(place: Place) -> None:
    alice = await place.connect("alice")
    async with working(place, echo) as worker:
        place.server.broker.cut("extensions one")
        await until(lambda: not worker.ready, "it has noticed")
        assert (await alice.ask("X-Echo", {"a": 1}))[0]["data"] == {"a": 1}


async def test_a_command_whose_asker_has_gone_with_its_gateway_is_done_with(place: Place) -> None:
    alice = await place.connect("alice")
    channel = await (await place.server.broker.connect("a gateway that goes")).channel()
    async with working(place, echo) as worker:
        to = topology.extension_address("X-Echo")
        command = b'{"type":"X-Echo","data":{},"from_user":"b","connection_id":"c","sent_at_ms":1}'
        await channel.publish(command, to, reply_to="gone", correlation="one")
        await until(lambda: not worker._in_hand, "it is done with")
        place.server.broker.cut("extensions one")
        await until(lambda: not worker.ready, "it has noticed")
        await alice.ask("X-Echo", {})
        done = worker._outcomes["done"]._value.get()
    assert done == 2


async def test_extensions_can_be_asked_in_a_batch(place: Place) -> None:
    alice = await place.connect("alice")
    operations: list[Any] = [{"type": "X-Echo", "data": {}}, {"type": "X-Nobody", "data": {}}]
    async with working(place, echo):
        await alice.say("Batch", {"operations": operations}, id="b")
        heard = await alice.hears(3)
    assert heard[-1]["data"] == {"message_id": "b", "status": "ok", "succeeded": 1, "failed": 1}


async def test_a_node_that_is_cut_off_takes_no_command(place: Place) -> None:
    alice = await place.connect("alice")
    async with working(place, echo):
        place.server.broker.leave()
        await until(lambda: not place.server.node.membership.ready, "the node has noticed")
        error = await alice.refused("X-Echo", {})
        assert error["code"] == 503
        assert "outcome" not in error["details"]
        place.server.broker.away = False
        await until(lambda: place.server.ready, "everybody is back")
        assert (await alice.ask("X-Echo", {}))[0]["type"] == "X-Echo"

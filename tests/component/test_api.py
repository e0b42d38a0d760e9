"""What back ends do over HTTP."""

import time
from typing import Any

import pytest

from tests.component.conftest import Start
from tests.component.staging import acknowledging, end_reigns, history, payloads, waits_for
from tests.support.api import BackEnd
from tests.support.embedded import Message, Place, Talk, token, until

KEY = "the key of a back end of the component tests"


@pytest.fixture
def ops(place: Place) -> BackEnd:
    return BackEnd(place.client, token("ops", roles=["admin"]))


# ---- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", [None, "Basic x", "Bearer", "Bearer nonsense"])
async def test_without_a_good_credential_nothing_is_done(
    place: Place, credential: str | None
) -> None:
    headers = {} if credential is None else {"Authorization": credential}
    response = await place.client.get("/api/v1/users/bob/presence", headers=headers)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await response.json())["data"]["code"] == 401


async def test_a_token_without_the_role_is_forbidden(place: Place) -> None:
    stranger = BackEnd(place.client, token("bob"))
    error = await stranger.refused("GET", "/users/bob/presence")
    assert (error["code"], error["details"]) == (403, {"role": "admin"})


async def test_a_key_of_the_settings_speaks_for_the_service(start: Start) -> None:
    place = await start(api_keys=["another key that is as long as keys must be", KEY])
    bob = await place.connect("bob")
    await BackEnd(place.client, KEY).post("/direct-messages", {"target_user": "bob", "payload": 1})
    assert (await bob.hear())["data"]["from_user"] == "$service"
    wrong = await BackEnd(place.client, KEY + "x").refused("GET", "/users/bob/presence")
    assert wrong["code"] == 401


async def test_the_api_can_be_kept_off_the_public_port(start: Start) -> None:
    place = await start(api="admin")
    response = await place.client.get("/api/v1/openapi.json")
    assert response.status == 404


# ---- saying something ----------------------------------------------------------------------------


async def test_a_broadcast_is_counted_and_names_on_whose_behalf(place: Place, ops: BackEnd) -> None:
    bob, carol = await place.people("bob", "carol")
    for one in (bob, carol):
        await one.subscribe("news.#")
    said = {"topic": "news.today", "payload": {"a": 1}, "metadata": {"priority": "high"}}
    result = await ops.post("/broadcasts", said)
    assert (result["status"], result["recipients"]) == ("delivered", 2)
    heard = await bob.hear()
    assert heard["data"]["payload"] == {"a": 1}
    assert heard["data"]["metadata"]["from_user"] == "ops"
    assert heard["data"]["metadata"]["priority"] == "high"
    assert heard["data"]["metadata"]["message_id"] == result["message_id"]
    await ops.post("/broadcasts", {**said, "from_user": "alice"})
    assert (await bob.hear())["data"]["metadata"]["from_user"] == "alice"


async def test_system_topics_are_for_back_ends_and_presence_for_nobody(
    place: Place, ops: BackEnd
) -> None:
    bob = await place.connect("bob")
    await bob.subscribe("system.#")
    assert (await ops.post("/broadcasts", {"topic": "system.maintenance", "payload": 1}))[
        "recipients"
    ] == 1
    assert payloads([await bob.hear()]) == [1]
    error = await ops.refused("POST", "/broadcasts", {"topic": "presence.bob", "payload": 1})
    assert error["code"] == 403


async def test_a_direct_message_is_delivered_queued_or_not_kept(place: Place, ops: BackEnd) -> None:
    bob = await place.connect("bob")
    message = {"target_user": "bob", "payload": "hi", "from_user": "shop"}
    result = await ops.post("/direct-messages", message)
    assert (result["status"], result["delivered_to"]) == ("delivered", [bob.id])
    heard = await bob.hear()
    assert (heard["data"]["from_user"], heard["data"]["payload"]) == ("shop", "hi")

    result = await ops.post("/direct-messages", {**message, "target_user": "carol"})
    assert (result["status"], result["delivered_to"]) == ("queued", [])
    assert payloads([await (await place.connect("carol")).hear()], "DirectMessage") == ["hi"]

    message = {"target_user": "dave", "payload": 1, "metadata": {"ttl": 0}}
    error = await ops.refused("POST", "/direct-messages", message)
    assert (error["code"], error["details"]) == (404, {"queued": False})


async def test_a_repeat_under_the_same_key_is_answered_again_and_done_once(
    place: Place, ops: BackEnd
) -> None:
    bob = await place.connect("bob")
    await bob.subscribe("news")
    calls: list[tuple[str, Message]] = [
        ("/broadcasts", {"topic": "news", "payload": 1}),
        ("/direct-messages", {"target_user": "bob", "payload": 2}),
        ("/notifications", {"audience": {"to": "all"}, "title": "t", "message": "all"}),
        (
            "/notifications",
            {"audience": {"to": "users", "users": ["bob"]}, "title": "t", "message": "one"},
        ),
    ]
    for number, (path, body) in enumerate(calls):
        first = await ops.post(path, body, key=f"key {number}")
        assert await ops.post(path, body, key=f"key {number}") == first
        other = await ops.post(path, body, key=f"another key {number}")
        assert other["message_id"] != first["message_id"]
    heard = [one["data"].get("payload", one["data"].get("message")) for one in await bob.hears(8)]
    assert heard == [1, 1, 2, 2, "all", "all", "one", "one"]
    assert not await bob.told()


# ---- notifications -------------------------------------------------------------------------------


def notification(to: str, *named: str) -> Message:
    audience = {"to": to, to: named} if named else {"to": to}
    actions = [{"label": "Learn More", "url": "https://status.example.com"}]
    said = {"title": "Maintenance", "message": "In 1 hour", "level": "warning", "actions": actions}
    return {"audience": audience, **said}


async def test_a_notification_reaches_every_connection(place: Place, ops: BackEnd) -> None:
    people = await place.people("alice", "bob", "bob")
    result = await ops.post("/notifications", notification("all"))
    assert (result["recipients"], result["queued"], result["complete"]) == (3, 0, True)
    for one in people:
        heard = await one.hear()
        assert heard.keys() == {"type", "data"}
        sent_at, sent_at_ms = heard["data"].pop("sent_at"), heard["data"].pop("sent_at_ms")
        assert sent_at == sent_at_ms // 1000
        assert heard == {
            "type": "Notification",
            "data": {
                "id": result["message_id"],
                "level": "warning",
                "title": "Maintenance",
                "message": "In 1 hour",
                "actions": [{"label": "Learn More", "url": "https://status.example.com"}],
            },
        }


async def test_subscribers_of_several_topics_get_one_copy(place: Place, ops: BackEnd) -> None:
    alice, bob, carol = await place.people("alice", "bob", "carol")
    await alice.subscribe("a.*", "b")
    await bob.subscribe("b")
    result = await ops.post("/notifications", notification("topics", "a.x", "b", "c"))
    assert result["recipients"] == 2
    assert len(await alice.told()) == len(await bob.told()) == 1
    assert await carol.told() == []


async def test_named_connections_get_it_and_no_others(place: Place, ops: BackEnd) -> None:
    alice, phone, laptop = await place.people("alice", "bob", "bob")
    result = await ops.post("/notifications", notification("connections", phone.id, "nobody"))
    assert result["recipients"] == 1
    assert [len(await one.told()) for one in (alice, phone, laptop)] == [0, 1, 0]


async def test_users_who_are_offline_get_it_later_only_if_it_may_wait(
    place: Place, ops: BackEnd
) -> None:
    bob, twin = await place.people("bob", "bob")
    result = await ops.post("/notifications", notification("users", "bob", "carol", "bob"))
    assert (result["recipients"], result["queued"]) == (2, 0)
    waiting = {**notification("users", "bob", "carol"), "ttl": 60}
    result = await ops.post("/notifications", waiting)
    assert (result["recipients"], result["queued"]) == (2, 1)
    assert len(await bob.told()) == len(await twin.told()) == 2
    heard = await (await place.connect("carol")).hear()
    assert heard["data"]["id"] == result["message_id"]


async def test_a_client_that_confirms_direct_messages_need_not_confirm_a_notification(
    place: Place, ops: BackEnd
) -> None:
    bob = await acknowledging(place, "bob")
    result = await ops.post("/notifications", {**notification("users", "bob"), "ttl": 60})
    assert (result["recipients"], result["queued"]) == (1, 0)
    assert [one["type"] for one in await bob.told()] == ["Notification"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"audience": {}}, "audience.to"),
        ({"audience": {"to": "nobody"}}, "audience.to"),
        ({"audience": {"to": "all", "users": ["bob"]}}, "audience.users"),
        ({"audience": {"to": "users"}}, "audience.users"),
        ({"audience": {"to": "users", "users": []}}, "audience.users"),
        ({"audience": {"to": "topics", "topics": ["a.*"]}}, "audience.topics[0]"),
        ({"audience": {"to": "users", "users": ["a\nb"]}}, "audience.users"),
        ({"level": "fatal"}, "level"),
        ({"title": ""}, "title"),
        ({"actions": [{"label": "x", "url": "http://example.com"}]}, "actions[0].url"),
        ({"actions": [{"label": "x", "url": "javascript:alert(1)"}]}, "actions[0].url"),
        ({"ttl": -1}, "ttl"),
    ],
)
async def test_a_notification_that_is_not_well_formed_names_the_field(
    ops: BackEnd, changed: Message, field: str
) -> None:
    error = await ops.refused("POST", "/notifications", {**notification("all"), **changed})
    assert (error["code"], error["details"]["field"]) == (400, field)
    assert error["details"]["reason"]


# ---- asking --------------------------------------------------------------------------------------


async def test_presence_of_users_and_topics_is_told(place: Place, ops: BackEnd) -> None:
    bob = await place.connect("bob", presence={"device": "web"})
    await bob.subscribe("chat.*")
    one = await ops.get("/users/bob/presence")
    assert (one["status"], one["connections"]) == ("online", 1)
    assert one["metadata"] == {"device": "web"}
    both = await ops.get("/presence?user=carol&user=bob")
    assert both["users"] == [{"user_id": "carol", "status": "offline", "connections": 0}, one]
    assert await ops.get("/topics/chat.a/subscribers") == {
        "topic": "chat.a",
        "users": [{"user_id": "bob", "connections": 1}],
        "connections": 1,
        "complete": True,
    }


async def test_a_users_connections_are_told_with_their_gateways(place: Place, ops: BackEnd) -> None:
    phone, laptop = await place.people("a/b c", "a/b c")
    found = await ops.get("/users/a%2Fb%20c/connections")
    node = place.server.settings.node_id
    assert found["user_id"] == "a/b c"
    assert found["connections"] == [
        {"connection_id": one, "node_id": node} for one in sorted([phone.id, laptop.id])
    ]


async def test_history_is_read_page_by_page(place: Place, ops: BackEnd) -> None:
    alice = await place.connect("alice")
    for number in range(5):
        await alice.broadcast("chat.a", number)
    page = await ops.get("/topics/chat.a/history?after=1&limit=2")
    assert payloads(page["messages"]) == [1, 2]
    assert (page["offset"], page["complete"]) == (5, False)
    assert payloads((await ops.get("/topics/chat.a/history?reverse=true"))["messages"]) == [
        4,
        3,
        2,
        1,
        0,
    ]


async def test_the_state_of_the_cluster_is_told(place: Place, ops: BackEnd) -> None:
    await place.people("alice", "bob")
    state = await ops.get("/cluster")
    assert [one["node_id"] for one in state["gateways"]] == [place.server.settings.node_id]
    assert {one["service"] for one in state["replicas"]} == {"router", "presence"}
    assert all(one["partitions"] == [0, 1] for one in state["replicas"])
    assert state["gateways"][0]["draining"] is False
    assert (state["partitions"], state["unserved"]) == (2, {"router": [], "presence": []})


async def end_of(talk: Talk) -> tuple[int, int | None]:
    """Return the codes of the Error and the close that come next."""
    return (await talk.hear())["data"]["code"], await talk.closed()


# ---- ending and erasing --------------------------------------------------------------------------


async def test_all_connections_of_a_user_are_ended_and_may_come_back(
    place: Place, ops: BackEnd
) -> None:
    phone, laptop, alice = await place.people("bob", "bob", "alice")
    result = await ops.post("/users/bob/disconnect")
    assert (result["disconnected"], result["revoked"], result["complete"]) == (2, False, True)
    assert [await end_of(one) for one in (phone, laptop)] == [(403, 4409)] * 2
    assert phone.socket.close_code == 4409  # it reads late, and is waited for
    assert await alice.told() == []
    await place.server.forgotten("bob")
    await place.connect("bob")
    assert (await ops.post("/users/nobody/disconnect"))["disconnected"] == 0


async def test_a_revoked_token_is_good_no_more_and_a_newer_one_is(
    place: Place, ops: BackEnd
) -> None:
    bob, alice = await place.people("bob", "alice")
    older = {"iat": time.time() - 1}
    assert (await ops.post("/users/bob/disconnect", {"revoke": True}))["disconnected"] == 1
    assert await end_of(bob) == (403, 4403)
    await place.server.forgotten("bob")
    await end_reigns(place, "presence")  # it is in the log
    await alice.direct("bob", "for bob's next token")
    assert await end_of(await place.connect("bob", **older)) == (403, 4403)
    assert waits_for(place, "bob") == 1
    newer = await place.connect("bob")
    assert payloads([await newer.hear()], "DirectMessage") == ["for bob's next token"]


async def test_what_is_kept_of_a_user_is_erased(place: Place, ops: BackEnd) -> None:
    alice, bob = await place.people("alice", "bob")
    for one, said in ((alice, "kept"), (bob, "gone"), (alice, "kept, too")):
        await one.broadcast("chat.a", said)
    await bob.direct("carol", "gone from carol's mailbox")
    await alice.direct("carol", "stays")
    await bob.close()
    await place.server.forgotten("bob")
    await alice.direct("bob", "gone from bob's mailbox")
    assert (await ops.delete("/users/bob"))["messages"] == 3
    for service in ("router", "presence"):
        assert waits_for(place, "bob") == 0
        page = await history(alice, "chat.a")
        assert payloads(page["messages"]) == ["kept", "kept, too"]
        assert (page["offset"], page["complete"]) == (3, True)
        await end_reigns(place, service)
    carol = await place.connect("carol")
    assert payloads([await carol.hear()], "DirectMessage") == ["stays"]
    assert not await carol.told()
    assert (await ops.delete("/users/bob"))["messages"] == 0


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "field"),
    [
        ("GET", "/nothing", None, 404, None),
        ("PUT", "/broadcasts", {}, 405, "request"),
        ("POST", "/broadcasts", {}, 400, "topic"),
        ("POST", "/broadcasts", {"topic": "a"}, 400, "payload"),
        ("POST", "/broadcasts", {"topic": "a.*", "payload": 1}, 400, "topic"),
        ("POST", "/broadcasts", {"topic": "a", "payload": 1, "to": 2}, 400, "to"),
        ("POST", "/broadcasts", {"topic": "a", "payload": "x" * 70_000}, 400, "payload"),
        ("POST", "/broadcasts", {"topic": "a", "payload": "x" * 300_000}, 413, "request"),
        ("POST", "/broadcasts", {"topic": "a", "payload": 1, "metadata": {"ttl": -1}}, 400, None),
        ("POST", "/direct-messages", {"target_user": "a\nb", "payload": 1}, 400, "target_user"),
        ("GET", "/topics/a.*/history", None, 400, "topic"),
        ("GET", "/topics/a/history?limit=0", None, 400, "limit"),
        ("GET", "/topics/a/history?limit=x", None, 400, "limit"),
        ("GET", "/topics/a/history?limt=3", None, 400, "limt"),
        ("GET", "/presence", None, 400, "user"),
        ("GET", f"/users/{'x' * 129}/presence", None, 400, "user"),
        ("DELETE", "/users/%00", None, 400, "user"),
    ],
)
async def test_an_error_has_the_protocols_shape_and_names_the_field(
    ops: BackEnd, method: str, path: str, body: Any, code: int, field: str | None
) -> None:
    error = await ops.refused(method, path, body)
    assert error["message"]
    if field is not None:
        assert error["details"]["field"] == field


async def test_a_body_that_is_no_json_or_too_deep_is_refused(place: Place, ops: BackEnd) -> None:
    headers = {"Authorization": f"Bearer {token('ops', roles=['admin'])}"}
    for text in (b"not json", b"\xff", b"[" * 100, b"7"):
        response = await place.client.post("/api/v1/broadcasts", data=text, headers=headers)
        assert response.status == 400


async def test_without_the_cluster_it_says_when_to_try_again(place: Place, ops: BackEnd) -> None:
    place.server.broker.leave()
    await until(lambda: not place.server.node.membership.ready, "the loss is noticed")
    response = await ops.call("GET", "/users/bob/presence")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    place.server.broker.away = False
    await until(lambda: place.server.ready, "all is well again")

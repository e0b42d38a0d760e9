"""One client's conversation: gateway/core/session.py."""

import json
from typing import Any

import pytest

from gateway.core import attempts as module
from gateway.core.effects import (
    Confirm,
    Fail,
    Join,
    Leave,
    Look,
    Publish,
    Renew,
    Respond,
    Send,
    Show,
    Turn,
)
from gateway.core.replies import Reply
from gateway.core.session import Session
from shared.errors import BadRequest, Forbidden, TooManyBadMessages
from shared.messages import client
from shared.messages.forms import Form
from tests.support.binary import headed, plain
from tests.unit.builders import identity


class Talk:
    """A conversation that speaks in Python values."""

    def __init__(self, max_subscriptions: int = 256, **permissions: Any) -> None:
        self.session = Session(identity("alice", **permissions), "c1", max_subscriptions)
        self.now = 0.0
        self._minted = 0

    def say(self, kind: str, id_: str | None = None, /, **data: Any) -> Any:
        return self.hear({"type": kind, "data": data, "id": id_})

    def hear(self, message: object) -> Any:
        self._minted += 1
        text = message if isinstance(message, str) else json.dumps(message)
        return self.session.receive(text, mint=f"ulid{self._minted}", now=self.now)

    def bring(self, frame: bytes) -> Any:
        self._minted += 1
        return self.session.receive_binary(frame, mint=f"ulid{self._minted}", now=self.now)

    def subscribe(self, *topics: str) -> Any:
        return self.say("Subscribe", "s", topics=list(topics))

    def unsubscribe(self, *topics: str) -> Any:
        return self.say("Unsubscribe", "u", topics=list(topics))

    def broadcast(self, id_: str | None = None, topic: str = "a") -> Any:
        return self.say("Broadcast", id_, topic=topic, payload=1)


def frames_of(effect: Respond) -> list[Any]:
    return [json.loads(frame) for frame in effect.reply.frames]


# ---- answers of its own --------------------------------------------------------------------------


def test_a_ping_is_answered_and_with_an_id_acknowledged_after_that():
    pong = {"type": "Pong", "data": {"timestamp": 1}}
    ack = {"type": "Ack", "data": {"message_id": "m", "status": "ok"}, "id": "m"}

    assert frames_of(Talk().say("Ping", timestamp=1)) == [pong]
    assert frames_of(Talk().say("Ping", "m", timestamp=1)) == [{**pong, "id": "m"}, ack]


def test_a_pong_is_accepted_silently():
    assert frames_of(Talk().say("Pong", timestamp=1)) == []


def test_presence_and_tokens_are_passed_on():
    shown = Talk().say("Presence", "m", status="away")
    renewed = Talk().say("Authenticate", "m", token="t")

    assert isinstance(shown, Show)
    assert (shown.body.status, shown.id) == ("away", "m")
    assert renewed == Renew("t", "m")


# ---- topics --------------------------------------------------------------------------------------


def told(effect: Join) -> tuple[list[str], list[str], int, str | None]:
    return effect.topics, effect.new, effect.active, effect.id


def test_subscribing_answers_with_the_distinct_topics_in_order_and_the_number_held():
    talk = Talk()

    assert told(talk.subscribe("b", "a.*", "b")) == (["b", "a.*"], ["b", "a.*"], 2, "s")
    assert told(talk.subscribe("a.*", "c")) == (["a.*", "c"], ["c"], 3, "s")
    assert told(talk.subscribe("a.*")) == (["a.*"], [], 3, "s")


def test_unsubscribing_what_is_not_held_succeeds():
    talk = Talk()
    talk.subscribe("chat.a", "chat.*")

    assert talk.unsubscribe("chat.a", "x", "chat.a") == Leave(["chat.a", "x"], ["chat.a"], 1, "u")
    assert talk.unsubscribe("chat.a") == Leave(["chat.a"], [], 1, "u")
    assert set(talk.session.patterns) == {"chat.*"}


@pytest.mark.parametrize(
    ("topics", "code", "named"),
    [
        (["ok", "not ok"], 400, ["not ok"]),
        (["ok", "a..b", "ok2"], 400, ["a..b"]),
        (["ok", "denied"], 403, ["denied"]),
        (["chat.a", "chat.#"], 403, ["chat.#"]),
        (["ok", "presence.bob"], 403, ["presence.bob"]),
        (["ok", "system.news"], 403, ["system.news"]),
        (["ok", "x" * 300], 400, ["x" * 256]),
    ],
)
def test_one_bad_or_denied_topic_fails_the_request_and_nothing_is_changed(topics, code, named):
    talk = Talk(subscribe=["ok", "chat.*"])
    talk.subscribe("ok")

    failed = talk.subscribe(*topics)

    assert isinstance(failed, Fail)
    assert failed.id == "s"
    assert failed.error.reply_code == code
    assert failed.error.details["topics"] == named
    assert set(talk.session.patterns) == {"ok"}


def test_a_bad_topic_among_those_to_leave_changes_nothing():
    talk = Talk()
    talk.subscribe("a")

    assert talk.unsubscribe("a", "b b").error.details["topics"] == ["b b"]
    assert set(talk.session.patterns) == {"a"}


@pytest.mark.parametrize("data", [{}, {"topics": []}, {"topics": None}])
@pytest.mark.parametrize("kind", ["Subscribe", "Unsubscribe"])
def test_no_topics_are_a_bad_request(kind, data):
    assert Talk().say(kind, "m", **data).error.reply_code == 400


@pytest.mark.parametrize("kind", ["Subscribe", "Unsubscribe"])
def test_a_request_names_at_most_100_topics(kind):
    topics = [f"t{n}" for n in range(100)]
    talk = Talk()

    assert not isinstance(talk.say(kind, topics=[*topics, "t0"]), Fail)
    failed = talk.say(kind, topics=[*topics, "t100"])
    assert isinstance(failed.error, Forbidden)
    assert failed.error.details["limit"] == 100


def test_a_connection_holds_at_most_its_limit_of_patterns():
    talk = Talk(max_subscriptions=2)
    talk.subscribe("a", "b")

    assert told(talk.subscribe("a", "b")) == (["a", "b"], [], 2, "s")
    failed = talk.subscribe("a", "c")
    assert isinstance(failed.error, Forbidden)
    assert failed.error.details == {"limit": 2, "topics": ["c"]}
    talk.unsubscribe("a")
    assert told(talk.subscribe("c")) == (["c"], ["c"], 2, "s")


def test_presence_topics_need_the_right_to_presence_and_no_other():
    talk = Talk(presence=["presence.bob"])

    assert isinstance(talk.subscribe("presence.bob"), Join)
    assert isinstance(talk.subscribe("presence.*").error, Forbidden)
    assert isinstance(talk.subscribe("a").error, Forbidden)


def test_a_subscription_that_failed_is_undone_but_for_what_was_left_meanwhile():
    talk = Talk()
    talk.session.joined(talk.subscribe("held"))
    join = talk.subscribe("held", "a", "b")
    talk.unsubscribe("b")

    assert talk.session.not_joined(join) == ["a"]
    assert set(talk.session.patterns) == {"held"}


def test_a_subscription_that_failed_late_does_not_undo_a_newer_one_to_the_same_pattern():
    talk = Talk()
    first = talk.subscribe("a")
    talk.unsubscribe("a")
    second = talk.subscribe("a")

    assert talk.session.not_joined(first) == []
    assert talk.session.not_joined(second) == ["a"]


def test_a_confirm_that_came_late_does_not_vouch_for_a_newer_subscription():
    talk = Talk()
    first = talk.subscribe("a")
    talk.unsubscribe("a")
    second = talk.subscribe("a")
    talk.session.joined(first)

    assert talk.session.not_joined(second) == ["a"]


def test_of_two_requests_for_the_same_pattern_the_last_to_fail_undoes_it():
    talk = Talk()
    first, second = talk.subscribe("a"), talk.subscribe("a")

    assert talk.session.not_joined(first) == []
    assert talk.session.not_joined(second) == ["a"]


def test_what_one_request_was_promised_another_ones_failure_does_not_take_away():
    """The first was told that it is subscribed to ``a``; the second waited for ``b`` in vain."""
    talk = Talk()
    first, second = talk.subscribe("a"), talk.subscribe("a", "b")
    talk.session.joined(first)

    assert talk.session.not_joined(second) == ["b"]
    assert set(talk.session.patterns) == {"a"}


# ---- what was missed (H3) ------------------------------------------------------------------------


def recover(talk: Talk, *topics: str, **starts: Any) -> Any:
    """Subscribe; ``starts`` are by topic, with ``_`` for its dots and ``X`` for a wildcard."""
    given = {name.replace("_", ".").replace("X", "*"): start for name, start in starts.items()}
    return talk.say("Subscribe", "s", topics=list(topics), recover=given)


SINCE = {"since": 5}
PLACE = {"offset": 1, "epoch": "e"}


def test_what_was_missed_of_some_of_the_topics_is_to_be_replayed():
    join = recover(Talk(), "chat.a", "chat.*", "b", chat_a=PLACE, chat_X=SINCE)

    assert told(join) == (["chat.a", "chat.*", "b"], ["chat.a", "chat.*", "b"], 3, "s")
    assert join.recover == {
        "chat.a": client.RecoverFrom(offset=1, epoch="e"),
        "chat.*": client.RecoverFrom(since=5),
    }


def test_whoever_has_missed_nothing_asks_for_nothing():
    assert Talk().subscribe("a").recover == {}


def test_what_was_missed_of_a_topic_that_is_held_already_may_be_asked_for():
    talk = Talk()
    talk.subscribe("a")

    join = recover(talk, "a", a=SINCE)

    assert (join.new, list(join.recover)) == ([], ["a"])


@pytest.mark.parametrize(
    ("topics", "start", "reason"),
    [
        (["b"], SINCE, "not among data.topics"),
        (["a"], {}, "give either since, or offset and epoch"),
        (["a"], {"since": None}, "give either since, or offset and epoch"),
        (["a"], {**SINCE, **PLACE}, "give either since, or offset and epoch"),
        (["a"], {"offset": 1}, "offset and epoch belong together"),
        (["a"], {"epoch": "e"}, "offset and epoch belong together"),
        (["a"], {"since": 1, "epoch": "e"}, "offset and epoch belong together"),
    ],
)
def test_a_bad_start_fails_the_request_by_field_and_reason_and_nothing_is_changed(
    topics, start, reason
):
    talk = Talk()

    failed = recover(talk, *topics, a=start)

    assert (failed.id, failed.turn) == ("s", Turn.TOPIC)
    assert type(failed.error) is BadRequest
    assert failed.error.details == {"field": "data.recover.a", "reason": reason}
    assert not talk.session.patterns


@pytest.mark.parametrize(("topic", "allowed"), [("chat.*", False), ("#", False), ("chat.a", True)])
def test_only_a_concrete_topic_has_places(topic, allowed):
    talk = Talk()
    effect = talk.say("Subscribe", "s", topics=[topic], recover={topic: PLACE})

    assert isinstance(effect, Join) is allowed
    if not allowed:
        reason = "a pattern is recovered by since"
        assert effect.error.details == {"field": f"data.recover.{topic}", "reason": reason}


def test_what_is_long_and_not_among_the_topics_is_named_in_short():
    failed = Talk().say("Subscribe", "s", topics=["a"], recover={"x" * 5000: SINCE})

    assert failed.error.details["field"] == "data.recover." + "x" * 255


@pytest.mark.parametrize("topic", ["closed.a", "open.#", "#"])
def test_what_was_missed_needs_the_right_to_history_and_without_it_nothing_is_changed(topic):
    talk = Talk(subscribe=["#"], history=["open.*"])

    failed = talk.say("Subscribe", "s", topics=["a", topic], recover={topic: SINCE})

    assert failed.id == "s"
    assert type(failed.error) is Forbidden
    assert failed.error.details["right"] == "history"
    assert not talk.session.patterns
    assert isinstance(talk.say("Subscribe", topics=["open.*"], recover={"open.*": SINCE}), Join)


# ---- history (H1) --------------------------------------------------------------------------------


def test_history_is_to_be_looked_into_and_overtakes_what_was_asked_before():
    look = Talk().say("History", "m", topic="chat.a", limit=7, before=5, reverse=True)

    body = client.History("chat.a", limit=7, before=5, after=None, reverse=True)
    assert look == Look(body, "m", "history_ulid1")
    assert Talk().say("History", "m", topic="a.*").turn is Turn.FREE


def test_each_look_is_answered_on_its_own():
    talk = Talk()

    assert talk.say("History", "m", topic="a").ask != talk.say("History", "m", topic="a").ask


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.topic"),
        ({"topic": "chat.*"}, "data.topic"),
        ({"topic": "#"}, "data.topic"),
        ({"topic": "a..b"}, "data.topic"),
        ({"topic": ""}, "data.topic"),
        ({"topic": "x" * 300}, "data.topic"),
        ({"topic": "a", "limit": 0}, "data.limit"),
        ({"topic": "a", "limit": 1001}, "data.limit"),
        ({"topic": "a", "before": -1}, "data.before"),
        ({"topic": "a", "after": "x"}, "data.after"),
        ({"topic": "a", "reverse": None}, "data.reverse"),
    ],
)
def test_a_bad_look_is_refused_by_field_and_reason(data, field):
    failed = Talk().say("History", "m", **data)

    assert failed.id == "m"
    assert type(failed.error) is BadRequest
    assert failed.error.details["field"] == field
    assert failed.error.details["reason"]


@pytest.mark.parametrize(
    ("permissions", "topic", "missing"),
    [
        ({"subscribe": ["chat.#"]}, "chat.a", None),
        ({"subscribe": ["chat.#"]}, "news.a", "subscribe"),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "chat.a", None),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "news.a", "history"),
        ({"subscribe": ["#"], "history": []}, "chat.a", "history"),
        ({"history": ["#"]}, "chat.a", "subscribe"),
        ({"subscribe": ["#"]}, "system.news", "subscribe"),
        ({"subscribe": ["#"]}, "presence.bob", "presence"),
        ({"subscribe": ["#"], "presence": ["presence.*"]}, "presence.bob", "history"),
    ],
)
def test_history_needs_the_right_to_subscribe_and_to_history(permissions, topic, missing):
    effect = Talk(**permissions).say("History", "m", topic=topic)

    if missing is None:
        assert isinstance(effect, Look)
    else:
        assert (effect.id, type(effect.error)) == ("m", Forbidden)
        assert effect.error.details == {"right": missing}


# ---- confirmations (R2) --------------------------------------------------------------------------


def test_a_confirmation_is_passed_on_and_acknowledged_if_it_has_an_id():
    ack = {"type": "Ack", "data": {"message_id": "m", "status": "ok"}, "id": "m"}

    silent = Talk().say("Ack", message_ids=["dm_1", "dm_2"])
    answered = Talk().say("Ack", "m", message_ids=["dm_1"])

    assert silent == Confirm(["dm_1", "dm_2"], Reply([]))
    assert answered.message_ids == ["dm_1"]
    assert frames_of(answered) == [ack]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.message_ids"),
        ({"message_ids": None}, "data.message_ids"),
        ({"message_ids": "dm_1"}, "data.message_ids"),
        ({"message_ids": []}, "data.message_ids"),
        ({"message_ids": ["dm"] * 257}, "data.message_ids"),
        ({"message_ids": ["dm_1", 1]}, "data.message_ids[1]"),
        ({"message_ids": [""]}, "data.message_ids[0]"),
        ({"message_ids": ["x" * 129]}, "data.message_ids[0]"),
    ],
)
def test_a_bad_confirmation_is_refused_by_field_and_reason(data, field):
    failed = Talk().say("Ack", "m", **data)

    assert failed.id == "m"
    assert type(failed.error) is BadRequest
    assert failed.error.details["field"] == field
    assert failed.error.details["reason"]


# ---- a fresh token -------------------------------------------------------------------------------


def test_what_a_fresh_token_no_longer_grants_is_left():
    talk = Talk()
    talk.subscribe("chat.a", "chat.#", "presence.bob")

    left = talk.session.renewed(identity("alice", subscribe=["chat.*"]))

    assert left == Leave(["chat.#", "presence.bob"], ["chat.#", "presence.bob"], 1, None)
    assert set(talk.session.patterns) == {"chat.a"}
    assert isinstance(talk.subscribe("news").error, Forbidden)


def test_a_fresh_token_that_grants_as_much_changes_nothing():
    talk = Talk()
    talk.subscribe("chat.a")

    assert talk.session.renewed(identity("alice")) is None


def test_a_fresh_token_may_take_away_more_than_one_request_may_name():
    talk = Talk()
    talk.subscribe(*(f"a.{n}" for n in range(100)))
    talk.subscribe(*(f"b.{n}" for n in range(100)))

    left = talk.session.renewed(identity("alice", subscribe=["c"]))

    assert len(left.held) == 200
    assert not talk.session.patterns


# ---- broadcasts and direct messages --------------------------------------------------------------


def test_a_broadcast_is_to_be_routed_under_a_minted_id():
    effect = Talk().broadcast("m", "chat.a")

    assert isinstance(effect, Publish)
    assert effect.attempt.message_id == "broadcast_ulid1"
    assert (effect.body.topic, effect.command.id) == ("chat.a", "m")


def test_a_direct_message_is_to_be_routed_under_a_minted_id():
    effect = Talk().say("DirectMessage", "m", target_user="bob", payload=1)

    assert isinstance(effect, Send)
    assert effect.attempt.message_id == "dm_ulid1"


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("chat.*", 400),
        ("chat.#", 400),
        ("a b", 400),
        ("", 400),
        ("presence.bob", 403),
        ("system.news", 403),
        ("$SYS.a", 403),
        ("denied", 403),
    ],
)
def test_nobody_broadcasts_to_patterns_to_reserved_topics_or_without_the_right(topic, code):
    talk = Talk(publish=["#", "presence.#", "system.#", "$SYS.#"] if topic != "denied" else ["a"])

    assert talk.broadcast("m", topic).error.reply_code == code


def test_a_direct_message_needs_the_right_to_its_user():
    talk = Talk(direct=["bob"])

    assert isinstance(talk.say("DirectMessage", target_user="bob", payload=1), Send)
    assert isinstance(talk.say("DirectMessage", target_user="eve", payload=1).error, Forbidden)


# ---- repeated ids --------------------------------------------------------------------------------


def test_an_id_that_was_answered_is_answered_the_same_for_two_minutes():
    talk = Talk()
    reply = Reply([b"the Ack"])
    talk.broadcast("m").attempt.reply = reply

    talk.now = 120.0
    assert talk.broadcast("m") == Respond(reply, Turn.TOPIC)
    talk.now = 120.1
    assert isinstance(talk.broadcast("m"), Publish)


def test_an_id_that_is_not_answered_yet_joins_its_earlier_attempt():
    talk = Talk()
    first = talk.say("DirectMessage", "m", target_user="bob", payload=1)

    assert talk.say("DirectMessage", "m", target_user="bob", payload=1).attempt is first.attempt


def test_commands_without_an_id_are_never_repeats():
    talk = Talk()
    first, second = talk.broadcast(), talk.broadcast()

    assert first.attempt is not second.attempt
    assert first.attempt.message_id != second.attempt.message_id


class _Sent:
    number = 5


@pytest.mark.parametrize("topic", ["a", "bob", "@bob"])
@pytest.mark.parametrize(
    "other",
    [
        {"type": "Broadcast", "data": {"topic": "b", "payload": 1}, "id": "m"},
        {"type": "DirectMessage", "data": {"target_user": "bob", "payload": 1}, "id": "m"},
        {"type": "DirectMessage", "data": {"target_user": "@bob", "payload": 1}, "id": "m"},
    ],
)
def test_an_id_that_now_means_something_else_does_not_inherit_the_old_number(topic, other):
    """A number counts for one partition. In another it would make that one skip what follows."""
    talk = Talk()
    talk.broadcast("m", topic).attempt.sent = _Sent()

    effect = talk.hear(other)

    assert isinstance(effect, Fail) or effect.attempt.sent is None


def test_ids_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    talk = Talk()
    for id_ in ("m1", "m2", "m3", "m4"):
        talk.broadcast(id_).attempt.reply = Reply([id_.encode()])

    assert isinstance(talk.broadcast("m4"), Respond)
    assert isinstance(talk.broadcast("m1"), Publish)


def test_a_refused_command_leaves_its_id_free():
    talk = Talk(publish=["a"])
    talk.broadcast("m", "denied")

    assert talk.broadcast("m", "a").attempt.message_id == "broadcast_ulid2"


# ---- whose turn it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "turn"),
    [
        ({"type": "Ping", "data": {}}, Turn.FREE),
        ({"type": "Authenticate", "data": {}}, Turn.TOPIC),
        ({"type": "Subscribe", "data": {"topics": ["a b"]}}, Turn.TOPIC),
        ({"type": "Unsubscribe", "data": {"topics": ["a b"]}}, Turn.TOPIC),
        ({"type": "Broadcast", "data": {"topic": "a.*", "payload": 1}}, Turn.TOPIC),
        ({"type": "DirectMessage", "data": {"target_user": "eve", "payload": 1}}, Turn.DIRECT),
        ("not json", Turn.TOPIC),
    ],
)
def test_an_answer_that_is_there_at_once_still_awaits_its_turn(message, turn):
    assert Talk(direct=["bob"]).hear(message).turn is turn


# ---- binary messages (B3, B4) --------------------------------------------------------------------


def test_a_binary_message_leads_to_what_its_json_twin_does():
    talk = Talk()
    spoken = talk.bring(headed({"topic": "a", "id": "m", "metadata": {"ttl": 5}}, b"\x00", 0x84))
    sent = talk.bring(headed({"target_user": "bob"}, b"\x00", 0x81))

    assert isinstance(spoken, Publish)
    assert (spoken.command.id, spoken.command.headers.ttl) == ("m", 5)
    assert (spoken.body.topic, bytes(spoken.body.payload)) == ("a", b"\x00")
    assert spoken.binary.form is Form.STREAM_DATA
    assert spoken.attempt.message_id == "broadcast_ulid1"
    assert isinstance(sent, Send)
    assert (sent.body.target_user, sent.binary.form) == ("bob", Form.BROADCAST)
    assert sent.attempt.message_id == "dm_ulid2"


def test_what_has_no_header_goes_where_the_route_says_and_without_one_nowhere():
    talk = Talk()
    assert [one["type"] for one in frames_of(talk.bring(plain(3, b"x")))] == ["Status"]

    assert [one["type"] for one in frames_of(talk.say("BinaryRoute", "r", topic="a"))] == ["Ack"]
    assert talk.bring(plain(3, b"x")).body.topic == "a"
    assert frames_of(talk.say("BinaryRoute", target_user="bob")) == []
    assert talk.bring(plain(1, b"x")).body.target_user == "bob"
    assert talk.bring(headed({"topic": "b"})).body.topic == "b"
    talk.say("BinaryRoute")
    assert isinstance(talk.bring(plain(3, b"x")), Respond)


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ({"topic": "denied"}, 403),
        ({"topic": "presence.bob"}, 403),
        ({"topic": "system.news"}, 403),
        ({"topic": "a.*"}, 400),
        ({"topic": "a b"}, 400),
        ({"target_user": "eve"}, 403),
        ({"target_user": ""}, 400),
        ({"target_user": "\n"}, 400),
        ({"topic": "a", "target_user": "bob"}, 400),
    ],
    ids=str,
)
def test_a_route_that_is_refused_leaves_none(route, code):
    """What follows must not reach those who were meant before."""
    talk = Talk(publish=["a"], direct=["bob"])
    talk.say("BinaryRoute", topic="a")

    refused = talk.say("BinaryRoute", "r", **route)

    assert (refused.error.reply_code, refused.id) == (code, "r")
    assert isinstance(talk.bring(plain(1, b"x")), Respond)


@pytest.mark.parametrize("header", [{"topic": "denied"}, {"target_user": "eve"}], ids=str)
def test_rights_are_those_of_the_json_commands(header):
    talk = Talk(publish=["a"], direct=["bob"])

    refused = talk.bring(headed({**header, "id": "m"}))

    assert (refused.error.reply_code, refused.id) == (403, "m")


@pytest.mark.parametrize("route", [{"topic": "a"}, {"target_user": "bob"}], ids=str)
def test_a_right_that_a_fresh_token_has_not_is_lost_for_what_was_routed_before(route):
    talk = Talk()
    talk.say("BinaryRoute", **route)
    talk.session.renewed(identity("alice", publish=["b"]))

    assert talk.bring(plain(1, b"x")).error.reply_code == 403


def test_a_repeated_id_is_known_whether_it_comes_in_binary_or_in_json():
    talk = Talk()
    first = talk.bring(headed({"topic": "a", "id": "m"})).attempt
    assert talk.bring(headed({"topic": "a", "id": "m"})).attempt is first
    first.reply = Reply([b"done"])

    assert talk.bring(headed({"topic": "a", "id": "m"})) == Respond(first.reply, Turn.TOPIC)
    assert talk.broadcast("m") == Respond(first.reply, Turn.TOPIC)


@pytest.mark.parametrize(
    ("frame", "turn"),
    [
        (b"", Turn.TOPIC),
        (plain(1, b"x"), Turn.TOPIC),
        (headed({"topic": "system.a"}), Turn.TOPIC),
        (headed({"target_user": "eve"}), Turn.DIRECT),
    ],
)
def test_a_binary_message_answered_at_once_awaits_its_turn_too(frame, turn):
    assert Talk(direct=["bob"]).bring(frame).turn is turn


# ---- bad messages --------------------------------------------------------------------------------


def test_an_error_carries_the_id_of_its_command_wherever_the_command_went_wrong():
    talk = Talk(publish=["a"])

    assert talk.broadcast("m", "denied").id == "m"
    assert talk.broadcast("m", "a b").id == "m"
    assert talk.hear({"type": "Broadcast", "data": {}, "id": "m"}).id == "m"
    assert talk.hear({"type": "Ack", "data": {}, "id": "m"}).id == "m"


def test_the_tenth_bad_message_in_a_row_ends_the_conversation():
    talk = Talk()
    for _ in range(9):
        assert type(talk.hear("not json").error) is BadRequest

    assert isinstance(talk.hear("not json").error, TooManyBadMessages)


def test_a_good_message_breaks_the_row():
    talk = Talk()
    for _ in range(9):
        talk.hear("not json")
    talk.say("Ping")

    assert type(talk.hear("not json").error) is BadRequest


def test_a_bad_topic_and_a_bad_binary_message_count_in_the_row_too():
    talk = Talk()
    for _ in range(8):
        talk.subscribe("a b")
    talk.bring(b"")

    assert isinstance(talk.subscribe("a b").error, TooManyBadMessages)


def test_a_good_binary_message_breaks_the_row():
    talk = Talk()
    for _ in range(9):
        talk.bring(b"")
    talk.bring(plain(1, b"x"))

    assert type(talk.bring(b"").error) is BadRequest


def test_what_is_forbidden_is_no_bad_message():
    talk = Talk(publish=["a"])
    for _ in range(20):
        failed = talk.broadcast("m", "denied")

    assert type(failed.error) is Forbidden
    assert talk.session.strikes == 0

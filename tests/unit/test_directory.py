"""Where everybody is: presence_service/core/directory.py."""

import json

import pytest

from presence_service.core.directory import GRACE_MS, Diff, Directory, Location, Person
from presence_service.core.sightings import SNAPSHOT_LIMIT, asked_for, sighting
from shared.messages.envelopes import Opened
from shared.messages.forms import Form
from tests.unit.builders import life

N1, N2 = life("n1"), life("n2")
PHONE, LAPTOP = Opened("alice", "c1"), Opened("alice", "c2")
BOB = Opened("bob", "c3")


@pytest.fixture
def directory() -> Directory:
    return Directory()


def appeared(opened: Opened, sender=N1, *joined: str) -> Diff:
    return Diff(appeared=(Location(opened.user_id, opened.connection_id, sender),), joined=joined)


# ---- coming and going ----------------------------------------------------------------------------


def test_a_first_connection_brings_its_user_online_and_a_second_device_is_no_news(directory):
    assert directory.opened(N1, PHONE, now_ms=0) == appeared(PHONE, N1, "alice")
    assert directory.opened(N2, LAPTOP, now_ms=0) == appeared(LAPTOP, N2)
    assert directory.opened(N1, PHONE, now_ms=0) == Diff()
    assert directory.nodes_of("alice") == {"n1", "n2"}
    assert directory.connections_at("alice", "n1") == ["c1"]


def test_a_user_who_left_is_gone_after_the_grace_and_no_sooner(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.closed("alice", ["c1"], now_ms=1000)

    assert directory.due(now_ms=1000 + GRACE_MS - 1) == Diff()
    assert directory.due(now_ms=1000 + GRACE_MS) == Diff(left=("alice",))
    assert directory.due(now_ms=1000 + GRACE_MS) == Diff()
    assert directory.people == {}


def test_a_user_who_comes_back_within_the_grace_was_never_away(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.closed("alice", ["c1"], now_ms=1000)

    assert directory.opened(N2, LAPTOP, now_ms=2000) == appeared(LAPTOP, N2)
    assert directory.due(now_ms=1000 + GRACE_MS) == Diff()
    directory.closed("alice", ["c2"], now_ms=50_000)
    assert directory.due(now_ms=50_000) == Diff()
    assert directory.due(now_ms=50_000 + GRACE_MS) == Diff(left=("alice",))


def test_the_grace_begins_with_the_last_connection_and_only_once(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.opened(N1, LAPTOP, now_ms=0)
    directory.closed("alice", ["c1"], now_ms=1000)
    assert directory.due(now_ms=99_000) == Diff()

    directory.closed("alice", ["c2"], now_ms=100_000)
    directory.closed("alice", ["c2"], now_ms=104_000)
    assert directory.due(now_ms=100_000 + GRACE_MS) == Diff(left=("alice",))


def test_closing_what_is_not_known_changes_nothing(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.closed("nobody", ["c1"], now_ms=0)
    directory.closed("alice", ["c9"], now_ms=0)

    assert directory.due(now_ms=99_000) == Diff()
    assert directory.nodes_of("nobody") == set()
    assert directory.connections_at("nobody", "n1") == []


# ---- the end of a node ---------------------------------------------------------------------------


def test_a_node_that_fell_silent_takes_its_users_along_at_once(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.opened(N2, LAPTOP, now_ms=0)
    directory.opened(N1, BOB, now_ms=0)

    assert directory.ended(N1, clean=False, now_ms=0) == Diff(left=("bob",))
    assert directory.nodes_of("alice") == {"n2"}


def test_a_node_that_left_of_its_own_accord_gives_its_users_the_grace(directory):
    directory.opened(N1, PHONE, now_ms=0)

    assert directory.ended(N1, clean=True, now_ms=1000) == Diff()
    assert directory.due(now_ms=1000 + GRACE_MS) == Diff(left=("alice",))


def test_who_was_in_their_grace_already_is_not_sent_off_early(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.closed("alice", ["c1"], now_ms=0)

    assert directory.ended(N1, clean=False, now_ms=1) == Diff()
    assert directory.due(now_ms=GRACE_MS) == Diff(left=("alice",))


def test_the_late_end_of_an_old_boot_erases_nothing_of_the_new_one(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.opened(life("n1", "b2"), PHONE, now_ms=0)

    assert directory.ended(N1, clean=False, now_ms=0) == Diff()
    assert directory.connections_at("alice", "n1") == ["c1"]


# ---- reports -------------------------------------------------------------------------------------


def test_a_report_drops_what_it_does_not_tell_of_once_its_last_part_is_here(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.opened(N1, BOB, now_ms=0)

    assert directory.report(N1, [BOB], first=True, last=False, now_ms=0) == Diff()
    assert directory.reported == set()
    told = directory.report(N1, [LAPTOP], first=False, last=True, now_ms=0)
    assert told == appeared(LAPTOP)
    assert directory.reported == {"n1"}
    assert directory.connections_at("alice", "n1") == ["c2"]
    assert directory.connections_at("bob", "n1") == ["c3"]


def test_whose_last_connection_a_report_leaves_out_is_given_the_grace(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.report(N1, [], first=True, last=True, now_ms=1000)

    assert directory.due(now_ms=1000) == Diff()
    assert directory.due(now_ms=1000 + GRACE_MS) == Diff(left=("alice",))


def test_a_report_says_nothing_of_other_nodes(directory):
    directory.opened(N2, PHONE, now_ms=0)
    directory.report(N1, [], first=True, last=True, now_ms=0)

    assert directory.nodes_of("alice") == {"n2"}


def test_a_node_that_has_ended_has_to_report_anew(directory):
    directory.report(N1, [PHONE], first=True, last=True, now_ms=0)
    directory.ended(N1, clean=True, now_ms=0)

    assert directory.reported == set()


# ---- what an earlier owner has announced ---------------------------------------------------------


def test_whom_an_earlier_owner_has_announced_is_online_and_no_news_when_reported(directory):
    directory.restore(Person("alice", "away", 7, set_by_client=b'{"mood":1}'))
    assert directory.nodes_of("alice") == set()
    assert directory.seen_on("presence.alice") is not None

    told = directory.report(N1, [PHONE], first=True, last=True, now_ms=0)

    assert told == appeared(PHONE)
    person = directory.people["alice"]
    assert (person.status, person.last_seen_ms, person.metadata) == ("away", 7, b'{"mood":1}')
    directory.miss(now_ms=0)
    assert directory.due(now_ms=99_000) == Diff()


def test_whom_nobody_has_reported_is_given_the_grace_once_they_are_missed(directory):
    directory.restore(Person("alice"))
    directory.report(N1, [], first=True, last=True, now_ms=0)
    assert directory.due(now_ms=99_000) == Diff()

    directory.miss(now_ms=100_000)
    directory.miss(now_ms=104_000)

    assert directory.due(now_ms=100_000 + GRACE_MS - 1) == Diff()
    assert directory.due(now_ms=100_000 + GRACE_MS) == Diff(left=("alice",))


def test_who_is_reported_within_the_grace_after_being_missed_was_never_away(directory):
    directory.restore(Person("alice"))
    directory.miss(now_ms=0)

    assert directory.opened(N1, PHONE, now_ms=1000) == appeared(PHONE)
    assert directory.due(now_ms=99_000) == Diff()


def test_whom_an_earlier_owner_has_seen_off_is_not_there_to_be_missed(directory):
    directory.restore(Person("alice"))
    directory.forget("alice")
    directory.forget("nobody")

    directory.miss(now_ms=0)

    assert directory.due(now_ms=99_000) == Diff()
    assert directory.opened(N1, PHONE, now_ms=0) == appeared(PHONE, N1, "alice")


# ---- how users are seen --------------------------------------------------------------------------


def test_what_a_client_sets_lies_over_the_claims_of_its_token(directory):
    directory.opened(N1, Opened("alice", "c1", b'{"device":"web","n":1e999}'), now_ms=0)

    assert directory.shown("alice", "busy", b'{"device":"tv","mood":1}', now_ms=7)
    person = directory.people["alice"]
    assert (person.status, person.last_seen_ms) == ("busy", 7)
    assert person.metadata == b'{"device":"tv","n":1e999,"mood":1}'


def test_setting_a_status_alone_leaves_the_rest_as_it_is(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.shown("alice", "away", b'{"mood":1}', now_ms=0)
    directory.shown("alice", "online", None, now_ms=0)

    assert directory.people["alice"].metadata == b'{"mood":1}'


def test_who_is_not_here_cannot_be_shown(directory):
    assert not directory.shown("alice", "away", None, now_ms=0)
    assert directory.people == {}


# ---- sightings -----------------------------------------------------------------------------------


def test_a_sighting_is_a_presence_message_on_the_users_topic(directory):
    directory.opened(N1, Opened("a.b", "c1", b'{"device":"web"}'), now_ms=1234567890123)

    said = sighting(directory.people["a.b"], node_id="n2", connection_id="c9")

    assert (said.topic, said.form, said.answer) == ("presence.a%2Eb", Form.PRESENCE, False)
    assert (said.only_node, said.only_connection) == ("n2", "c9")
    assert json.loads(said.payload) == {
        "user_id": "a.b",
        "status": "online",
        "last_seen": 1234567890,
        "last_seen_ms": 1234567890123,
        "metadata": {"device": "web"},
    }


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["presence.alice"], ["alice"]),
        (["presence.nobody"], []),
        (["presence.*"], ["alice", "bob"]),
        (["presence.#", "presence.alice"], ["alice", "bob"]),
        (["presence.alice", "presence.*.x"], ["alice"]),
        (["presence"], []),
    ],
)
def test_who_is_asked_for_is_found_once(directory, patterns, found):
    directory.opened(N1, PHONE, now_ms=0)
    directory.opened(N1, BOB, now_ms=0)

    assert [person.user_id for person in asked_for(patterns, directory)] == found


def test_a_snapshot_ends_at_its_limit(directory):
    for n in range(SNAPSHOT_LIMIT + 5):
        directory.opened(N1, Opened(f"u{n}", f"c{n}"), now_ms=0)

    assert SNAPSHOT_LIMIT == 1000
    assert len(list(asked_for(["presence.*"], directory))) == SNAPSHOT_LIMIT


def test_who_has_left_is_not_found(directory):
    directory.opened(N1, PHONE, now_ms=0)
    directory.closed("alice", ["c1"], now_ms=0)
    directory.due(now_ms=GRACE_MS)

    assert list(asked_for(["presence.alice"], directory)) == []

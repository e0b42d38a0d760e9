from shared.ownership.leases import LEASE_BEATS, Change, Leases
from tests.unit.builders import life

NODE = life("n1")
OTHER = life("n2")


def silence(leases: Leases, beats: int) -> Change:
    """Let so many heartbeats return; return what the last one did."""
    change = Change()
    for _ in range(beats):
        change = leases.beat_returned(leases._last_beat + 1)
    return change


def test_a_node_lives_from_the_first_time_it_is_heard():
    leases = Leases()

    assert leases.renewed(NODE) == Change()
    assert leases.renewed(NODE) == Change()
    assert leases.alive == {"n1": NODE}


def test_a_silent_node_is_given_up_after_its_beats_and_no_sooner():
    leases = Leases()
    leases.renewed(NODE)

    assert silence(leases, LEASE_BEATS).ended == ()
    assert silence(leases, 1) == Change(ended=(NODE,), clean=False)
    assert leases.alive == {}


def test_whoever_speaks_stays_while_the_silent_go():
    leases = Leases()
    leases.renewed(NODE)
    leases.renewed(OTHER)
    silence(leases, LEASE_BEATS)
    leases.renewed(OTHER)

    assert silence(leases, 1).ended == (NODE,)
    assert silence(leases, LEASE_BEATS - 1).ended == ()
    assert silence(leases, 1).ended == (OTHER,)


def test_a_lease_is_given_up_within_the_15_seconds_that_presence_promises():
    assert LEASE_BEATS + 1 < 15


def test_a_heartbeat_that_returns_twice_ages_nobody_twice():
    leases = Leases()
    leases.renewed(NODE)

    for _ in range(10 * LEASE_BEATS):
        leases.beat_returned(7)
    assert leases.alive == {"n1": NODE}


def test_without_returning_heartbeats_nobody_ages():
    leases = Leases()
    leases.renewed(NODE)
    silence(leases, LEASE_BEATS)

    assert leases.alive == {"n1": NODE}


def test_a_node_may_say_that_it_leaves():
    leases = Leases()
    leases.renewed(NODE)

    assert leases.ended(NODE, clean=True) == Change(ended=(NODE,), clean=True)
    assert leases.ended(NODE, clean=True) == Change()


def test_the_end_of_a_life_that_is_not_the_present_one_changes_nothing():
    leases = Leases()
    leases.renewed(life("n1", "b2"))

    assert leases.ended(life("n1", "b1"), clean=False) == Change()
    assert leases.alive == {"n1": life("n1", "b2")}


def test_a_new_boot_ends_the_one_before_without_fuss():
    leases = Leases()
    leases.renewed(life("n1", "b1"))

    assert leases.renewed(life("n1", "b2")) == Change(ended=(life("n1", "b1"),), clean=True)
    assert leases.alive == {"n1": life("n1", "b2")}


def test_what_an_earlier_boot_left_behind_is_refused():
    leases = Leases()
    leases.renewed(life("n1", "b2"))

    assert leases.renewed(life("n1", "b1")) == Change(refused=life("n1", "b1"))
    assert leases.alive == {"n1": life("n1", "b2")}


def test_of_two_processes_of_one_name_the_older_is_superseded():
    leases = Leases()
    older, younger = life("n1", "b9", "p1"), life("n1", "b1", "p2")
    leases.renewed(older)

    assert leases.renewed(younger).ended == (older,)
    assert leases.renewed(older) == Change(refused=older, superseded=True)


def test_a_life_that_was_given_up_cannot_come_back_but_the_next_one_can():
    leases = Leases()
    leases.renewed(NODE)
    silence(leases, LEASE_BEATS + 1)

    assert leases.renewed(NODE) == Change(refused=NODE)
    assert leases.renewed(life("n1", "b2")) == Change()
    assert leases.alive == {"n1": life("n1", "b2")}

import pytest

from gateway.core.limits import (
    FLOOD_FACTOR,
    FLOOD_SECONDS,
    TELL_SECONDS,
    Allowance,
    Bucket,
    Limits,
    UserShares,
    cost,
    fair_share,
)
from shared.errors import Flooding, RateLimited
from shared.messages import client


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate():
    bucket = Bucket(50, 0.0)

    taken = sum(1 for _ in range(1000) if not bucket.wait(1, 0.0) and not bucket.take(1, 0.0))
    assert taken == 100
    assert bucket.wait(1, 0.0) == pytest.approx(1 / 50)
    assert not bucket.wait(1, 0.02)


def test_a_bucket_that_was_left_alone_holds_no_more_than_its_burst():
    assert Bucket(50, 0.0).level(3600.0) == 100


def test_what_is_more_than_the_burst_may_be_taken_from_a_full_bucket_and_is_paid_for():
    bucket = Bucket(10, 0.0)

    assert not bucket.wait(1000, 0.0)
    bucket.take(1000, 0.0)
    assert bucket.wait(1, 0.0) == pytest.approx(2.1)  # a debt of one burst, and no more


def test_what_costs_nothing_never_waits():
    bucket = Bucket(10, 0.0)
    bucket.take(1000, 0.0)

    assert not bucket.wait(0, 0.0)


def exhausted(allowance: Allowance) -> RateLimited:
    """Ask until it is too much; return what is said then."""
    while (error := refused(allowance, 0.0, size=10)) is None:
        pass
    return error


def refused(allowance: Allowance, now: float, size: int = 0) -> RateLimited | None:
    """Ask; return what is said against it."""
    try:
        allowance.take(1, size, now)
    except RateLimited as error:
        return error
    return None


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(messages=1), "messages of this connection"),
        (Limits(size=10), "bytes of this connection"),
        (Limits(users=UserShares(1, 20)), "messages of this user"),
    ],
)
def test_whoever_asks_for_too_much_is_told_what_it_was_and_how_long_to_wait(limits, named):
    allowance = Allowance(limits, "alice", 0.0)

    told = exhausted(allowance)
    assert named in str(told)
    wait = told.details["retry_after_ms"] / 1000
    allowance.take(1, 10, wait)
    with pytest.raises(RateLimited):
        allowance.take(1, 10, wait)


def test_what_is_refused_takes_nothing():
    users = UserShares(100, 20)
    allowance = Allowance(Limits(messages=1, users=users), "alice", 0.0)
    for _ in range(2):
        allowance.take(1, 0, 0.0)

    for _ in range(500):
        with pytest.raises(RateLimited):
            allowance.take(1, 0, 0.0)

    assert not users.wait("alice", 198, 0.0)


def test_two_connections_of_a_user_share_what_the_user_may_take():
    limits = Limits(users=UserShares(10, 20))
    one, other = (Allowance(limits, "alice", 0.0) for _ in range(2))
    for _ in range(20):
        one.take(1, 0, 0.0)

    with pytest.raises(RateLimited):
        other.take(1, 0, 0.0)
    Allowance(limits, "bob", 0.0).take(1, 0, 0.0)


def test_without_limits_nothing_is_too_much():
    allowance = Allowance(Limits(), "alice", 0.0)

    for _ in range(100_000):
        allowance.take(1, 1_000_000, 0.0)


# ---- floods --------------------------------------------------------------------------------------


def flooded_after(rate: float, factor: float) -> float | None:
    """Return after how many seconds one who asks so many times the rate is cut off, if ever."""
    allowance = Allowance(Limits(messages=rate), "alice", 100.0)
    apart = 1 / (rate * factor)
    for number in range(int(10 * rate * factor)):
        now = 100.0 + number * apart
        try:
            allowance.take(1, 0, now)
        except Flooding:
            return now - 100.0
        except RateLimited:
            pass
    return None


def test_a_flood_is_cut_off_after_its_time_and_not_before():
    after = flooded_after(10, FLOOD_FACTOR * 1.5)

    assert after is not None
    assert FLOOD_SECONDS <= after <= FLOOD_SECONDS + 1


def test_whoever_asks_much_but_not_that_much_is_refused_and_stays():
    assert flooded_after(10, FLOOD_FACTOR * 0.9) is None


def test_a_flood_that_pauses_is_another_flood():
    allowance = Allowance(Limits(messages=10), "alice", 0.0)
    for second in (*range(FLOOD_SECONDS), *range(FLOOD_SECONDS + 1, 2 * FLOOD_SECONDS + 1)):
        for _ in range(300):
            assert not isinstance(refused(allowance, float(second)), Flooding)


# ---- one user, several gateways ------------------------------------------------------------------


def taken_of(user: str, nodes: int, asked: float, rate: float, seconds: int) -> float:
    """Return how much a second a user takes that asks so much a second at each of some gateways.

    After the first seconds, in which the bursts are spent.
    """
    shares = [UserShares(rate, 20) for _ in range(nodes)]
    apart, warm, taken = 1 / asked, 10.0, 0
    now, told_at = 0.0, 0.0
    while now < warm + seconds:
        for share in shares:
            if not share.wait(user, 1, now):
                share.take(user, 1, now)
                taken += now >= warm
        now += apart
        if now - told_at >= TELL_SECONDS:
            told_at = now
            for teller, said in [(share, share.tell(now)) for share in shares]:
                for other in shares:
                    if other is not teller:
                        other.told(f"n{shares.index(teller)}", said, now)
    return taken / seconds


@pytest.mark.parametrize("nodes", [1, 2, 4, 10])
@pytest.mark.parametrize("asked", [50.0, 150.0, 1000.0])
def test_all_gateways_together_give_a_user_its_rate_within_a_fifth(nodes, asked):
    due = min(200.0, nodes * asked)

    assert taken_of("alice", nodes, asked, 200.0, 30) == pytest.approx(due, rel=0.2)


@pytest.mark.parametrize(
    ("others", "share"),
    [
        ([], 200),
        ([1000], 100),
        ([10], 190),
        ([10, 1000], 95),
        ([1000, 10, 1000], 190 / 3),
        ([66, 67, 68], 50),
        ([20, 30, 40], 110),
    ],
)
def test_whoever_asks_for_little_gets_it_and_the_rest_is_shared_evenly(others, share):
    assert fair_share(200, others) == pytest.approx(share)


def test_one_who_asks_for_little_at_one_gateway_is_not_kept_out_by_what_is_asked_at_another():
    here, there = UserShares(200.0, 20), UserShares(200.0, 20)
    refused = 0
    for tick in range(6000):
        now = tick / 200
        for _ in range(5):
            there.wait("alice", 1, now)
        if tick % 20 == 0:
            refused += here.wait("alice", 1, now) > 0
            here.take("alice", 1, now)
        if tick % 100 == 0:
            there.told("here", here.tell(now), now)
            here.told("there", there.tell(now), now)

    assert not refused


def test_what_was_asked_elsewhere_long_ago_is_forgotten():
    shares = UserShares(200.0, 20)
    shares.wait("alice", 1, 0.0)
    shares.told("n2", {"alice": 1000}, 0.0)
    shares.tell(0.0)
    assert shares._buckets["alice"].rate == 100

    shares.wait("alice", 1, 10.0)
    shares.tell(10.0)

    assert shares._buckets["alice"].rate == 200
    assert not shares._elsewhere


def test_what_is_too_little_to_be_told_cannot_add_up_to_more_than_a_fifth_of_the_rate():
    connections = 20

    def is_told(taken: int) -> bool:
        shares = UserShares(200.0, connections)
        for _ in range(taken):
            shares.wait("alice", 1, 0.0)
        return bool(shares.tell(0.0))

    least = next(taken for taken in range(1000) if is_told(taken))
    assert (least - 1) * connections <= 0.2 * 200.0 * TELL_SECONDS


def test_users_of_other_gateways_are_not_remembered():
    shares = UserShares(200.0, 20)

    shares.told("n2", {f"user {number}": 7 for number in range(1000)}, 0.0)

    assert not shares._buckets
    assert not shares._elsewhere


def test_users_who_have_said_nothing_for_a_while_are_forgotten():
    shares = UserShares(200.0, 20)
    for number in range(1000):
        shares.wait(f"user {number}", 1, 0.0)
        shares.take(f"user {number}", 1, 0.0)

    for _ in range(100):
        shares.tell(10.0)

    assert not shares._buckets


# ---- what counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ('{"type":"Subscribe","data":{"topics":["a","b","c"]}}', 3),
        ('{"type":"Unsubscribe","data":{"topics":["a","b"]}}', 2),
        ('{"type":"Register","data":{"types":["X-a","X-b"]}}', 2),
        ('{"type":"Broadcast","data":{"topic":"a","payload":1}}', 1),
        ('{"type":"Ping","data":{}}', 1),
        ('{"type":"Ack","data":{"message_ids":["dm_1"]}}', 0.1),
        ('{"type":"Pong","data":{}}', 0.1),
        ('{"type":"Batch","data":{"operations":[{}]}}', 0),
    ],
)
def test_each_thing_that_is_asked_counts(text, due):
    assert cost(client.parse(text).body) == due

import pytest

from gateway.core.handshake import Offer, origin_allowed, read_offer
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("query", "authorization", "offered", "offer"),
    [
        ([], [], [], Offer(None, None)),
        (["t"], [], [], Offer("t", None)),
        ([], ["Bearer t"], [], Offer("t", None)),
        ([], ["bearer  t "], [], Offer("t", None)),
        ([], [], ["access_token.t"], Offer("t", "access_token.t")),
        ([], [], ["access_token.t, realtime.v1"], Offer("t", "realtime.v1")),
        ([], [], ["realtime.v1", "access_token.t"], Offer("t", "realtime.v1")),
        ([], [], ["realtime.v2, realtime.v1"], Offer(None, "realtime.v1")),
        ([], [], ["chat, realtime.version"], Offer(None, None)),
        ([], [], [" , "], Offer(None, None)),
        # the same token in several places is one token
        (["t", "t"], ["Bearer t", "Bearer t"], ["access_token.t"], Offer("t", "access_token.t")),
        # what carries no token
        ([""], [], [], Offer(None, None)),
        ([], ["Bearer", "Bearer ", "Basic dTpw", ""], [], Offer(None, None)),
        (["t"], ["Basic dTpw"], [], Offer("t", None)),
        # dots belong to the token
        ([], [], ["access_token.a.b.c"], Offer("a.b.c", "access_token.a.b.c")),
    ],
)
def test_a_request_carries_a_token_in_three_ways(query, authorization, offered, offer):
    assert read_offer(query, authorization, offered) == offer


def test_an_empty_subprotocol_entry_carries_no_token_either():
    assert read_offer([], [], ["access_token."]).token is None
    assert read_offer(["t"], [], ["access_token."]).token == "t"


@pytest.mark.parametrize(
    ("query", "authorization", "offered"),
    [
        (["a", "b"], [], []),
        (["a"], ["Bearer b"], []),
        (["a"], [], ["access_token.b"]),
        ([], ["Bearer a", "Bearer b"], []),
        ([], [], ["access_token.a, access_token.b"]),
        ([], [], ["access_token.a", "access_token.b"]),
    ],
)
def test_two_different_tokens_in_one_request_are_refused(query, authorization, offered):
    with pytest.raises(BadRequest) as caught:
        read_offer(query, authorization, offered)
    reason = "two different ones in one request"
    assert caught.value.details == {"field": "token", "reason": reason}


def test_where_no_token_may_come_in_the_query_the_refusal_says_how_else():
    with pytest.raises(BadRequest, match=r"Authorization.*access_token\.") as caught:
        read_offer(["t"], ["Bearer t"], [], query_tokens=False)
    assert caught.value.details["field"] == "token"


def test_where_no_token_may_come_in_the_query_the_other_ways_are_open():
    assert read_offer([""], ["Bearer t"], [], query_tokens=False).token == "t"
    assert read_offer([], [], ["access_token.t"], query_tokens=False).token == "t"
    assert read_offer([], [], [], query_tokens=False).token is None


@pytest.mark.parametrize("offered", [["realtime.v2"], ["realtime.v0, realtime.v10"]])
def test_a_version_that_is_not_spoken_here_is_refused(offered):
    with pytest.raises(BadRequest) as caught:
        read_offer([], [], offered)
    assert caught.value.details == {
        "field": "Sec-WebSocket-Protocol",
        "reason": "no version of it is spoken here",
        "supported": ["realtime.v1"],
    }


ALLOWED = ["https://app.example.com"]


@pytest.mark.parametrize(
    ("origin", "host", "in_production", "in_development"),
    [
        (None, "rt.example.com", True, True),
        ("https://app.example.com", "rt.example.com", True, True),
        ("http://app.example.com", "rt.example.com", False, False),
        ("https://app.example.com:8443", "rt.example.com", False, False),
        ("https://app.example.com.evil.com", "rt.example.com", False, False),
        ("https://rt.example.com", "rt.example.com:8081", False, True),
        ("http://localhost:3000", "rt.example.com", False, True),
        ("http://127.0.0.1", "localhost:8081", False, True),
        ("http://[::1]:3000", "localhost:8081", False, True),
        ("http://localhost.evil.com", "localhost:8081", False, False),
        ("http://evil.com@localhost.evil.com", "localhost", False, False),
        ("null", "localhost:8081", False, False),
        ("", "localhost:8081", False, False),
        ("http://[", "localhost:8081", False, False),
        ("http://evil.com", "[", False, False),
    ],
)
def test_pages_of_allowed_origins_may_connect_in_development_those_of_this_machine_too(
    origin, host, in_production, in_development
):
    assert origin_allowed(origin, host, ALLOWED, development=False) is in_production
    assert origin_allowed(origin, host, ALLOWED, development=True) is in_development

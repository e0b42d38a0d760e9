from shared.recent import Recent


def test_the_oldest_goes_when_there_are_too_many_and_what_is_put_again_is_young():
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.put("a", 3)
    recent.put("c", 4)

    assert dict(recent) == {"a": 3, "c": 4}

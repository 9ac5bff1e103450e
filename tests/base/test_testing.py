"""The in-memory stand-ins behave as a vendor's tests may rely on."""

import datetime as dt

import pytest

from integrations.base.context import Token
from integrations.base.errors import ConfigurationError, RateLimited, Unavailable
from integrations.base.testing import MemoryThrottle, MemoryTokenCache, context_for
from tests.base.wire import vendor


class Clock:
    def __init__(self):
        self.time = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)

    def __call__(self):
        return self.time

    def forward(self, seconds):
        self.time += dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(("life", "good_for"), [(3600, 3540), (100, 80)])
def test_a_token_is_renewed_shortly_before_it_ends(life, good_for):
    clock = Clock()
    cache = MemoryTokenCache(clock)
    for _ in range(3):
        cache.token(lambda: Token("a", life))
    clock.forward(good_for - 1)
    assert cache.token(lambda: Token("b", life)) == "a"
    clock.forward(2)
    assert cache.token(lambda: Token("b", life)) == "b"
    assert cache.fetches == 2


def test_only_the_present_token_can_be_dropped():
    cache = MemoryTokenCache(Clock())
    assert cache.token(lambda: Token("a", 60)) == "a"
    cache.drop("older")
    assert cache.token(lambda: Token("b", 60)) == "a"
    cache.drop("a")
    assert cache.token(lambda: Token("b", 60)) == "b"


@pytest.mark.parametrize(
    ("error", "rests"), [(ConfigurationError("refused"), 60), (RateLimited("too many", retry_after_s=600), 600)]
)
def test_a_refusal_is_remembered(error, rests):
    clock = Clock()
    cache = MemoryTokenCache(clock)

    def refuse():
        raise error

    for _ in range(2):
        with pytest.raises(type(error)):
            cache.token(refuse)
    assert cache.fetches == 1
    clock.forward(rests + 1)
    assert cache.token(lambda: Token("a", 60)) == "a"


def test_an_outage_is_not_remembered():
    cache = MemoryTokenCache(Clock())

    def fail():
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        cache.token(fail)
    assert cache.token(lambda: Token("a", 60)) == "a"


def test_a_rest_holds_only_its_limit():
    throttle = MemoryThrottle()
    throttle.rest("calls", 30)
    throttle.take(("token",))
    with pytest.raises(RateLimited) as caught:
        throttle.take(("token", "calls"))
    assert 29 < caught.value.retry_after_s <= 30
    assert throttle.taken == {"token": 1}


def test_a_context_gives_one_token_cache_per_login_and_merges_settings():
    context = context_for(vendor(), {"base": "https://x"}, settings={"a": {"b": 1}, "timeouts": {"total_s": 9.0}})
    assert context.token_cache("a") is context.token_cache("a")
    assert context.token_cache("a") is not context.token_cache("b")
    assert context.settings["a"] == {"b": 1}
    assert context.http("base", None)._timeouts.total_s == 9.0
    assert context.now().tzinfo is dt.UTC

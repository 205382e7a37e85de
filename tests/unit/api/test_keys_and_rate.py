"""Who may do what, where a server may listen, and how fast events may come."""

import base64

import pytest

from opportune.api.keys import Keys, Scope, key_of, may_bind
from opportune.api.problems import Refusal
from opportune.api.rate import TokenBucket
from opportune.settings import Settings

ALL = Settings(api_key="admin-key", write_key="write-key", decide_key="decide-key")


def test_each_key_has_exactly_its_scope() -> None:
    keys = Keys(ALL)
    assert keys.scope_of("admin-key") == Scope.WRITE | Scope.DECIDE | Scope.ADMIN
    assert keys.scope_of("write-key") == Scope.WRITE
    assert keys.scope_of("decide-key") == Scope.DECIDE
    assert keys.scope_of("other") is None
    assert keys.scope_of("ключ") is None


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("nonsense", 401), ("write-key", 403)])
def test_a_missing_or_unknown_key_is_401_and_a_wrong_one_403(key: str | None, status: int) -> None:
    with pytest.raises(Refusal) as refusal:
        Keys(ALL).require(Scope.DECIDE, key)
    assert refusal.value.status == status


def test_with_any_key_configured_no_scope_is_open() -> None:
    with pytest.raises(Refusal):
        Keys(Settings(write_key="w")).require(Scope.ADMIN, None)


def test_keys_come_as_bearer_or_as_the_user_name_of_basic() -> None:
    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    assert key_of("Bearer k") == key_of("bearer  k ") == key_of(basic("k:")) == key_of(basic("k:pw")) == "k"
    for junk in (None, "", "Basic !!", "Basic", "Digest k", basic(":"), "Basic /w=="):
        assert key_of(junk) is None


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_without_a_key_only_loopback_may_be_bound(host: str, is_loopback: bool) -> None:
    assert may_bind(host, Settings(api_key=None, write_key=None, decide_key=None)) is is_loopback
    assert may_bind(host, ALL)


def test_the_bucket_lets_a_burst_through_then_the_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(10, burst=20, monotonic=lambda: now[0])
    assert bucket.take(20) == 0
    assert bucket.take(5) == pytest.approx(0.5)
    now[0] = 0.5
    assert bucket.take(5) == 0
    now[0] = 100
    assert bucket.take(1000) == 0, "a request larger than the bucket passes when the bucket is full"
    assert TokenBucket(None).take(10**9) == 0

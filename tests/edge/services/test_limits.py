"""Limits: who is counted with whom, what refusals say, and how operators change the rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DeclarationError
from core.identity.limits import Rate
from edge.errors import RateLimited
from edge.services.limits import (
    DEFAULT_RATES,
    DELAY_MS_MAX,
    Dimension,
    LimitKind,
    Limits,
    network_of,
    read_rates,
)
from tests.edge.services.memory_limits import MemoryLimits

SECRET = b"an invented secret of the tests."
LOGIN = LimitKind.LOGIN
ALICE = "alice@example.org"


class Node:
    """Limits over a table in memory, with a clock that tests move."""

    def __init__(self, rates=DEFAULT_RATES, *, secret=SECRET):
        self.now_us = 1_000_000_000_000
        self.table = MemoryLimits()
        self.limits = Limits(self.table, rates, secret=secret, now_us=lambda: self.now_us)

    def is_admitted(self, kind=LOGIN, **subjects):
        return self.delay_ms(kind, **subjects) == 0

    def delay_ms(self, kind=LOGIN, **subjects):
        try:
            self.limits.require(kind, **subjects)
        except RateLimited as error:
            return error.delay_ms
        return 0

    def admitted(self, times, kind=LOGIN, **subjects):
        return sum(self.is_admitted(kind, **subjects) for _ in range(times))


@pytest.mark.parametrize("dimension", Dimension)
@pytest.mark.parametrize("kind", LimitKind)
def test_every_default_is_counted_exactly(kind, dimension):
    count = min(DEFAULT_RATES[kind, dimension].count, 50)
    node = Node({(kind, dimension): Rate(count, 60)})
    assert node.admitted(count + 3, kind, **{dimension.value: "192.0.2.1"}) == count
    assert node.is_admitted(kind, **{dimension.value: "192.0.2.2"})


def test_honest_apps_never_meet_the_limits_of_sync():
    for kind in (LimitKind.PUSH, LimitKind.PULL, LimitKind.REQUEST):
        for dimension in Dimension:
            rate = DEFAULT_RATES[kind, dimension]
            assert rate.count >= 3_000
            assert rate.count / rate.period_s >= 300


def test_an_address_may_do_at_least_what_one_account_may():
    for kind in LimitKind:
        of_account = DEFAULT_RATES[kind, Dimension.ACCOUNT]
        of_address = DEFAULT_RATES[kind, Dimension.ADDRESS]
        assert of_address.count > of_account.count
        assert of_address.interval_us < of_account.interval_us


def test_a_refused_request_costs_its_subjects_nothing():
    node = Node()
    assert node.admitted(500, account=ALICE, device="d1", address="192.0.2.1") == 10
    charged = len(node.table.charged)
    assert charged == 30
    assert node.admitted(500, account=ALICE, device="d1", address="192.0.2.1") == 0
    assert len(node.table.charged) == charged


def test_a_hammered_account_opens_again_after_the_told_delay():
    node = Node()
    for number in range(2_000):
        node.is_admitted(account=ALICE, address=f"198.51.100.{number % 200}")
    delay_ms = node.delay_ms(account=ALICE, address="192.0.2.1")
    rate = DEFAULT_RATES[LOGIN, Dimension.ACCOUNT]
    assert 0 < delay_ms <= 1_000 * rate.period_s / rate.count == 30_000
    node.now_us += delay_ms * 1_000
    assert node.is_admitted(account=ALICE, address="192.0.2.1")


def test_strangers_do_not_delay_a_device_that_was_there_before():
    node = Node()
    assert node.admitted(100, account=ALICE) == 10
    assert node.admitted(100, account=ALICE, known_device="phone") == 10
    assert node.is_admitted(account=ALICE, known_device="tablet")


names = st.text(alphabet="1:x.", max_size=5)


@given(st.lists(names, max_size=3), st.lists(names, max_size=3))
def test_no_choice_of_names_reaches_another_subject_s_count(one, other):
    limits = Node().limits
    assert (limits._key(*one) == limits._key(*other)) == (one == other)


def test_subjects_of_different_kinds_dimensions_and_tenants_are_apart():
    node = Node({key: Rate(1, 60) for key in DEFAULT_RATES})
    for kind in LimitKind:
        for tenant in ("one", "two"):
            assert node.is_admitted(kind, tenant=tenant, account="x")
            assert node.is_admitted(kind, tenant=tenant, device="x")
            assert not node.is_admitted(kind, tenant=tenant, device="x")


def test_an_address_is_one_over_all_tenants():
    node = Node({(LOGIN, Dimension.ADDRESS): Rate(2, 60)})
    tenants = ("one", "two", "three")
    assert [node.is_admitted(tenant=t, address="192.0.2.1") for t in tenants] == [True, True, False]


def test_keys_depend_on_the_secret_and_have_their_size():
    one, same, other = Node(), Node(), Node(secret=b"another secret of the tests")
    for node in (one, same, other):
        node.limits.require(LOGIN, account=ALICE)
    assert set(one.table.arrivals_us) == set(same.table.arrivals_us)
    assert set(one.table.arrivals_us).isdisjoint(other.table.arrivals_us)
    assert all(len(key) == 16 for key in one.table.arrivals_us)


def test_text_that_no_encoding_takes_is_counted_too():
    assert Node().is_admitted(account="\ud800", device="\0", address="unix")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:0db8:0001:0002:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("2001:db8::1", "nonsense:", False),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses_are_counted_by_network(one, other, is_same):
    assert (network_of(one) == network_of(other)) == is_same


@given(st.text())
def test_any_text_is_an_address(text):
    assert isinstance(network_of(text), str)


@given(st.integers(1, 200), st.integers(1, 604_800), st.integers(1, 10_000))
def test_the_told_delay_is_bounded_and_enough_whatever_a_request_costs(count, period_s, cost):
    rate = Rate(count, period_s)
    if rate.interval_us > DELAY_MS_MAX * 1_000:
        with pytest.raises(DeclarationError):
            Node({(LimitKind.PUSH, Dimension.DEVICE): rate})
        return
    node = Node({(LimitKind.PUSH, Dimension.DEVICE): rate})
    for _ in range(count):
        node.is_admitted(LimitKind.PUSH, device="d")
    delay_ms = node.delay_ms(LimitKind.PUSH, device="d", cost=cost)
    assert 0 < delay_ms <= DELAY_MS_MAX
    node.now_us += delay_ms * 1_000
    assert node.is_admitted(LimitKind.PUSH, device="d", cost=cost)


def test_what_is_not_given_or_switched_off_is_not_counted():
    node = Node(read_rates("login.account=off"))
    assert node.admitted(50, account=ALICE) == 50
    assert node.admitted(50) == 50
    assert node.table.charged == []


def test_overrides_are_applied_to_the_defaults():
    rates = read_rates(" login.account = 3/1m, push.device=off ")
    assert rates[LOGIN, Dimension.ACCOUNT] == Rate(3, 60)
    assert (LimitKind.PUSH, Dimension.DEVICE) not in rates
    assert len(rates) == len(DEFAULT_RATES) - 1
    assert read_rates("") == DEFAULT_RATES == read_rates(" ")
    assert set(DEFAULT_RATES) == {(k, d) for k in LimitKind for d in Dimension}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("login", "write for example"),
        ("login.account", "write for example"),
        ("login.account=10/5m,", "write for example"),
        ("login=1/1s", "not a limit"),
        ("logon.account=1/1s", "not a limit"),
        ("login.person=1/1s", "not a limit"),
        ("login.account=often", r"login\.account: 'often' is not a rate"),
        ("login.account=1/1s,login.account=off", "twice"),
        ("login.account=1/1d", "slower"),
        ("x=1," * 200, "more than"),
    ],
)
def test_what_cannot_be_read_is_said(text, words):
    with pytest.raises(DeclarationError, match=words):
        read_rates(text)


def test_refusals_are_counted_by_kind():
    node = Node(
        {(LOGIN, Dimension.ADDRESS): Rate(2, 60), (LimitKind.PUSH, Dimension.DEVICE): Rate(1, 60)}
    )
    assert node.limits.refused == {}
    node.admitted(5, address="192.0.2.1")
    node.admitted(2, LimitKind.PUSH, device="d")
    assert node.limits.refused == {"login": 3, "push": 1}

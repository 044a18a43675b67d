"""Each fault of a resolver is found, with arguments a person can read; sound resolvers pass."""

import itertools

import pytest
from hypothesis import strategies as st

from core import Custom
from skerry_testing import Law, check_resolver

COUNT = itertools.count()


def longest(base, ours, theirs):
    return max(ours, theirs, key=lambda text: (len(text), text))


def sorted_lines(base, ours, theirs):
    """Lines as a set: what either side added stays, what either removed goes."""
    old, mine, yours = (set(text.splitlines()) for text in (base or "", ours, theirs))
    return "\n".join(sorted((mine & yours) | (mine - old) | (yours - old)))


def without_a_base(base, ours, theirs):
    return base.replace("a", "") + ours


def endless(base, ours, theirs):
    return ours + theirs


def counting(base, ours, theirs):
    return f"{ours}{next(COUNT) % 7}"


def numeric(base, ours, theirs):
    return len(ours)


def greedy(base, ours, theirs):
    ours.append(len(theirs))
    return ours


def latest(base, ours, theirs):
    return theirs


def mean(base, ours, theirs):
    return (ours + theirs) / 2


LISTS = st.lists(st.integers(0, 2), max_size=2)
SORTED = st.sets(st.sampled_from("abc")).map(lambda lines: "\n".join(sorted(lines)))


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        (Custom(str, without_a_base), None, r"base=None.*AttributeError.*resolver-failed"),
        (Custom(str, endless, bytes_max=5), None, "longer than 5 bytes.*resolver-failed"),
        (Custom(str, counting), None, "not deterministic"),
        (Custom(str, numeric), None, "expected text, got integer"),
        (Custom(object, greedy), LISTS, "it changed its arguments"),
    ],
    ids=["no base", "too long", "random", "wrong type", "mutates"],
)
def test_what_the_primary_relies_on_is_checked(field, values, message):
    with pytest.raises(AssertionError, match=message):
        check_resolver(field, values)


@pytest.mark.parametrize(
    ("resolver", "law", "values"),
    [
        (longest, Law.ONE_SIDED, None),
        (latest, Law.SYMMETRIC, None),
        (latest, Law.ORDER_FREE, None),
        (endless, Law.ORDER_FREE, None),
    ],
)
def test_a_law_is_checked_when_it_is_asked_for(resolver, law, values):
    check_resolver(Custom(str, resolver), values)
    with pytest.raises(AssertionError, match=law.value):
        check_resolver(Custom(str, resolver), values, laws=[law])


def test_symmetry_of_two_does_not_mean_order_does_not_matter():
    field = Custom(float, mean)
    check_resolver(field, laws=[Law.SYMMETRIC])
    with pytest.raises(AssertionError, match="three concurrent writes"):
        check_resolver(field, laws=[Law.ORDER_FREE])


def test_sound_resolvers_pass():
    check_resolver(Custom(str, longest), laws=[Law.SYMMETRIC, Law.ORDER_FREE])
    check_resolver(Custom(str, sorted_lines), SORTED, laws=Law)


def test_nothing_more_is_asked_than_the_primary_asks():
    """Equal values never reach a resolver, so it may do with them what it likes."""

    def picky(base, ours, theirs):
        assert ours != theirs
        return max(ours, theirs)

    check_resolver(Custom(str, picky), laws=[Law.SYMMETRIC, Law.ORDER_FREE])

"""Property tests for an app's own rules and resolvers: `pip install 'skerry[testing]'`.

    from hypothesis import given
    from skerry_testing import check_resolver, check_rules, histories, replay

    @given(histories(app))
    def test_stock_is_never_negative(history):
        assert all(row.spares >= 0 for row in replay(app, history).rows(Airfield))

docs/howto/test-your-rules.md shows more.
"""

from skerry_testing.histories import histories
from skerry_testing.history import Delivery, History, Phone, Push
from skerry_testing.mutations import changes, mutations
from skerry_testing.payloads import payloads, values
from skerry_testing.primary import Receipt
from skerry_testing.replay import Outcome, replay, replay_all
from skerry_testing.resolvers import Law, check_resolver
from skerry_testing.rules import check_rules
from skerry_testing.schemas import apps, fields

__all__ = [
    "Delivery",
    "History",
    "Law",
    "Outcome",
    "Phone",
    "Push",
    "Receipt",
    "apps",
    "changes",
    "check_resolver",
    "check_rules",
    "fields",
    "histories",
    "mutations",
    "payloads",
    "replay",
    "replay_all",
    "values",
]

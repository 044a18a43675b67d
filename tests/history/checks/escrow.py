"""H09 escrow: a stock is never negative, on no replica and at no moment.

Decided: in every version of every row that any replica held, including those of a database that was
set back, no device has used more than it was granted, and no more is granted than there is; added
and used are, per device, the sums of what was accepted (as for H08).

Excused: nothing; uses that the primary refused are not accepted.
"""

from tests.history.models import escrow
from tests.history.rows import name_of

NAME = "H09 escrow"


def check(evidence):
    schema = evidence.tale.schema
    stocks = {
        name: [field for field in declared.fields if schema.kind(name, field) == "bounded_counter"]
        for name, declared in schema.collections.items()
    }
    for look in evidence.tale.looks:
        for row in look.changed:
            for name in stocks.get(row.key[0], ()):
                wrong = escrow(row.fields.get(name))
                if wrong:
                    yield look.index, f"{look.viewer}: {name_of(row.key)}.{name}: {wrong}"
    for index, key, name, wrong in evidence.judge({"bounded_counter"}):
        yield index, f"{name_of(key)}.{name}: {wrong}"
    for claim in evidence.tale.claims:
        if any(told[5] == "escrow-exhausted" for told in claim.told):
            evidence.counted["uses refused"] += 1

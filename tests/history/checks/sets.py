"""H10 sets, flags and multi-value registers: what nobody had seen nobody has removed.

Decided (as for H08, by versions): per element and device the latest accepted addition is there; it
is removed exactly as far as accepted removes had seen it; a multi-value register holds exactly the
values no other write had seen.

Excused: a remove of what its author saw as provisional only, which the primary may judge before the
addition: then the addition survives.
"""

from tests.history.rows import name_of

NAME = "H10 observed removes"


def check(evidence):
    for index, key, name, wrong in evidence.judge({"add_wins", "flag", "multi_value"}):
        yield index, f"{name_of(key)}.{name}: {wrong}"

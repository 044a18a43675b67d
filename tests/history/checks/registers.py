"""H11 registers and the other joins: every field is what the accepted writes make of it.

Decided (as for H08, by versions): registers, groups, list order, tree parents, blobs and custom
fields hold the write with the largest stamp, maps likewise per key, the alive register likewise
over insert, delete and restore; a first write is the one the primary took first; max, min and
ranked hold the extreme; a log holds every entry once, in order.

Excused: the primary's own writes (n = 1) on rows that its log names.
"""

from tests.history.models import MODELS
from tests.history.rows import name_of

NAME = "H11 registers"
KINDS = frozenset(MODELS) - {"counter", "bounded_counter", "add_wins", "flag", "multi_value"}


def check(evidence):
    for index, key, name, wrong in evidence.judge(KINDS):
        yield index, f"{name_of(key)}.{name or 'alive'}: {wrong}"

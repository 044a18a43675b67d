"""H08 counters: a counter is the sum of the distinct additions that were accepted, each once.

Decided: for the rows of the primary in the end; and, where the sequences of all writes are known
(an in-process primary tells them), for every version of every row that any replica ever held. The
largest epoch that a reset opened counts; additions of older ones do not.

Excused: rows that the primary has changed by itself in an app with rules, which may count too.
"""

from tests.history.rows import name_of

NAME = "H08 counters"


def check(evidence):
    for index, key, name, wrong in evidence.judge({"counter"}):
        yield index, f"{name_of(key)}.{name}: {wrong}"

"""What the primary hears of other nodes: R1 and R2."""

from edge.services.fleet.reports import STATUS_NUMBERS_MAX, Reports


class Clock:
    ms = 1_000_000

    def __call__(self):
        return self.ms


def made(*others):
    clock = Clock()
    return Reports(others=lambda _tenant: list(others), now_ms=clock), clock


def replicated(reports, sequence, database="db"):
    return reports.replicated("main", database=database, sequence=sequence)


def test_alone_everything_counts():
    reports, _ = made()
    assert replicated(reports, 7) == 7


def test_it_moves_with_the_slowest_node_that_is_up_and_never_back():
    reports, clock = made("ams", "syd")
    assert replicated(reports, 9) == 0, "nobody has said anything yet"
    reports.take("ams", {"main": ("db", 9)}, {})
    reports.take("syd", {"main": ("db", 4)}, {})
    assert replicated(reports, 9) == 4
    clock.ms += 20_000
    reports.take("ams", {"main": ("db", 12)}, {})
    assert replicated(reports, 12) == 12, "syd has been silent for too long"
    reports.take("syd", {"main": ("db", 5)}, {})
    assert replicated(reports, 12) == 12, "what was told stays true"


def test_another_database_begins_anew():
    reports, _ = made("ams")
    reports.take("ams", {"main": ("old", 50)}, {})
    assert replicated(reports, 50, "old") == 50
    assert replicated(reports, 51, "new") == 0
    reports.take("ams", {"main": ("new", 51)}, {})
    assert replicated(reports, 51, "new") == 51


def test_nodes_that_left_do_not_count_and_numbers_are_bounded():
    reports, _ = made("ams")
    reports.take("gone", {"main": ("db", 1)}, {})
    reports.take("ams", {"main": ("db", 9)}, {str(n): float(n) for n in range(200)})
    assert replicated(reports, 9) == 9
    assert list(reports.newest()) == ["ams"]
    assert len(reports.newest()["ams"].status) == STATUS_NUMBERS_MAX

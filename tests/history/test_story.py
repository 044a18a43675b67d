"""The story by itself: nothing is wrong in it, and there is enough of everything in it."""

from tests.history import story
from tests.history.checker import check


def test_nothing_is_wrong_in_the_story():
    report = check(story.told())
    assert report.is_clean, str(report)


def test_the_story_has_what_the_checks_look_for():
    statistics = check(story.told()).statistics
    for what in (
        "mutations of several rows", "mutations seen whole", "mutations shown", "rejected",
        "own writes viewed after a write", "own writes viewed after a sync", "rows replaced",
        "earlier mutations looked for", "versions", "deletes", "removals", "spaces lost",
        "unique rows", "references", "digests given", "rounds after the end", "rows read by SQL",
        "phones compared", "nodes compared", "rows held", "told in effect",
    ):  # fmt: skip
        assert statistics.get(what, 0) > 0, what

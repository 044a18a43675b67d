"""Bugs planted on purpose: each breaks one promise, and the check that watches it must notice.

The bugs are of the engine, never of the checker, its recorders or the simulator. `seed` is one
whose run has the named check complain: the fast test repeats it. The command looks from seed 1 on
how many it takes to find each: `python -m tests.simulation --mutants`.
"""

from contextlib import contextmanager

from tests.simulation import planted_nodes as nodes
from tests.simulation import planted_phones as phones
from tests.simulation.planting import Mutant

MUTANTS = {
    mutant.name: mutant
    for mutant in (
        Mutant("sequences-of-the-round", "H01", 18, phones.sequences_of_the_round),
        Mutant("titles-lost", "H02", 4, nodes.titles_lost),
        Mutant("phone-file-not-synced", "H02", 19, phones.file_not_synced),
        Mutant("repeats-told-merged", "H03", 18, nodes.repeats_told_merged),
        Mutant("rows-before-their-time", "H04", 4, nodes.rows_before_their_time),
        Mutant("accepted-texts-hidden", "H05", 18, phones.accepted_texts_hidden),
        Mutant("cursors-go-back", "H06", 73, nodes.cursors_go_back),
        Mutant("order-of-device-forgotten", "H07", 2, nodes.order_of_device_forgotten),
        Mutant("counts-only-up", "H08", 2, nodes.counts_only_up),
        Mutant("escrow-without-pool", "H09", 18, nodes.escrow_without_pool),
        Mutant("removes-unseen", "H10", 2, nodes.removes_unseen),
        Mutant("ranks-stay", "H11", 1, nodes.ranks_stay),
        Mutant("nothing-unique", "H12", 4, nodes.nothing_unique),
        Mutant("referrers-stay", "H13", 18, nodes.referrers_stay),
        Mutant("cycles-stay", "H14", 18, nodes.cycles_stay),
        Mutant("edits-revive", "H15", 19, nodes.edits_revive),
        Mutant("lost-spaces-untold", "H16", 31, nodes.lost_spaces_untold),
        Mutant("provisional-for-everybody", "H16", 4, nodes.provisional_for_everybody),
        Mutant("digests-keep-the-deleted", "H17", 18, nodes.digests_keep_the_deleted),
        Mutant("sums-keep-old-rows", "H17", 18, phones.sums_keep_old_rows),
        Mutant("reports-take-sequences", "H18", 4, nodes.reports_take_sequences),
        Mutant("column-not-written", "H19", 18, phones.column_not_written),
        Mutant("provisional-counts-twice", "H20", 4, phones.provisional_counts_twice),
    )
}
"""By name: which check must complain, a seed that is known to show it, and how it is planted."""


@contextmanager
def planted(name):
    """Plant a bug for as long as the context lasts."""
    with MUTANTS[name].plant():
        yield

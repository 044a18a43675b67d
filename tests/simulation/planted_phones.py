"""Bugs of the phones: in their file, their confirmed rows, and what they show."""

from skerry_client.fold import PROVISIONAL, Pending
from skerry_client.store import confirmed, rounds, store, tables, views
from tests.simulation.planting import replaced, together

UNWRITTEN = ', "visits" = excluded."visits"'


def file_not_synced():
    """A commit of the phone is not on its disk when the app goes on."""

    def make(original):
        def open_writer(path):
            connection = original(path)
            connection.execute("PRAGMA synchronous = NORMAL")
            return connection

        return open_writer

    return replaced(store, "open_writer", make)


def sequences_of_the_round():
    """The rows of a page are all kept with the sequence of its last one."""

    def make(original):
        def apply(self, space, collection, rows):
            newest = max(rows.sequences, default=0)
            rows.sequences = [newest] * len(rows.sequences)
            return original(self, space, collection, rows)

        return apply

    return replaced(confirmed.Confirmed, "apply", make)


def accepted_texts_hidden():
    """Texts that an edge has accepted are not shown until the primary has judged them."""

    def make(original):
        def is_folded_on(self, row_sequence):
            payloads = [value for change in self.changes for value in change.fields.values()]
            is_text = bool(payloads) and all(isinstance(value, str) for value in payloads)
            if self.outcome == "accepted" and is_text:
                return False
            return original(self, row_sequence)

        return is_folded_on

    return replaced(Pending, "is_folded_on", make)


def sums_keep_old_rows():
    """The digests keep what a row was before, and are compared with nobody's."""
    return together(
        replaced(confirmed.Confirmed, "subtract", lambda _original: lambda *_given: None),
        replaced(rounds.Rounds, "_wrong", lambda _original: lambda *_given: ()),
    )


def column_not_written():
    """A row that is there already keeps one plain column as it was."""

    def make(original):
        def init(self, name, fields):
            original(self, name, fields)
            self._update = self._update.replace(UNWRITTEN, "")
            self.upsert = self.upsert.replace(UNWRITTEN, "")

        return init

    return replaced(tables.Table, "__init__", make)


def provisional_counts_twice():
    """What another phone has added, and nobody has judged, is added twice."""

    def make(original):
        def folded(confirmed_row, pending, fields):
            return original(confirmed_row, _doubled(pending), fields)

        return folded

    return replaced(views, "fold", make)


def _doubled(pending):
    return [
        mutation
        for each in pending
        for mutation in ([each, each] if each.outcome == PROVISIONAL else [each])
    ]

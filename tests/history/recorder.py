"""Records what one phone does: its local transactions, what it is told, what its person sees.

`PhoneRecorder.attach` wraps the store of a real `Skerry`; all recording happens inside the store's
lock, directly before or after the local transaction that it tells of.

Invariants
  H1  what the phone is told (receipts) is written down before the phone takes it, and what it has
      done (made, confirmed, view) after the transaction; what a kill or a power cut in the middle
      of a commit may have kept or not is told of before it (`intent`), or found in the file by the
      next opening (`renumbered`): neither loses evidence
  H2  recording reads no clock and draws no randomness: the time is an argument
"""

from contextlib import contextmanager
from functools import wraps

import msgspec

from sync_protocol.messages.push import WireMutation
from sync_protocol.mutations import HASH_BYTES, UNKNOWN_HASH, payload_hash

_decode_row = msgspec.msgpack.Decoder().decode
_decode_mutation = msgspec.msgpack.Decoder(WireMutation).decode
_builtins = msgspec.to_builtins
_PROVISIONAL = "SELECT device, counter FROM _mutation_queue WHERE outcome = 'provisional'"
_NUMBERED = "SELECT counter, h, payload FROM _mutation_queue WHERE device = 0 ORDER BY counter"
_OPEN_PAYLOADS = (
    "SELECT counter, payload FROM _mutation_queue "
    "WHERE device = 0 AND outcome IN ('', 'accepted') ORDER BY counter"
)


class PhoneRecorder:
    """One phone's name in the history, whatever file, process or installation it has.

    `now_ms()` gives the time of the events; with `tells_intents` a mutation is written down before
    its local commit too, for runs that kill the process, or its machine, in between.
    """

    def __init__(self, history, name, person, *, now_ms, tells_intents=False):
        self.name = name
        self.person = person
        self.pushed = 0
        """Mutations that the store has handed out to be pushed so far."""
        self.rows_changed = 0
        """Confirmed rows that have changed so far; a tombstone that is dropped changes nothing."""
        self._history = history
        self._now_ms = now_ms
        self._tells_intents = tells_intents
        self._identity: tuple | None = None  # (installation, device number) as last told
        self._forget()

    def _forget(self):
        self._rows = {}  # (collection, id) -> (space, sequence, state bytes, hash)
        self._spaces = {}
        self._cursor = None
        self._judged = 0  # up to which counter a round or poke has told that all is judged
        self._refolded = set()
        self._renumbered: list | None = None

    def attach(self, skerry, *, came_from=""):
        """Record everything this database does from now on; tells `opened` and what it holds.

        `came_from`: "" (its own file as it was left), "backup" or "clone:<name>".
        """
        store = skerry.store
        self._forget()
        with store.lock:
            known = self._identity
            told = {"person": self.person, "came_from": came_from, "v": store.app.version}
            self._add("opened", store, c=store.counter, **told)
            if not came_from and _is_renumbered(known, self._identity):
                self._renumbered = store._connection.execute(_NUMBERED).fetchall()
                self._tell_renumbered(store)
            self._wrap_writes(store)
            self._wrap_news(store)
            self._wrap_reads(store)
            self._look(store, "start", checkpoint=None, full=True)

    def killed(self):
        """Tell that the phone's process was killed, or its file closed."""
        self._tell("killed")

    def lost(self):
        """Tell that the phone never comes back."""
        self._tell("lost")

    def final(self, skerry):
        """Tell all that the phone holds at the end."""
        store = skerry.store
        with store.lock:
            held = self._held(store)
            cursor = store.cursor
            self._tell(
                "final",
                database=None if cursor is None else cursor.database,
                cursor=0 if cursor is None else cursor.sequence,
                spaces=_roles(store),
                rows=[_row(key, row) for key, row in held.items()],
                digests={space: digest.hex() for space, digest in store.digests().items()},
                pending=[entry.counter for entry in store.waiting()],
                columns=_columns(store),
            )
        self._mark = (self.pushed, self.rows_changed)

    def again(self, _skerry):
        """Tell what the phone has done since its `final`, which should be nothing."""
        pushed, rows = self._mark
        self._tell("again", pushed=self.pushed - pushed, rows=self.rows_changed - rows)

    # --- what is wrapped ---------------------------------------------------------------------

    def _wrap_writes(self, store):
        commit = store.commit

        @wraps(commit)
        def commit_told(changes, *, fold, **named):
            def fold_told(mutation, device):
                views = fold(mutation, device)
                if self._tells_intents:
                    self._add_mutation("intent", store, mutation)
                return views

            with store.lock:
                try:
                    mutation = commit(changes, fold=fold_told, **named)
                except Exception:  # A killed process does not come here: it was told nothing.
                    self._tell("unmade")
                    raise
                self._refolded.clear()
                self._add_mutation("made", store, mutation)
                keys = sorted({(change.collection, change.id) for change in mutation.changes})
                self._see(store, keys, of="write", c=mutation.counter)
            return mutation

        store.commit = commit_told

    def _wrap_news(self, store):
        record_receipts, renumber = store.record_receipts, store._renumber
        stage, batch, refold = store.stage, store.batch, store._refold

        def record_told(merged, receipts, **named):
            with store.lock:
                merged = list(merged)
                receipts = list(receipts)
                self._receipts(store, "push", merged, receipts, named.get("database", ""))
                with self._noticing(store):
                    record_receipts(merged, receipts, **named)
                self._see_refolded(store)

        def renumber_told(*arguments, **named):
            renumber(*arguments, **named)
            self._renumbered = store._connection.execute(_NUMBERED).fetchall()

        def stage_told(page):
            with store.lock:
                self._page_receipts(store, page)
                with self._noticing(store):
                    return stage(page)

        def batch_told(**named):
            entries = batch(**named)
            self.pushed += len(entries)
            return entries

        def refold_told():
            for collection, ids in store._confirmed.dirty.items():
                self._refolded.update((collection, row_id) for row_id in ids)
            refold()

        store.record_receipts, store._renumber = record_told, renumber_told
        store.stage, store.batch, store._refold = stage_told, batch_told, refold_told

    def _wrap_reads(self, store):
        """Wrap what changes confirmed rows, spaces, the cursor or who the phone is."""
        finish, poke, repair = store.finish, store.poke, store.repair
        greet, become_new = store.greet, store.become_new

        def finish_told(page):
            with store.lock:
                self._page_receipts(store, page)
                is_new = page.reset or store.cursor is None
                with self._noticing(store):
                    applied = finish(page)
                given = {} if page.checkpoint is None else page.checkpoint.digests
                why = "reset" if is_new else "round"
                self._look(store, why, checkpoint=given, applied=applied, m=page.merged_through)
                return applied

        def poke_told(news):
            with store.lock:
                applied = poke(news)
                self._look(
                    store, "poke", checkpoint=news.digests, applied=applied, m=news.merged_through
                )
                return applied

        def repair_told(repaired):
            with store.lock:
                applied = repair(repaired)
                given = {repaired.space: repaired.digest}
                self._look(store, "repair", checkpoint=given, applied=applied, s=repaired.sequence)
                return applied

        def greet_told(welcome):
            with store.lock:
                greet(welcome)
                self._tell_renumbered(store)
                self._add(
                    "greeted",
                    store,
                    database=welcome.database,
                    s=welcome.sequence,
                    m=welcome.merged_through,
                    stale=welcome.stale,
                    **_replicated(store, welcome.database),
                )
                self._see_refolded(store)

        def become_told(*lost):
            with store.lock:
                become_new(*lost)
                self._tell_renumbered(store)
                self._see_refolded(store)

        store.finish, store.poke, store.repair = finish_told, poke_told, repair_told
        store.greet, store.become_new = greet_told, become_told
        for name, why in {
            "reset": "reset",
            "reset_read": "",
            "note_replicated": "",
            "show_provisional": "",
        }.items():
            self._wrap_plain(store, name, why)

    def _wrap_plain(self, store, name, why):
        method = getattr(store, name)

        @wraps(method)
        def told(*arguments, **named):
            with store.lock:
                method(*arguments, **named)
                if why:
                    self._look(store, why, checkpoint=None)
                self._see_refolded(store)

        setattr(store, name, told)

    # --- what is told ------------------------------------------------------------------------

    def _tell(self, event, **facts):
        self._history.add({"e": event, "t": self._now_ms(), "p": self.name, **facts})

    def _add(self, event, store, **facts):
        if "came_from" in facts:
            facts["from"] = facts.pop("came_from")
        self._identity = i, n = store.installation, store.device
        self._tell(event, i=i, n=n, **facts)

    def _add_mutation(self, event, store, mutation):
        changes = [_builtins(change) for change in mutation.changes]
        told = {"c": mutation.counter, "h": mutation.h, "v": store.app.version}
        self._add(event, store, **told, changes=changes)

    @contextmanager
    def _noticing(self, store):
        """Tell when the phone could not take what it was told: its disk is full, for example."""
        try:
            yield
        except Exception:
            self._add("untaken", store)
            raise

    def _page_receipts(self, store, page):
        """Tell the outcomes in a page that are of this phone's own mutations: a copy of the phone
        has used the same counters if the server knows one of them by another hash.
        """
        count = len(page.hashes) // HASH_BYTES
        first = page.merged_through - count + 1
        known = {first + n: page.hashes[n * HASH_BYTES :][:HASH_BYTES] for n in range(count)}
        through = page.merged_through
        for counter, payload in store._connection.execute(_OPEN_PAYLOADS).fetchall():
            if known.get(counter, UNKNOWN_HASH) not in {
                UNKNOWN_HASH,
                payload_hash(_decode_mutation(payload)),
            }:
                through = counter - 1
                break
        runs = [(a, min(b, through), s) for a, b, s in page.merged if a <= through]
        self._receipts(store, "page", runs, [r for r in page.receipts if r.counter <= through])

    def _receipts(self, store, via, merged, receipts, database=""):
        if not merged and not receipts:
            return
        by = {"database": database} if database else {}
        for first, last, sequence in merged:
            told = {"o": "merged", "c": first, "to": last, "s": sequence, "h": 0, "code": ""}
            self._add("receipt", store, via=via, **told, conflicts=[], **by)
        for receipt in receipts:
            told = {"o": receipt.outcome, "c": receipt.counter, "to": receipt.counter}
            told |= {"s": receipt.sequence, "h": receipt.h, "code": receipt.code}
            conflicts = _builtins(receipt.conflicts)
            self._add("receipt", store, via=via, **told, conflicts=conflicts, **by)

    def _tell_renumbered(self, store):
        if self._renumbered is None:
            return
        found, self._renumbered = self._renumbered, None
        changes = [_builtins(_decode_mutation(payload).changes) for _, _, payload in found]
        pairs = [[counter, h] for counter, h, _ in found]
        self._add("renumbered", store, pairs=pairs, changes=changes)

    def _look(self, store, why, *, checkpoint, applied=None, full=False, **facts):
        """Tell how the confirmed rows have changed, if they have."""
        held = self._held(store)
        known = self._rows
        changed = [key for key, row in held.items() if known.get(key) != row]
        gone = [key for key in known if key not in held]
        cursor, spaces = store.cursor, _roles(store)
        judged = facts.get("m", self._judged)
        self.rows_changed += len(changed) + sum(_is_alive(known[key]) for key in gone)
        has_moved = cursor != self._cursor or judged != self._judged
        if full or changed or gone or has_moved or spaces != self._spaces:
            if applied is not None and applied.mismatched:
                facts["mismatched"] = list(applied.mismatched)
            if full:
                facts["full"] = True
            if cursor is not None:
                facts |= _replicated(store, cursor.database)
            self._tell(
                "confirmed",
                database=None if cursor is None else cursor.database,
                cursor=0 if cursor is None else cursor.sequence,
                why=why,
                spaces=spaces,
                rows=[_row(key, held[key]) for key in changed],
                gone=[list(key) for key in gone],
                checkpoint=checkpoint
                and {space: digest.hex() for space, digest in checkpoint.items()},
                **facts,
            )
        self._rows, self._cursor, self._spaces = held, cursor, spaces
        self._judged = judged
        self._see_refolded(store)

    def _held(self, store):
        """Return the bytes of all confirmed rows."""
        held = {}
        execute = store._connection.execute
        for name in store._tables:
            for row_id, *row in execute(
                f'SELECT id, _space, _sequence, _state, _hash FROM "{name}" '
                "WHERE _state IS NOT NULL"
            ):
                held[name, row_id] = row
        return held

    def _see_refolded(self, store):
        """Tell what the person sees of the rows that were folded again in this transaction."""
        if self._refolded:
            keys = sorted(self._refolded)
            self._refolded.clear()
            self._see(store, keys, of="sync")

    def _see(self, store, keys, **facts):
        """Tell what the person sees of some rows, read as an app reads them."""
        reader = store.reader
        rows, gone = [], []
        n = store.device
        with reader._lock:
            for collection, row_id in keys:
                stored = reader._views._row(collection, row_id)
                if stored is None:
                    gone.append([collection, row_id])
                    continue
                view = reader._views.view_of(collection, stored, n=n)
                rows.append(
                    [collection, row_id, view.space, list(view.alive), view.fields, bool(stored[6])]
                )
        others = store._connection.execute(_PROVISIONAL).fetchall()
        if others:
            facts["others"] = [list(other) for other in others]
        self._tell("view", rows=rows, gone=gone, **facts)


def _replicated(store, database):
    """Return up to where the phone takes a database's commits to outlive its primary."""
    is_its_own = store._meta.database == database and store._meta.replicated
    return {"replicated": store._meta.replicated} if is_its_own else {}


def _is_renumbered(known, now):
    """Tell whether a file has an identity that it was given in a commit that was not told of."""
    if known is None or known == now:
        return False
    return known[0] != now[0] or known[1] != 0


def _row(key, row):
    space, sequence, state, digest = row
    _, alive, fields = _decode_row(state)
    told = [*key, space, alive, fields, sequence]
    return told if digest is None else [*told, digest.hex()]


def _is_alive(row):
    return _decode_row(row[2])[1][2]


def _roles(store):
    return dict(store._connection.execute("SELECT space, role FROM _space"))


def _columns(store):
    """Return the plain columns of all living rows, as an app's own SQL reads them."""
    found = []
    for name, declared in store.app.collections.items():
        fields = list(declared.fields)
        names = ", ".join(f'"{field}"' for field in fields)
        for row_id, *values in store.reader.query(
            f'SELECT id, {names} FROM "{name}" WHERE _alive = 1', ()
        ):
            found.append([name, row_id, dict(zip(fields, values, strict=True))])
    return found

"""The client session's transition table."""

from __future__ import annotations

from typing import Final

from sync_protocol.messages.fault import Fault
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import client_reads as reads
from sync_protocol.session import events as on
from sync_protocol.session.client_faults import faulted
from sync_protocol.session.states import ClientState
from sync_protocol.session.table import Row, Table, rows_of

_OFFLINE, _GREETING, _PUSHING, _PULLING, _APPLYING, _REPAIRING, _WAITING, _LIVE, _STOPPED = (
    ClientState
)
_BUSY = (_PUSHING, _PULLING, _APPLYING, _REPAIRING)
_WELCOMED = (*_BUSY, _WAITING, _LIVE)
_APART = (_OFFLINE, _STOPPED)

_LINK: Table = {
    **rows_of(_APART, on.Connected, reads.connected, _GREETING),
    **rows_of((_OFFLINE, _GREETING, *_WELCOMED), on.Disconnected, reads.disconnected, _OFFLINE),
    **rows_of(_STOPPED, on.Disconnected, reads.stay),
    **rows_of(_GREETING, Welcome, reads.welcomed, _PUSHING),
}

_PUSHES: Table = {
    key: row
    for event in (on.QueueChanged, on.PushReady)
    for key, row in {
        **rows_of((_PULLING, _APPLYING, _REPAIRING, _WAITING), event, reads.lane_moved),
        **rows_of(_PUSHING, event, reads.lane_moved, _PUSHING, _PULLING),
        **rows_of(_LIVE, event, reads.lane_moved, _LIVE, _PULLING),
        **rows_of((*_APART, _GREETING), event, reads.stay),
    }.items()
} | {
    **rows_of(_PUSHING, Pushed, reads.pushed, _PUSHING),
    **rows_of((_PULLING, _APPLYING, _REPAIRING, _WAITING, _LIVE), Pushed, reads.pushed),
}

_READS: Table = {
    **rows_of(_PULLING, Page, reads.page, _PULLING, _APPLYING, _WAITING),
    **rows_of(
        _APPLYING, on.RoundApplied, reads.round_applied, _REPAIRING, _PULLING, _WAITING, _LIVE
    ),
    **rows_of(
        (*_APART, _GREETING, _PUSHING, _PULLING, _REPAIRING, _WAITING, _LIVE),
        on.RoundApplied,
        reads.round_applied_late,
    ),
    **rows_of(_LIVE, on.Mismatched, reads.mismatched, _REPAIRING),
    **rows_of((*_APART, _GREETING, *_BUSY, _WAITING), on.Mismatched, reads.mismatched),
    **rows_of(_REPAIRING, Repaired, reads.repaired),
    **rows_of(
        _REPAIRING, on.RepairApplied, reads.repair_applied, _REPAIRING, _PULLING, _WAITING, _LIVE
    ),
    **rows_of((*_APART, _GREETING, _PUSHING, _PULLING, _WAITING), on.RepairApplied, reads.stay),
}

_POKES: Table = {
    **rows_of(_LIVE, Poke, reads.poked_live, _LIVE, _PULLING),
    **rows_of((*_BUSY, _WAITING), Poke, reads.poked_busy),
    **rows_of((_GREETING, *_WELCOMED), Provisional, reads.provisional),
    **rows_of(_LIVE, on.PullWanted, reads.pull_wanted_live, _PULLING),
    **rows_of((_PULLING, _APPLYING, _REPAIRING), on.PullWanted, reads.pull_wanted_busy),
    **rows_of((*_APART, _GREETING, _PUSHING, _WAITING), on.PullWanted, reads.stay),
}

_TROUBLE: Table = {
    **rows_of(_GREETING, Fault, faulted, _GREETING, _WAITING, _OFFLINE, _STOPPED),
    **{
        (state, Fault): Row(faulted, (state, _PULLING, _WAITING, _OFFLINE, _STOPPED))
        for state in _WELCOMED
    },
    **rows_of(_WAITING, on.RetryDue, reads.retry_due, _WAITING, _GREETING, _PULLING, _REPAIRING),
    **rows_of(_PUSHING, on.RetryDue, reads.retry_due, _PUSHING, _PULLING),
    **rows_of(_LIVE, on.RetryDue, reads.retry_due, _LIVE, _PULLING, _OFFLINE),
    **rows_of((_PULLING, _APPLYING, _REPAIRING), on.RetryDue, reads.retry_due),
    **rows_of((*_APART, _GREETING), on.RetryDue, reads.stay),
}

_LEFTOVERS: Table = {
    key: row
    for message in (Welcome, Pushed, Page, Repaired, Poke, Provisional, Fault)
    for key, row in rows_of(_APART, message, reads.stay).items()
}
"""Messages that a link which has been given up may still deliver."""

CLIENT_TABLE: Final[Table] = {
    **_LINK,
    **_PUSHES,
    **_READS,
    **_POKES,
    **_TROUBLE,
    **_LEFTOVERS,
}

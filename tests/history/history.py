"""A history: what happened in one run, event by event; README.md tells the form of each.

Kept in memory, in a file of JSON lines, or in both. Each line is flushed before the program goes
on, so that whatever was added before a kill can be read; the line a kill has cut off is left out.
"""

import threading
from pathlib import Path

import msgspec

Event = dict
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class History:
    """Takes events in the order in which they happen; any thread may add one.

    `path` is the file to append to; without one the events are in `events` alone. With
    `keeps_events` False they are in the file alone.
    """

    def __init__(self, path=None, *, keeps_events=True):
        self.events: list[Event] = []
        self._keeps_events = keeps_events
        self._file = None if path is None else Path(path).open("ab")  # noqa: SIM115  (until close)
        self._lock = threading.Lock()

    def add(self, event):
        """Add one event; the caller changes nothing in it afterwards."""
        with self._lock:
            if self._keeps_events:
                self.events.append(event)
            if self._file is not None:
                self._file.write(_encode(event) + b"\n")
                self._file.flush()

    def close(self):
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read(path):
    """Return the events of a file; a last line that was cut off is left out.

    A file that a killed process and the one after it have both written to may have such a line in
    the middle: what follows it on the same line is an event of its own, and found by its start.
    """
    events = []
    for line in Path(path).read_bytes().split(b"\n"):
        if line:
            events += _of_line(line)
    return events


def _of_line(line):
    try:
        return [_decode(line)]
    except msgspec.DecodeError:
        start = line.rfind(b'{"e":', 1)
        return [] if start < 0 else _of_line(line[start:])

"""Every limit of the protocol, in one place, each with its reason."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One message, after decompression: large enough for 10,000 small changes, small enough to hold."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""One message of the server's, after decompression: a page ends with the row that passes
`PAGE_BYTES_TARGET`, and a repair holds whole buckets."""
MUTATIONS_PER_PUSH_MAX: Final = 5_000
"""A push is one unit of the writer's work; more would make other devices wait."""
CHANGES_PER_MUTATION_MAX: Final = 1_000
"""A mutation is merged as a whole, so it must fit into one commit beside others."""
FIELDS_PER_CHANGE_MAX: Final = 100
NESTING_MAX: Final = 32
"""Depth of arrays and maps inside a message."""
ROWS_PER_PAGE_MAX: Final = 10_000
ROWS_PER_PAGE_DEFAULT: Final = 5_000
"""About half a megabyte of small rows: few round trips, constant memory."""
PAGE_BYTES_TARGET: Final = 1024 * 1024
"""A page is closed once its rows exceed this, whatever `rows_max` says."""
BUCKETS: Final = 16
"""Buckets per space and collection: a mismatch costs a sixteenth of the rows, not all of them."""
DIGEST_BYTES: Final = 16
SCHEMA_VERSION_MAX: Final = 1_000_000
COUNTER_GAP_MAX: Final = 0
"""Mutations are contiguous: a gap is answered with `counter-gap` and nothing is taken."""
STREAM_QUEUE_FRAMES_MAX: Final = 64
"""Frames waiting for one slow stream; beyond it all are dropped and one data-free poke is sent."""
PROVISIONAL_MUTATIONS_MAX: Final = 500
"""Provisional mutations that one device is shown: enough to see one's colleagues at work."""
PROVISIONAL_BYTES_MAX: Final = 256 * 1024
"""The same in bytes, encoded: the whole set is sent again whenever it changes."""
PUSHES_IN_FLIGHT_MAX: Final = 1
"""Pushes a stream may have unanswered: order is per device, and one keeps the pipe full enough."""
READS_IN_FLIGHT_MAX: Final = 1
"""Pulls or repairs a stream may have unanswered: each needs the answer before it."""

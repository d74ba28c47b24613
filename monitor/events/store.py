"""The event store: what each model was asked and answered, and what turned out to be true.

A model has the tables `{lake}/{model}/events`, `outcomes`, `quarantine` and, where spans of one call came apart,
`replacements`. An event is accepted once by `event_id`, an outcome once by `event_id` and its values: outcomes
accumulate, and the newest value of a column counts. Rows are written to the log of this process (durable when
`append_*` returns) and flushed into the table later; readers see both. polars and deltalake are imported when first
used, so that a process that reads only metadata starts without them.
"""

from monitor.events.amend import EventAmender
from monitor.events.append import EventAppender
from monitor.events.read import EventReader


class EventStore(EventAppender, EventAmender, EventReader):
    """All that an installation stores of its events: appended (append.py), amended (amend.py), read (read.py)."""

"""The log: a line of JSON on stderr for each request and each event."""

import logging
import sys
from datetime import UTC, datetime

import orjson

LOGGER = logging.getLogger("convline.serving")
STREAM = sys.__stderr__ or sys.stderr  # not the one that DVC's colorama puts in its place


class Line(logging.Formatter):
    """A record of Python's logging as such a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        fields = {}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return line(record.levelname.lower(), record.getMessage(), **fields)


def configure() -> None:
    """Write in this form what uvicorn, other libraries and Python itself have to say."""
    handler = logging.StreamHandler(STREAM)
    handler.setFormatter(Line())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def event(level: str, name: str, **fields: object) -> None:
    """Log an event. Past `logging`, which would take longer than all else about a small request."""
    STREAM.write(line(level, name, **fields) + "\n")


def line(level: str, name: str, **fields: object) -> str:
    """An event as JSON."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    content = {"time": time, "level": level, "event": name, **fields}
    return orjson.dumps(content, default=str).decode()

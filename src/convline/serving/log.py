"""The log: a line of JSON on stderr for each request and each event."""

import json
import logging
import sys
from datetime import UTC, datetime

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR
LOGGER = logging.getLogger("convline.serving")


class Line(logging.Formatter):
    """A record as JSON: time, level, message, and what `extra` has under "fields"."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the values hold."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content)


def configure() -> None:
    """Write what the server and uvicorn log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    for logger in (LOGGER, logging.getLogger("uvicorn")):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if logger is LOGGER else logging.WARNING)


def event(level: int, name: str, **fields: object) -> None:
    """Log an event with its fields."""
    LOGGER.log(level, name, extra={"fields": fields})

"""A line of JSON for each record, whatever it holds."""

import json
import logging
import sys

from convline.serving.log import Line


def line(message: str, **extra: object) -> dict[str, object]:
    """What the formatter makes of a record."""
    record = logging.LogRecord("name", logging.INFO, __file__, 1, message, (), None)
    record.__dict__.update(extra)
    text = Line().format(record)
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_record_is_a_line_of_json() -> None:
    values = line("request", fields={"path": '/\n"\x1b[31m', "status": 200})
    assert values.pop("time")
    assert values == {
        "level": "info",
        "event": "request",
        "path": '/\n"\x1b[31m',
        "status": 200,
    }


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        values = line("failed", exc_info=sys.exc_info())
    assert "ValueError: a\nb" in str(values["traceback"])

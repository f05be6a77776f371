"""A line of JSON for each record, whatever it holds."""

import json
import logging
import sys

from convline.serving.log import Line, line


def test_an_event_is_a_line_of_json() -> None:
    text = line("info", "request", path='/\n"\x1b[31m', status=200)
    assert "\n" not in text
    assert "\x1b" not in text
    values = json.loads(text)
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
        raised = sys.exc_info()
    record = logging.LogRecord("name", logging.ERROR, __file__, 1, "%s failed", ("it",), raised)
    text = Line().format(record)
    assert "\n" not in text
    values = json.loads(text)
    assert (values["level"], values["event"]) == ("error", "it failed")
    assert "ValueError: a\nb" in values["traceback"]

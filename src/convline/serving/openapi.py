"""The description of the server's interface, for programs (OpenAPI) and for people."""

from html import escape
from typing import Any

from convline.serving.limits import Limits

JSON = "application/json"


def description(limits: Limits) -> dict[str, Any]:
    """The interface as an OpenAPI 3.1 document."""
    return {"openapi": "3.1.0", "info": {"title": "Convline", "version": "1"}, "paths": {}}


def page(described: dict[str, Any]) -> str:
    """The interface as a page."""
    return f"<!doctype html><title>{escape(described['info']['title'])}</title>"

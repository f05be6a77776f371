"""A real browser for tests: Chromium without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

Browser = webdriver.Chrome

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
browser_is_here = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="Chromium is not installed"
)


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Browser]:
    """Chromium with a profile in `folder`, which reaches nothing but this machine."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",  # which is small in a container
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "proxy-server=127.0.0.1:9",
        f"user-data-dir={folder}",
        *flags,
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Browser, url: str, width: int = 1200, scheme: str = "light") -> None:
    """Open `url` in a window of `width` pixels."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(url)


def evaluated(browser: Browser, expression: str) -> Any:
    """The value of a JavaScript expression on the page that is open."""
    return browser.execute_script(f"return {expression}")

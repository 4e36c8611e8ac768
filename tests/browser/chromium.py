"""Debian's Chromium without a screen, for the tests and for ``make bench-fleet``; it reaches no network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoChromium(Exception):
    """Chromium or its driver is not installed; the message says how it comes."""


@dataclass(frozen=True)
class Screen:
    """A screen in CSS pixels; ``phone``: with touch, and two device pixels a CSS pixel."""

    width: int
    height: int
    phone: bool = False


DESKTOP, PHONE = Screen(1280, 800), Screen(390, 844, phone=True)


@contextmanager
def chromium(screen: Screen = DESKTOP, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile, closed at the end. Raises NoChromium when it is not installed."""
    if missing := [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]:
        raise NoChromium(
            f"{' and '.join(missing)} not found: `make setup` installs them (Debian: chromium, chromium-driver)"
        )
    with tempfile.TemporaryDirectory(prefix="hearth-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={screen.width},{screen.height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if screen.phone:
            metrics = {"width": screen.width, "height": screen.height, "pixelRatio": 2}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        try:
            if not screen.phone:
                metrics = {"width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield browser
        finally:
            browser.quit()

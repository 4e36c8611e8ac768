"""Updates run in the household's window, and the reboot too."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import time

from hearth.inventory.model import Updates, Window
from roles import updates

from .samples import WINDOW


def calendar(text: str) -> list[str]:
    return re.findall(r"^OnCalendar=(.*)$", text, re.MULTILINE)


def test_the_timers_own_times_are_cleared_and_one_in_the_window_is_set() -> None:
    cleared, at = calendar(updates.timer(Updates(WINDOW), "mueller", "upgrade packages"))
    assert cleared == ""
    moment = time.fromisoformat(at.removeprefix("*-*-* "))
    assert time(3) <= moment <= time(4)


def test_households_upgrade_at_different_minutes() -> None:
    texts = {updates.timer(Updates(WINDOW), name, "x") for name in ("mueller", "schmidt", "maier", "huber")}
    assert len(texts) > 2


def test_the_reboot_waits_for_the_end_of_the_window_and_can_be_forbidden() -> None:
    text = updates.apt_settings(Updates(Window(time(23, 30), time(1, 30))))
    assert 'Automatic-Reboot "true"' in text
    assert 'Automatic-Reboot-Time "01:00"' in text
    assert 'Automatic-Reboot "false"' in updates.apt_settings(replace(Updates(WINDOW), reboot=False))


def test_only_debian_and_its_security_archive_are_sources() -> None:
    text = updates.apt_settings(Updates(WINDOW))
    assert "#clear Unattended-Upgrade::Origins-Pattern;" in text
    labels = set(re.findall(r"label=([^\";]+)", text))
    assert labels == {"Debian", "Debian-Security", "Raspbian", "Raspberry Pi Foundation"}

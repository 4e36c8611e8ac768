"""The household's sheet, read as a household reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.browser.chromium import chromium


def decoded(sheet: str, folder: Path) -> str:
    """What a decoder reads off the sheet as it looks in a browser."""
    (folder / "sheet.html").write_text(sheet)
    with chromium() as browser:
        browser.get(f"file://{folder}/sheet.html")
        browser.save_screenshot(str(folder / "sheet.png"))
    done = subprocess.run(
        ["zbarimg", "--quiet", "--raw", str(folder / "sheet.png")], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()

"""The box in the other peers' words: whatever a role of its deploy puts, they put too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demo.bench.peers import HERE, REPOSITORY

EMPTY = {"router-port", "dynamic-dns", "acme"}
"""Of the benchmark's household hearth puts nothing in these, and the others have nothing to put."""


def changes_of_the_deploy() -> set[str]:
    """The sets of files that the roles of deploys/box.py put, by name."""
    imported = re.search(r"from roles import \(([^)]+)\)", (REPOSITORY / "deploys/box.py").read_text())
    assert imported is not None
    roles = [name.strip() for name in imported[1].split(",") if name.strip()]
    texts = [file.read_text() for role in roles for file in (REPOSITORY / "roles" / role).glob("*.py")]
    return {name for text in texts for name in re.findall(r'\bchange="([a-z-]+)"', text)}


@pytest.mark.parametrize("path", [HERE / "ansible/box.yml", HERE / "deploys/box_stock.py"], ids=lambda path: path.name)
def test_the_other_peers_put_every_set_of_files_that_hearth_puts(path: Path) -> None:
    text = path.read_text()
    wanted = changes_of_the_deploy() - EMPTY

    assert wanted > {"backup", "sshd", "cloud"}
    assert {name for name in wanted if not re.search(rf'change: {name}\}}|"{name}"', text)} == set()

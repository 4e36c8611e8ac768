"""The peers: what an operator types for each of them, and how each says what it changed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from demo.bench import goals
from demo.bench.measure import Command

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PYINFRA = Path(sys.executable).with_name("pyinfra")
VENV = REPOSITORY / ".venv-bench"
"""Ansible and mitogen; ``make bench`` makes it."""

# With 50 on two cores mitogen called hosts unreachable; a forked controller each is also more than they can carry.
FORKS = 20
CONNECT_S = 120
BATCH_OFF = {"HEARTH_BATCH": "off"}
"""hearth's roles over hearth's connector, which then asks one question at a time as stock pyinfra does."""


@dataclass(frozen=True)
class Host:
    """A host as the operator reaches it. ``host_key``: type and key, as known_hosts has them."""

    name: str
    address: str
    port: int
    user: str
    identity: Path
    host_key: str


@dataclass(frozen=True)
class Work:
    """What is to be converged, in each peer's words.

    ``hearth``: arguments of pyinfra (inventory, deploy, limit); ``stock``: the deploy; ``playbook`` with ``variables``
    in a JSON file; ``facts``: the script that gathers what hearth's deploy asks, for the floor.
    """

    hearth: Sequence[str]
    stock: Path
    playbook: Path
    variables: Path
    facts: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Unreadable(Exception):
    """A peer's output does not say what it changed."""


def present() -> tuple[str, ...]:
    """The peers that this version of hearth can be set beside: without a batch nothing can be switched off."""
    return tuple(peer for peer in goals.PEERS if peer != goals.BATCH_OFF or (REPOSITORY / "hearth/asking").is_dir())


def missing(peer: str) -> str | None:
    """Why a peer cannot run on this machine, in a sentence; None when it can."""
    if peer in (goals.ANSIBLE, goals.MITOGEN):
        if not (VENV / "bin/ansible-playbook").exists():
            return f"{VENV} has no ansible-playbook: start the benchmark by `make bench`, which installs it"
        if peer == goals.MITOGEN and _mitogen() is None:
            return f"{VENV} has no mitogen: start the benchmark by `make bench`, which installs it"
    return None


def _mitogen() -> Path | None:
    """The folder of mitogen's strategies."""
    return next(VENV.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"), None)


def command(peer: str, work: Work, hosts: Sequence[Host], scratch: Path) -> Command:
    """The command of a peer for some hosts; what it needs is written to ``scratch``."""
    scratch.mkdir(parents=True, exist_ok=True)
    described = scratch / "hosts.json"
    described.write_text(json.dumps([asdict(host) | {"identity": str(host.identity)} for host in hosts]))
    known = scratch / "known_hosts"
    known.write_text("".join(f"[{host.address}]:{host.port} {host.host_key}\n" for host in hosts))
    environment = {
        **work.environment,
        "PYTHONPATH": str(REPOSITORY),
        "PYINFRA_PROGRESS": "off",
        "COLUMNS": "200",
        "HEARTH_BENCH_HOSTS": str(described),
        "HEARTH_BENCH_KNOWN_HOSTS": str(known),
    }
    if peer == goals.FLOOR:
        return Command([sys.executable, str(HERE / "floor.py"), str(described), str(work.facts)], scratch, environment)
    if peer in (goals.HEARTH, goals.BATCH_OFF):
        switch = BATCH_OFF if peer == goals.BATCH_OFF else {}
        return Command([str(PYINFRA), *work.hearth, "-y"], REPOSITORY, environment | switch)
    if peer in (goals.STOCK, goals.STOCK_YES):
        argv = [str(PYINFRA), str(HERE / "deploys/hosts_stock.py"), str(work.stock)]
        # Elsewhere than hearth's config.py. Without -y it shows the changes and waits for the return key.
        yes = peer == goals.STOCK_YES
        return Command([*argv, *(["-y"] if yes else [])], scratch, environment, stdin="" if yes else "\n")
    return _ansible(peer, work, hosts, scratch, known, environment)


def _ansible(
    peer: str, work: Work, hosts: Sequence[Host], scratch: Path, known: Path, environment: dict[str, str]
) -> Command:
    inventory = scratch / "hosts.ini"
    inventory.write_text(
        "".join(
            f"{host.name} ansible_host={host.address} ansible_port={host.port} ansible_user={host.user} "
            f"ansible_ssh_private_key_file={host.identity} ansible_become={str(host.user != 'root').lower()}\n"
            for host in hosts
        )
    )
    settings = {
        "ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"),
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_TIMEOUT": str(CONNECT_S),
        "ANSIBLE_LOCAL_TEMP": str(scratch / "ansible-tmp"),
        # Masters of its own: the run begins with a login.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(scratch / "cp"),
        "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known}",
    }
    if peer == goals.MITOGEN:
        settings |= {
            "ANSIBLE_STRATEGY_PLUGINS": str(_mitogen()),
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "MITOGEN_POOL_SIZE": str(FORKS),
        }
    argv = [str(VENV / "bin/ansible-playbook"), "--inventory", str(inventory), "--extra-vars", f"@{work.variables}"]
    return Command([*argv, str(work.playbook)], scratch, environment | settings)


def changes(peer: str, output: str) -> int:
    """How many changes a peer says it made, over all hosts. Raises Unreadable when it does not say."""
    if peer == goals.FLOOR:
        return 0
    if peer in (goals.ANSIBLE, goals.MITOGEN):
        counted = re.findall(r"^\S+\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)
    else:
        # Of the table of results, the last line: hosts, successes, errors, no changes; a dash is none.
        counted = [
            row[0].replace("-", "0")
            for row in re.findall(r"^\s*Grand total\s+\d+\s+(\d+|-)\s+(\d+|-)\s+(\d+|-)\s*$", output, re.MULTILINE)
        ]
    if not counted:
        raise Unreadable(output.strip()[-600:] or "it printed nothing")
    return sum(int(figure) for figure in counted)

"""docs/benchmarks.md: the goals, the tables, the machine, and how it is measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from demo.bench.figures import Case, Results, Run, median
from demo.bench.goals import HEARTH, PEERS, Verdict, judge

_HEAD = """\
# Benchmarks

<!-- Written by `make bench`; changes made here are lost. -->

What an operator waits for, and what his machine works, with hearth and with what he would use instead, side by side in
one run. A ratio is taken round by round (the peers take turns) and shown as the median with the least and the most.

![Wall seconds of the others as a multiple of hearth's](benchmarks.svg)
"""

_HOW = """\
## What is compared

| peer | what it is |
| --- | --- |
| floor | one Python process: log in, run one script that asks all that hearth's deploy asks, decide nothing |
| hearth | `pyinfra -y` with hearth's connector and roles |
| hearth, batch off | the same with `HEARTH_BATCH=off`: one question at a time |
| pyinfra -y | stock pyinfra, its SSH connector and its own operations; `-y` shows no changes before it makes them |
| pyinfra | the same with its change detection: without `-y`, the return key pressed at once |
| Ansible | a playbook for the same resources, pipelining, 20 forks, no facts gathered |
| Ansible + mitogen | the same playbook with the strategy `mitogen_linear` |

- *A box* is a host of the lab with Debian's packages installed, converged by `deploys/box.py`. The others put the same
  files (hearth renders them), make the same accounts, keys and services and run the same steps of the cloud, each in
  its own words: `demo/bench/deploys/box_stock.py`, `demo/bench/ansible/box.yml`. hearth's guard against locking the
  operator out, its undo and its record have no counterpart there, and are measured with hearth.
- *Hosts of 40 resources* are sshd instances on this machine, each with files of its own: 4 directories, 15 files,
  5 users in a group with a file of keys each, 10 packages in one operation, 5 links, 5 lines in a file. The lines are a
  file put whole with hearth, as its roles do.
- A first run counts only if the peer leaves what hearth leaves: paths, kinds, modes, owners and SHA-256 are compared.
  An unchanged run is one on hosts that hearth has converged, and counts only if the peer says that it changed nothing.
- The line is a delaying TCP proxy (`demo/delay_proxy.py`); 0 ms is the loopback without it. Every run begins with a
  login.
- CPU here is all that the command and what it leaves behind use on the operator's side; the hosts' CPU is that of their
  control groups. Remote commands are what the hosts' sshds started: commands and file transfers. Ansible with mitogen
  speaks to a program of its own over one of them.
- Operator's side and hosts share this machine's cores, so with 50 hosts the hosts' own work is most of the time.
"""


def document(results: Results, machine: Mapping[str, str], command: str) -> str:
    """The whole page."""
    parts = [_HEAD, "## Goals\n", goals_table(judge(results)), "## Figures\n"]
    parts.append("Seconds; medians of as many rounds as the last column says.\n")
    for case in sorted(results.cases):
        parts += [f"### {case.words[0].upper()}{case.words[1:]}\n", case_table(results, case)]
    if results.failures:
        parts.append("## What could not be measured\n")
        parts.append("".join(f"- {one.peer}, {one.case.words}: {_first_line(one.words)}\n" for one in results.failures))
    if results.notes:
        parts.append("".join(f"- {note}\n" for note in results.notes))
    parts += [_HOW, "## The machine\n", table(("what", "which"), machine.items())]
    parts.append(f"Measured by `{command}`.\n")
    return "\n".join(parts)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200].replace("|", "/")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def goals_table(verdicts: Sequence[Verdict]) -> str:
    """Goal, bound, measured with range, met or how far."""
    rows = [
        (one.goal.words, one.goal.bound_words, one.ratio.words if one.ratio else "-", one.words) for one in verdicts
    ]
    return table(("goal", "at least / at most", "measured: median (least … most)", "verdict"), rows)


def case_table(results: Results, case: Case) -> str:
    """The peers of a case, in their order."""
    heads = ("peer", "wall s", "x hearth", "CPU s here", "x hearth", "hosts' CPU s", "remote commands", "rounds")
    rows = [_row(results, case, peer, runs) for peer in PEERS if (runs := results.cases[case].get(peer))]
    return table(heads, rows)


def _row(results: Results, case: Case, peer: str, runs: Sequence[Run]) -> tuple[str, ...]:
    middle = median(runs)
    wall, cpu = (results.ratio(case, peer, HEARTH, measure) for measure in ("wall_s", "cpu_s"))
    return (
        peer,
        f"{middle.wall_s:.2f}",
        wall.words if wall else "-",
        f"{middle.cpu_s:.2f}",
        cpu.words if cpu else "-",
        f"{middle.host_cpu_s:.2f}",
        str(middle.commands),
        str(len(runs)),
    )

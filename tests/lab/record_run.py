"""Run pyinfra and record what it decides: ``record_run.py FILE PYINFRA-ARGUMENTS…``; ends with pyinfra's exit status.

FILE becomes JSON: ``operations``, each with its name, whether it changes something, and its commands (those that were
executed, or in a plan all that would be); and ``sent``, every command that left for a host. $RECORD_LIMIT_S: how long
a question of a batch may take.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyinfra_cli.cli  # type: ignore[import-untyped]
from paramiko import Channel
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host
from pyinfra_cli.main import main as run_pyinfra  # type: ignore[import-untyped]

from hearth import line
from hearth.asking import batch

record: dict[str, Any] = {"operations": [], "sent": []}
# Two ways lead to a host: paramiko's, for the lock, and hearth's own, for all else.
send, request = Channel.exec_command, line._request
disconnect_all = pyinfra_cli.cli.disconnect_all


def sending(channel: Channel, command: str) -> Any:
    """Note a command that leaves."""
    record["sent"].append(command)
    return send(channel, command)


def requesting(channel: Channel, command: str) -> None:
    """The same for a command that does not wait for the word that it was begun."""
    record["sent"].append(command)
    request(channel, command)


def disconnecting(state: State) -> None:
    """Note what each operation was, while there is still a connection to ask."""
    for host in state.activated_hosts:
        with ctx_host.use(host):  # type: ignore[no-untyped-call]
            for op_hash in host.op_hash_order:
                if op_hash not in state.ops[host]:
                    continue  # pyinfra did not come to its end
                record["operations"].append(operation(state, host, op_hash))
    disconnect_all(state)


def operation(state: State, host: Host, op_hash: str) -> dict[str, Any]:
    """An operation of a host, in words that can be compared."""
    data = state.get_op_data_for_host(host, op_hash)
    meta = data.operation_meta
    names = ", ".join(sorted(state.get_op_meta(op_hash).names))
    if meta.is_complete():
        commands = [words(command) for command in meta._commands or ()]
        return {"name": names, "changed": meta.did_change(), "succeeded": meta.did_succeed(), "commands": commands}
    if state.is_executing or host in state.failed_hosts:
        return {"name": names, "changed": None}
    return {"name": names, "changed": meta.will_change, "commands": [words(one) for one in data.command_generator()]}


def words(command: PyinfraCommand) -> str:
    """A command and its input, without what is random in it."""
    if isinstance(command, FunctionCommand):
        return " ".join((command.function.__name__, *(without_token(str(word)) for word in command.args)))
    given = str(command.connector_arguments.get("_stdin", ""))
    if "BEGIN CERTIFICATE" in given:
        given = "a certificate"
    return f"{command} < {hashlib.sha256(without_token(given).encode()).hexdigest()}"


def without_token(text: str) -> str:
    """A change's description without the token of this run."""
    try:
        described = json.loads(text)
        return json.dumps(described | {"token": ""})
    except (ValueError, TypeError):
        return "a token" if len(text) == 32 else text


def main() -> None:
    """Record until pyinfra exits."""
    target = Path(sys.argv.pop(1))
    batch.LIMIT_S = float(os.environ.get("RECORD_LIMIT_S", batch.LIMIT_S))
    Channel.exec_command = sending
    line._request = requesting
    pyinfra_cli.cli.disconnect_all = disconnecting
    atexit.register(lambda: target.write_text(json.dumps(record)))
    run_pyinfra()


if __name__ == "__main__":
    main()

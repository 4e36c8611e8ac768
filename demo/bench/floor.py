"""The floor: log in to each host and run one script, all hosts at once: ``floor.py HOSTS.json SCRIPT``.

No more than a program has to do that asks hosts what hearth's deploy asks them; it decides nothing.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko


def ask(host: dict[str, Any], script: str) -> int:
    """Run the script as root on one host; return the bytes of its answer. Raises OSError or SSHException."""
    connection = socket.create_connection((host["address"], host["port"]), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(connection)
    try:
        transport.start_client(timeout=60)
        shown = transport.get_remote_server_key()
        if f"{shown.get_name()} {shown.get_base64()}" != host["host_key"]:
            raise OSError(f"{host['name']} shows another host key")
        key = paramiko.Ed25519Key.from_private_key_file(host["identity"])
        if Path(f"{host['identity']}-cert.pub").exists():
            key.load_certificate(f"{host['identity']}-cert.pub")
        transport.auth_publickey(host["user"], key)
        channel = transport.open_session()
        channel.exec_command("sh" if host["user"] == "root" else "sudo -n sh")
        channel.sendall(script.encode())
        channel.shutdown_write()
        answer = b"".join(iter(lambda: channel.recv(1 << 16), b""))
        if channel.recv_exit_status() != 0:
            raise OSError(f"the script failed on {host['name']}")
        return len(answer)
    finally:
        transport.close()


def main(hosts: str, script: str) -> int:
    """Ask all hosts, and print how much they answered."""
    described, text = json.loads(Path(hosts).read_text()), Path(script).read_text()
    with ThreadPoolExecutor(len(described)) as pool:
        answered = sum(pool.map(lambda host: ask(host, text), described))
    sys.stdout.write(f"{answered} bytes from {len(described)} hosts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

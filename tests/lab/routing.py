"""A relay with its router alone, and stand-ins where the households' tunnels would end."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hearth.lab.lab import Lab
from tests.lab.boxes import RELAY, Converge, Operator, wait_for

VISITOR = "visitor"
MUELLER, SCHMIDT, WEBER = "mueller.home.example", "schmidt.home.example", "weber.home.example"
PUBLIC_PORT = 20443
CHUNK_BYTES, CHUNKS = 1 << 20, 30
GO_ON = "/root/go-on"

DEPLOY = """
from pyinfra import host

from hearth import artefacts, packages, services
from roles import base, router

relay = host.data.get("relay")
packages.installed(name="Install the packages", names=(*base.PACKAGES, *router.PACKAGES))
artefacts.bootstrap()
router.router(relay)
services.running(name="See that every service runs", names=("haproxy.service",))
"""

# Where the households' tunnels would end: TLS servers that demand PROXY protocol v2 and note what it says. The one on
# 127.0.0.1 is a service of the relay's own, which nobody outside may reach. They answer whatever name is asked for.
STAND_INS = """
import json, os, socket, ssl, struct, threading, time

NAMES = {"127.10.0.17": "mueller", "127.10.0.18": "schmidt", "127.10.0.19": "weber", "127.0.0.1": "the relay itself"}
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain("/root/stand-in.crt", "/root/stand-in.key")
NOTES = open("/root/stand-ins.log", "a", buffering=1)

def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("cut off")
        data += more
    return data

def proxied(connection):
    head = exactly(connection, 16)
    assert head[:12] == b"\\r\\n\\r\\n\\0\\r\\nQUIT\\n" and head[12] == 0x21, "no PROXY protocol v2"
    body = exactly(connection, struct.unpack("!H", head[14:16])[0])
    family, size = (socket.AF_INET, 4) if head[13] == 0x11 else (socket.AF_INET6, 16)
    return socket.inet_ntop(family, body[:size])

def serve(connection, name):
    try:
        visitor = proxied(connection)
        NOTES.write(json.dumps([name, visitor]) + "\\n")
        with CONTEXT.wrap_socket(connection, server_side=True) as stream:
            path = stream.recv(4096).split()[1]
            if path == b"/slow":
                stream.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % (CHUNKS * CHUNK_BYTES))
                for number in range(CHUNKS):
                    stream.sendall(bytes([number]) * CHUNK_BYTES)
                    while number == CHUNKS // 2 and not os.path.exists("GO_ON"):
                        time.sleep(0.2)
            else:
                body = f"{name} saw {visitor}".encode()
                stream.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    except (OSError, AssertionError, IndexError):
        pass
    finally:
        connection.close()

def listen(address, name):
    server = socket.create_server((address, 10443), backlog=1024)
    while True:
        threading.Thread(target=serve, args=(server.accept()[0], name), daemon=True).start()

for address, name in NAMES.items():
    threading.Thread(target=listen, args=(address, name)).start()
"""

# Bytes that no tool sends: given a JSON list [server name, how to send its hello], say what came back.
KNOCK = """
import json, socket, ssl, sys, time

def hello(name):
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()

relay, name, how = sys.argv[1:]
whole = hello(name)
parts = {"whole": [whole], "in two": [whole[:100], whole[100:]], "half": [whole[:100]],
         "http": [b"GET / HTTP/1.0\\r\\nHost: " + name.encode() + b"\\r\\n\\r\\n"], "ssh": [b"SSH-2.0-x\\r\\n"],
         "zeros": [bytes(500)], "space": [whole.replace(name.encode(), name.encode()[:-4] + b" a b")]}[how]
started = time.monotonic()
with socket.create_connection((relay, 443), timeout=20) as line:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in parts:
        line.sendall(part)
        time.sleep(1.5 if len(parts) > 1 else 0)
    try:
        answer = line.recv(100)
    except ConnectionResetError:
        answer = b""
print(json.dumps({"answered": bool(answer), "seconds": time.monotonic() - started}))
"""

# Open many connections from each of several addresses, hold them all, and say how many of each got a ServerHello.
CROWD = (
    KNOCK.partition("relay, name")[0]
    + """
relay, name, each, *sources = sys.argv[1:]
whole, held, counts = hello(name), [], {}
for source in sources:
    lines = []
    for _ in range(int(each)):
        try:
            line = socket.create_connection((relay, 443), timeout=20, source_address=(source, 0))
            line.sendall(whole)
            lines.append(line)
        except OSError:
            pass
    counts[source] = 0
    for line in lines:
        try:
            counts[source] += bool(line.recv(100))
        except OSError:
            pass
    held += lines
print(json.dumps(counts), flush=True)
sys.stdin.read()
"""
)


class Relay:
    """The converged relay as the tests use it."""

    def __init__(self, lab: Lab, inventory: Path, deploy: Path) -> None:
        self.lab, self.inventory, self.deploy = lab, inventory, deploy
        self.address = lab.public_address(RELAY)

    def converge(self) -> Converge:
        return Operator(self.lab, self.inventory).converge(limit=RELAY, deploy=str(self.deploy))

    def household(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit the file of a household, made from mueller's when there is none."""
        file = self.inventory / f"households/{name}.yaml"
        data = yaml.safe_load((file if file.exists() else file.with_name("mueller.yaml")).read_text())
        change(data)
        file.write_text(yaml.safe_dump(data, allow_unicode=True, width=1000))

    def on(self, *argv: str, check: bool = True) -> str:
        return self.lab.exec(RELAY, argv, check=check).stdout

    def visit(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the visitor's machine."""
        return self.lab.exec(VISITOR, argv, check=False)

    def curl(self, url: str, *arguments: str) -> str:
        """What the visitor gets; empty when no answer came."""
        return self.visit("curl", "--silent", "--insecure", "--max-time", "20", *arguments, url).stdout

    def knock(self, name: str, how: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.visit("python3", "-c", KNOCK, self.address, name, how).stdout)
        return answer

    def seen(self) -> list[list[str]]:
        """Whom the stand-ins saw come: household and visitor's address."""
        return [json.loads(line) for line in self.on("cat", "/root/stand-ins.log").splitlines()]

    def processes(self) -> str:
        """HAProxy's processes, master and workers."""
        return self.on("pgrep", "haproxy")

    def ask(self, command: str) -> None:
        """Give the current HAProxy a command, as an administrator does by hand."""
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy-master.sock'); "
            "s.sendall(sys.argv[1].encode() + b'\\n'); s.shutdown(1); print(s.recv(9999))"
        )
        self.on("python3", "-c", program, f"@1 {command}")

    def slowly(self, name: str) -> subprocess.Popen[str]:
        """Start a download that stops halfway until ``rest_of`` wants the rest, or until somebody cuts it."""
        self.on("rm", "-f", GO_ON)
        script = f"curl --silent --insecure https://{name}/slow | sha256sum; exit ${{PIPESTATUS[0]}}"
        before = len(self.seen())
        argv = self.lab.exec_command(VISITOR, ["bash", "-c", script])
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: len(self.seen()) > before, 10, "the download's begin")
        return process

    def rest_of(self, download: subprocess.Popen[str]) -> str:
        """Let the downloads go on, and return the SHA-256 of what one of them got."""
        assert download.poll() is None, "the download was cut"
        self.on("touch", GO_ON)
        return download.communicate(timeout=60)[0].split()[0]

    def is_connected(self, name: str) -> bool:
        address = {MUELLER: "127.10.0.17", SCHMIDT: "127.10.0.18", WEBER: "127.10.0.19"}[name]
        return bool(self.on("ss", "-Htn", "state", "established", "dst", f"{address}:10443").strip())


WHOLE = hashlib.sha256(b"".join(bytes([number]) * CHUNK_BYTES for number in range(CHUNKS))).hexdigest()

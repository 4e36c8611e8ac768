"""The page's server: one connection after the other from systemd's socket, TLS, forms of a few hundred bytes."""

from __future__ import annotations

import http
import os
import socket
import ssl
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from .lan import ROUTES, is_at_home
from .page import SLOW_S, Desk
from .settings import Paths, load
from .sheet import page

IDLE_S = 600
MOST_BYTES = 4096
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Handler(BaseHTTPRequestHandler):
    """One request; what is asked for and answered is never logged."""

    server: Server
    server_version, sys_version = "hearth", ""
    timeout = SLOW_S

    def do_GET(self) -> None:
        """The first page, and no other."""
        self.answer(self.server.desk.home() if self.path == "/" else None)

    def do_POST(self) -> None:
        """A form."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MOST_BYTES:
            self.answer(None)
            return
        raw = self.rfile.read(length).decode(errors="replace")
        form = {name: values[0] for name, values in parse_qs(raw, max_num_fields=8).items()}
        desk = self.server.desk
        if self.path == "/sheet":
            self.answer(desk.sheet(form, self.client_address[0]))
        elif self.path == "/confirm":
            self.answer(desk.confirm(form))
        else:
            self.answer(desk.test(form) if self.path == "/test" else None)

    def answer(self, text: str | None) -> None:
        """Send a page, or say that there is none."""
        raw = (text or page("Not found", "<h1>There is no such page</h1>")).encode()
        self.send_response(http.HTTPStatus.OK if text else http.HTTPStatus.NOT_FOUND)
        for name, value in (HEADERS | {"Content-Length": str(len(raw)), "Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a form is no business of the journal's."""


class Server(ThreadingHTTPServer):
    """The page's server on the socket that systemd hands over."""

    daemon_threads = True
    timeout = IDLE_S
    idle = False

    def __init__(self, taken: socket.socket, context: ssl.SSLContext, desk: Desk) -> None:
        super().__init__(taken.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.context, self.desk = taken, context, desk

    def verify_request(self, request: object, client_address: Any) -> bool:
        """Close the connections of who is not at home, without a word."""
        return is_at_home(client_address[0], ROUTES.read_text())

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Speak TLS, in the thread of the connection: whoever is slow keeps nobody else waiting."""
        if isinstance(request, socket.socket):
            request.settimeout(SLOW_S)
            with self.context.wrap_socket(request, server_side=True) as secure:
                Handler(secure, client_address, self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that does not like the certificate is no news; a fault of the page's own is."""
        fault = sys.exc_info()[1]
        if not isinstance(fault, ssl.SSLError | TimeoutError | ConnectionError):
            print(f"a request broke: {type(fault).__name__}", file=sys.stderr)  # noqa: T201

    def handle_timeout(self) -> None:
        """Nobody has come for a while."""
        self.idle = True


def main() -> int:
    """Serve on descriptor 3 (sd_listen_fds(3)) until nobody comes any more."""
    given = Path(os.environ["CREDENTIALS_DIRECTORY"])
    state = Path(os.environ["STATE_DIRECTORY"])
    settings = load()
    settings = replace(
        settings, paths=Paths(secrets=given, page_state=state, cache=state / "cache", public=settings.paths.public)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given / "page-certificate", given / "page-key")
    server = Server(socket.socket(fileno=3), context, Desk(settings))
    while not server.idle:
        server.handle_request()
    return 0

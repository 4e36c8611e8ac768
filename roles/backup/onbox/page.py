"""The page about the household's key on the home's own network: the sheet to print, and "test my key".

It runs as an account of its own, started by systemd when somebody comes, and ends when nobody has come for a while.
systemd hands it copies of what it needs (``LoadCredential=``) and a socket. Two fences keep strangers out: the socket
takes connections of this home's own networks alone (not of the loopback, where the tunnel's visitors arrive; not of
the internet, even if a router forwards the port; IPv4 alone, since a global IPv6 address needs no forwarding), and the
sheet is shown to an admin of the household's own cloud alone, who logs in with the password that he has there.

All that it may do is show, and leave a mark that the key is on paper: removing the key is for root (``keys.settle``).
"""

from __future__ import annotations

import base64
import http.client
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from . import paperkey
from .common import Fault
from .keys import now, read_paper
from .repository import opens, the_store
from .settings import Paths, Settings
from .sheet import Sheet, page, sheet
from .system import text_of, write_whole

SLOW_S = 20
TRIES, TRIES_S = 5, 300


def confirmation(key: str) -> int:
    """Which group is asked back: of each key another one, and never the first, which a glance remembers."""
    return 2 + sum(key.encode()) % (paperkey.GROUPS - 1)


def showings(paths: Paths, since: str) -> list[str]:
    """When the sheet was shown since the time ``since``, and to whom: on the page, and at the console."""
    lines = [line for folder in (paths.page_state, paths.state) for line in text_of(folder / "shown").splitlines()]
    return sorted(line for line in lines if line >= since)


def log_showing(folder: Path, who: str) -> None:
    """Note a showing."""
    with (folder / "shown").open("a") as file:
        file.write(f"{now()} {who}\n")


class Throttle:
    """At most so many tries in so many seconds, whoever makes them."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._lock = threading.Lock()

    def allows(self, at: float) -> bool:
        """Whether one more may be made at the time ``at`` (it counts then)."""
        with self._lock:
            self._times = [each for each in self._times if at - each < TRIES_S]
            if len(self._times) >= TRIES:
                return False
            self._times.append(at)
            return True


def is_admin(settings: Settings, user: str, password: str) -> bool:
    """Whether the cloud lets this admin in; asked of the box's own web server, whose certificate may be a bridge."""
    if user not in settings.admins or ":" in user or not password:
        return False
    context = ssl._create_unverified_context()  # noqa: S323
    connection = http.client.HTTPConnection("127.0.0.1", 443, timeout=SLOW_S)
    try:
        plain = socket.create_connection(("127.0.0.1", 443), timeout=SLOW_S)
        connection.sock = context.wrap_socket(plain, server_hostname=settings.domain)
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Host": settings.domain, "Authorization": f"Basic {login}", "Depth": "0", "Connection": "close"}
        connection.request("PROPFIND", f"/remote.php/dav/files/{quote(user)}/", headers=headers)
        return connection.getresponse().status == http.HTTPStatus.MULTI_STATUS
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Desk:
    """What the page answers, without the network: forms in, HTML out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.logins, self.tests = Throttle(), Throttle()
        self.token = ""

    def home(self, told: str = "") -> str:
        """The first page."""
        paper, domain = read_paper(self.settings.paths), escape(self.settings.domain)
        body = f"<h1>Backup key of {domain}</h1>" + (f'<p class="told">{escape(told)}</p>' if told else "")
        if not paper.repository:
            body += "<p>The box has not reached the place of its backups yet. Come back tomorrow.</p>"
        elif paper.confirmed:
            body += f"<p>The key has been on paper since {escape(paper.confirmed[:10])}; the box has forgotten it.</p>"
        else:
            admins = ", ".join(self.settings.admins)
            body += (
                "<p>Nobody can restore your files without the key on paper, and it is not on paper yet. Have a printer "
                f"ready, then log in as you do in your cloud, as its admin ({escape(admins)}).</p>"
                '<form method="post" action="/sheet"><label for="user">Name</label>'
                '<input id="user" name="user" autocomplete="username" required>'
                '<label for="password">Password</label>'
                '<input id="password" name="password" type="password" autocomplete="current-password" required>'
                "<button>Show the sheet</button></form>"
            )
        body += (
            "<h2>Test my key</h2><p>Type the key from the paper: the box says whether it opens the backup.</p>"
            '<form method="post" action="/test"><label for="key">Key</label>'
            '<input id="key" name="key" autocomplete="off" autocapitalize="characters" spellcheck="false" required>'
            "<button>Test</button></form>"
        )
        return page(f"Backup key of {self.settings.domain}", body)

    def sheet(self, form: Mapping[str, str], peer: str) -> str:
        """The sheet, for an admin."""
        paper, key = read_paper(self.settings.paths), text_of(self.settings.paths.paper_key)
        if not self.logins.allows(time.monotonic()):
            return self.home("Too many tries; wait five minutes.")
        if not is_admin(self.settings, form.get("user", ""), form.get("password", "")):
            return self.home("The cloud knows no admin with this name and password.")
        if not key or not paper.repository or paper.confirmed:
            return self.home()
        before = showings(self.settings.paths, paper.added)
        log_showing(self.settings.paths.page_state, f"to {form['user']} at {peer}")
        print(f"the sheet is shown to {form['user']} at {peer}", flush=True)  # noqa: T201 (the unit's journal)
        self.token = secrets.token_hex(16)
        warning = (
            f"It was shown before: {before[-1]}. If that was not you, tell who looks after the box." if before else ""
        )
        return page(
            f"Backup key of {self.settings.domain}",
            sheet(Sheet(self.settings.household, self.settings.domain, paper.added[:10], key))
            + f'<form class="screen" method="post" action="/confirm"><p class="told">{escape(warning)}</p>'
            "<h2>Print this page now</h2><p>Then read one group back from the paper. The box forgets the key, and "
            f'shows it never again.</p><label for="group">Group {confirmation(key)}</label>'
            f'<input type="hidden" name="token" value="{self.token}">'
            '<input id="group" name="group" autocomplete="off" required><button>It is on paper</button></form>',
        )

    def confirm(self, form: Mapping[str, str]) -> str:
        """Leave the mark that the key is on paper; root removes it from the box."""
        key = text_of(self.settings.paths.paper_key)
        if not self.token or not secrets.compare_digest(form.get("token", ""), self.token):
            return self.home("Log in anew.")
        if not paperkey.same_group(key, confirmation(key), form.get("group", "")):
            return self.home("That is not the group. Look at the paper, log in, and try again.")
        write_whole(self.settings.paths.page_state / "confirmed", paperkey.fingerprint(key) + "\n", 0o644)
        return page(
            "Done", "<h1>The key is on paper, and only there</h1><p>The box has forgotten it. Put the sheet away.</p>"
        )

    def test(self, form: Mapping[str, str]) -> str:
        """Whether a typed key opens the repository."""
        try:
            key = paperkey.parse(form.get("key", ""))
        except paperkey.Mistyped as fault:
            return self.home(f"{str(fault)[0].upper()}{str(fault)[1:]}.")
        if not self.tests.allows(time.monotonic()):
            return self.home("Too many tries; wait five minutes.")
        try:
            opened = opens(self.settings, the_store(self.settings), key)
        except Fault as fault:
            end = "" if str(fault).endswith("?") else "."
            return self.home(
                f"The key cannot be tried now, which says nothing against it: {fault}{end} Try again in an hour; if it "
                "stays so, tell who looks after the box."
            )
        if opened:
            return self.home("This key opens the backup.")
        return self.home("This is a whole key, and it does not open this box's backup. Is it the sheet of another box?")

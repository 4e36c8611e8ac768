"""Checks of what visitors meet: the certificate under the household's name, and the cloud behind it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from .model import Finding, Outcome, Settings, Web, stamp
from .moment import Moment
from .system import ENVIRONMENT, PATIENCE_S

HERE = "127.0.0.1"
LOCK = Path("/run/lock/hearth-cloud")
APACHE = "`systemctl status apache2`, and `journalctl -u apache2 -n 30` for the reason"
DAY_S = 86_400


def connection(web: Web) -> ssl.SSLSocket:
    """A TLS connection to this machine's web server, asking for the household's name. Raises OSError.

    Nothing is verified here, since the machine has no root to verify it by: ``judge_certificate`` reads what it shows.
    """
    context = ssl._create_unverified_context()  # noqa: S323
    plain = socket.create_connection((HERE, web.port), timeout=PATIENCE_S)
    try:
        return context.wrap_socket(plain, server_hostname=web.domain)
    except BaseException:
        plain.close()
        raise


def described(certificate: bytes, domain: str) -> str:
    """What openssl says of a certificate (DER): its dates, subject and issuer, and whether it is for ``domain``."""
    asked = ["-noout", "-dates", "-dateopt", "iso_8601", "-subject", "-issuer", "-checkhost", domain]
    done = subprocess.run(
        ["openssl", "x509", "-inform", "DER", *asked],
        input=certificate,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def judge_certificate(text: str, web: Web, now: float) -> Outcome:
    """Given what openssl says of the certificate that is served, return what is wrong with it, and its days left.

    A certificate of a short life may come nearer to its end than the inventory's days: a third of its life is the time
    at which it is renewed, so a quarter means that renewing failed for a while, and a twelfth that it ends soon.
    """
    values = dict(re.findall(r"^(notBefore|notAfter|subject|issuer)=\s*(.*)$", text, re.MULTILINE))
    if "notAfter" not in values:
        return Outcome((Finding("certificate", "required", "the certificate that is served cannot be read", APACHE),))
    begin, end = (datetime.fromisoformat(values[name]).timestamp() for name in ("notBefore", "notAfter"))
    days, life = (end - now) / DAY_S, (end - begin) / DAY_S
    converge = "converge this box; hearth renews it then"
    findings = []
    if "does match certificate" not in text:
        findings.append(Finding("certificate", "required", f"the certificate is not for {web.domain}", converge))
    if values.get("subject") == values.get("issuer"):
        sentence = "the certificate is the bridge that the box signed itself, which no device trusts"
        findings.append(Finding("certificate", "required", sentence, converge))
    if days <= min(web.wanted_days, life / 4):
        ends = (
            f"ends in {days:.0f} days" if days >= 2 else f"ends in {days * 24:.0f} hours" if days > 0 else "has ended"
        )
        soon = days <= min(web.required_days, life / 12)
        findings.append(Finding("certificate", "required" if soon else "wanted", f"the certificate {ends}", converge))
    return Outcome(tuple(findings), {"certificate_until": stamp(Moment.at(end))})


def check_certificate(web: Web, moment: Moment) -> Outcome:
    """Whether the web server shows a certificate for the household's name that lasts."""
    try:
        with connection(web) as shown:
            certificate = shown.getpeercert(binary_form=True) or b""
        text = described(certificate, web.domain)
    except (OSError, subprocess.SubprocessError) as fault:
        return Outcome((Finding("certificate", "required", _silent(web, fault), APACHE),))
    return judge_certificate(text, web, moment.now)


def is_locked(file: Path, locks: str) -> bool:
    """Given the text of /proc/locks, return whether some program holds a lock on ``file``.

    Whoever upgrades the cloud does; the lock ends with that program, however it ends.
    """
    try:
        told = file.stat()
    except OSError:
        return False
    return f" {os.major(told.st_dev):02x}:{os.minor(told.st_dev):02x}:{told.st_ino} " in locks


def judge_cloud(answer: dict[str, Any], *, upgrading: bool) -> Outcome:
    """Given the JSON of ``/status.php``, return what keeps the cloud from serving; an upgrade does so for a while."""
    facts = {"cloud_version": str(answer.get("versionstring", ""))}
    occ = "`/usr/lib/hearth/owncloud recover`, then converge this box"
    if answer.get("installed") is not True:
        return Outcome((Finding("cloud", "required", "the cloud says that it is not installed", occ),), facts)
    wrong = [
        words
        for key, words in (("maintenance", "in maintenance mode"), ("needsDbUpgrade", "in need of a database upgrade"))
        if answer.get(key) is not False
    ]
    if not wrong:
        return Outcome(facts=facts)
    if upgrading:
        wait = "wait; `journalctl -u hearth-cloud-update -n 30` tells how far it is"
        return Outcome((Finding("cloud", "wanted", "the cloud is being upgraded", wait),), facts)
    return Outcome((Finding("cloud", "required", f"the cloud is {' and '.join(wrong)}", occ),), facts)


def check_cloud(web: Web) -> Outcome:
    """Whether the cloud answers under the household's name and says that it serves."""
    upgrading = is_locked(LOCK, Path("/proc/locks").read_text())
    client = http.client.HTTPConnection(HERE, web.port, timeout=PATIENCE_S)
    try:
        client.sock = connection(web)
        client.request("GET", "/status.php", headers={"Host": web.domain, "Connection": "close"})
        answer = client.getresponse()
        if answer.status == http.HTTPStatus.OK:
            return judge_cloud(dict(json.loads(answer.read(100_000))), upgrading=upgrading)
        sentence, next_step = f"the cloud answers {answer.status} to its own box", "`journalctl -u 'php*-fpm' -n 30`"
    except (OSError, http.client.HTTPException, ValueError) as fault:
        sentence, next_step = _silent(web, fault), APACHE
    finally:
        client.close()
    return Outcome((Finding("cloud", "wanted" if upgrading else "required", sentence, next_step),))


def _silent(web: Web, fault: Exception) -> str:
    reason = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return f"the web server does not answer on port {web.port} ({reason})"


def checks(settings: Settings, moment: Moment) -> dict[str, Any]:
    """The checks of this module that the settings ask for, by name."""
    web = settings.web
    if web is None:
        return {}
    return {"certificate": lambda: check_certificate(web, moment), "cloud": lambda: check_cloud(web)}

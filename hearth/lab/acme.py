"""The lab's certificate authority: pebble, Let's Encrypt's ACME test server, at acme.hearth.lab.

It proves names as the real one does: it asks the lab's DNS, and connects to port 443 (tls-alpn-01) or 80 (http-01). Its
root is another at each start, so nothing can come to trust it for good.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hearth.lab import daemons
from hearth.lab.daemons import Daemon
from hearth.lab.process import run
from hearth.lab.topology import ACME_ADDRESS, ACME_NAME, NAME_SERVER_ADDRESS

PORT = 14000
DIRECTORY = f"https://{ACME_NAME}:{PORT}/dir"
# It also hands out the private keys of pebble's roots, so only the internet itself may ask.
MANAGEMENT_ADDRESS, MANAGEMENT_PORT = "127.0.0.1", 15000
VALID_FOR = timedelta(days=90)
"""As Let's Encrypt's certificates."""

ROOT = "etc/pebble/root.pem"
CERTIFICATE, KEY = "etc/pebble/certificate.pem", "etc/pebble/key.pem"
CONFIGURATION = "etc/pebble/config.json"
API_VALID_FOR = timedelta(days=365)

ENVIRONMENT = {
    "PEBBLE_VA_NOSLEEP": "1",
    # By default it refuses one request in twenty, and takes every second old proof for a new one.
    "PEBBLE_WFE_NONCEREJECT": "0",
    "PEBBLE_AUTHZREUSE": "0",
}

SCRIPT = f"""\
chmod 755 /etc/pebble
chown -R nobody:nogroup /etc/pebble
exec setpriv --reuid=nobody --regid=nogroup --clear-groups \
  pebble -config /{CONFIGURATION} -dnsserver {NAME_SERVER_ADDRESS}:53
"""

FETCH = """\
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
print(urllib.request.urlopen(sys.argv[1], context=context, timeout=10).read().decode())
"""


def configuration(valid_for: timedelta) -> str:
    """Pebble's configuration. ``valid_for``: how long the certificates that it issues are valid."""
    settings = {
        "listenAddress": f"{ACME_ADDRESS}:{PORT}",
        "managementListenAddress": f"{MANAGEMENT_ADDRESS}:{MANAGEMENT_PORT}",
        "certificate": f"/{CERTIFICATE}",
        "privateKey": f"/{KEY}",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "retryAfter": {"authz": 1, "order": 1},
        "certificateValidityPeriod": int(valid_for.total_seconds()),
    }
    return json.dumps({"pebble": settings}, indent=2) + "\n"


def api_certificate(now: datetime) -> dict[str, str]:
    """The certificate with which pebble's own HTTPS answers, its key, and the root that issued it: path -> PEM.

    The root's key is forgotten here: it issues this one certificate.
    """
    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Root of {ACME_NAME}, a lab's server")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ACME_NAME)])
    names = [x509.DNSName(ACME_NAME), *(x509.IPAddress(ip_address(one)) for one in (ACME_ADDRESS, MANAGEMENT_ADDRESS))]

    def begun(whose: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(whose).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + API_VALID_FOR)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)

    root = (
        begun(issuer, issuer_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(issuer_key, SHA256())
    )
    certificate = (
        begun(subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, SHA256())
    )
    return {
        ROOT: root.public_bytes(Encoding.PEM).decode(),
        CERTIFICATE: certificate.public_bytes(Encoding.PEM).decode(),
        KEY: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def start(daemon: Daemon, base: Path, valid_for: timedelta = VALID_FOR) -> None:
    """Start pebble unless it runs, and return at once; its own certificate is made once a lab."""
    if daemons.is_running(daemon):
        return
    if not all((daemon.upper / path).exists() for path in (ROOT, CERTIFICATE, KEY)):
        daemons.configure(daemon, api_certificate(datetime.now(UTC)))
    daemons.configure(daemon, {CONFIGURATION: configuration(valid_for)})
    daemons.start(daemon, base, SCRIPT, ENVIRONMENT)


def wait(daemon: Daemon) -> None:
    """Wait until pebble answers: it makes the keys of its authority first."""
    daemons.wait(daemon, lambda: all(daemons.listens(daemon.namespace, port) for port in (PORT, MANAGEMENT_PORT)))


def root(daemon: Daemon) -> str:
    """The root of pebble's own HTTPS, PEM: what its clients must trust to talk to it."""
    return (daemon.upper / ROOT).read_text()


def issuing_roots(daemon: Daemon) -> str:
    """The root of the certificates that pebble issues until it is next started, PEM: what visitors must trust."""
    url = f"https://{MANAGEMENT_ADDRESS}:{MANAGEMENT_PORT}/roots/0"
    argv = [sys.executable, "-c", FETCH, url, str(daemon.upper / ROOT)]
    return run(["ip", "netns", "exec", daemon.namespace, *argv]).stdout

"""What programs that are not ours say of a converged box: ssh-audit by our policy, sslyze by Mozilla's profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sslyze.mozilla_tls_profile.tls_config_checker import (
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)
from sslyze.scanner.models import ServerScanRequest, ServerScanStatusEnum
from sslyze.scanner.scanner import Scanner
from sslyze.server_setting import ServerNetworkLocation

from tests.lab.boxes import DOMAIN, MUELLER, Operator, wait_for
from tests.lab.logins import SSH_PORT

pytestmark = pytest.mark.lab

POLICY = Path(__file__).with_name("ssh-audit-policy.txt")
PASSED, FAILED = 0, 3
# Mozilla's profile asks for a certificate that browsers know; that a household's is the fleet's own is intended.
PRIVATE_AUTHORITY = {"certificate_path_validation"}


def ssh_audit(box: Operator, port: int) -> subprocess.CompletedProcess[str]:
    """Judge the sshd on ``port`` from the box's own network: probes from the bench would shut the operator out."""
    program = Path(sys.executable).with_name("ssh-audit")
    return subprocess.run(
        [
            *("ip", "netns", "exec", box.lab.netns(MUELLER)),
            *(str(program), "--no-colors", "--policy", str(POLICY), "--port", str(port), "127.0.0.1"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tls_issues(box: Operator, port: int) -> set[str]:
    """What sslyze has against the TLS on ``port``, by Mozilla's intermediate profile."""
    place = ServerNetworkLocation(DOMAIN, port, ip_address=box.lab.address(MUELLER))
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(server_location=place)])
    (result,) = scanner.get_results()
    assert result.scan_status is ServerScanStatusEnum.COMPLETED
    try:
        # Raises for a scan that is not complete, too.
        check_server_against_tls_configuration(
            result, MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
        )
    except ServerNotCompliantWithTlsConfiguration as found:
        return set(found.issues)
    return set()


def test_ssh_audit_passes_the_box_by_our_policy(box: Operator) -> None:
    verdict = ssh_audit(box, SSH_PORT)
    assert verdict.returncode == PASSED, verdict.stdout
    assert "Passed" in verdict.stdout


def test_ssh_audit_fails_debians_own_sshd_by_the_same_policy(box: Operator) -> None:
    port = 2299
    sshd = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-p", str(port)]
    box.lab.exec(MUELLER, ["systemd-run", "--quiet", "--collect", "--unit=stock-sshd", *sshd])
    try:
        listens = ["sh", "-c", f"ss -Hltn | grep -q :{port}"]
        wait_for(lambda: box.lab.exec(MUELLER, listens, check=False).returncode == 0, 10, "the stock sshd")
        verdict = ssh_audit(box, port)
    finally:
        box.lab.exec(MUELLER, ["systemctl", "stop", "stock-sshd"])
    assert verdict.returncode == FAILED, verdict.stdout
    assert "MACs did not match" in verdict.stdout
    assert "Key exchanges did not match" in verdict.stdout


def test_sslyze_names_nothing_but_the_private_authority(box: Operator) -> None:
    assert tls_issues(box, 443) == PRIVATE_AUTHORITY


def test_sslyze_names_the_weak_ciphers_of_a_weakened_site(box: Operator) -> None:
    port = 8443
    site = (
        f"Listen {port}\n<VirtualHost *:{port}>\nSSLEngine on\nSSLCipherSuite HIGH\n"
        "SSLCertificateFile /etc/hearth/tls/certificate.pem\nSSLCertificateKeyFile /etc/hearth/tls/key.pem\n"
        "</VirtualHost>\n"
    )
    weak = "/etc/apache2/sites-enabled/weak.conf"
    box.lab.exec(MUELLER, ["sh", "-c", f"cat > {weak} && systemctl restart apache2"], stdin=site)
    try:
        issues = tls_issues(box, port)
    finally:
        box.lab.exec(MUELLER, ["sh", "-c", f"rm {weak} && systemctl restart apache2"])
    assert "ciphers" in issues


def test_browsers_are_told_to_come_back_over_https_for_two_years(box: Operator) -> None:
    """sslyze does not judge it when the certificate's authority is unknown to it."""
    assert "strict-transport-security: max-age=63072000" in box.curl("/status.php", "--head").body.lower()


def test_the_key_exchange_of_tls_is_post_quantum(box: Operator) -> None:
    """Asked by the box's own OpenSSL, which knows the group; sslyze does not."""
    connect = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null"
    spoken = box.lab.exec(MUELLER, ["sh", "-c", connect]).stdout
    assert "Negotiated TLS1.3 group: X25519MLKEM768" in spoken

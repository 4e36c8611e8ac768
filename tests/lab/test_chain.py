"""The whole chain, with nothing stood in for: a visitor on the internet, the relay's router, the tunnel, the box.

The visitor knows the household's name and trusts the fleet's authority; the operator knows the box by its name too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import yaml
from paramiko import SSHClient

from hearth import layout
from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from hearth.login import first_open
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, VISITOR, Operator, wait_for
from tests.lab.homes import ADDRESS, RELAY_DEPLOY, converged, from_outside

pytestmark = pytest.mark.lab

FILES = "/remote.php/dav/files/renate"
BIG_BYTES = 1_600_000_000
SLOW_BYTES = 300_000_000
# Noise that is the same again each time: a counter, encrypted.
NOISE = (
    "openssl enc -aes-128-ctr -K 00000000000000000000000000000000 -iv 00000000000000000000000000000000 </dev/zero "
    "2>/dev/null | head -c"
)

WEBER, WEBER_DOMAIN, WEBER_ADDRESS = "weber", "weber.home.example", "127.10.0.19"
WEBER_KEY = "/etc/hearth/tunnel/weber-key"

# Reads slowly until the file is there, then what is left at once; prints how much came and its SHA-256.
SLOWLY = """
import hashlib, os, sys, time
digest, size = hashlib.sha256(), 0
while part := sys.stdin.buffer.read(1 << 20):
    digest.update(part)
    size += len(part)
    if size == len(part):
        open("/root/begun", "w").close()
    if not os.path.exists("/root/go-on"):
        time.sleep(0.5)
print(size, digest.hexdigest())
"""

SECRET = "the-household-keeps-this-to-itself."
CLEAR = "anybody-on-the-way-can-read-this."
CAPTURE = "/root/capture.pcap"

# Wherever a private key lies, as text or as DER. What came with a Debian package and is unchanged is nobody's secret:
# GnuTLS's library, say, has keys for its self-tests.
PRIVATE_KEYS = r"""
import hashlib, os, pathlib, re, subprocess
TEXT = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----\s+(?:[A-Za-z-]+: .*\s+)*[A-Za-z0-9+/]{40}")
DEBIANS = set()
for sums in pathlib.Path("/var/lib/dpkg/info").glob("*.md5sums"):
    DEBIANS |= {line.partition("  ")[0] for line in sums.read_text().splitlines()}

def kinds(path, content):
    found = [found[1].decode().strip() or "PKCS8" for found in TEXT.finditer(content)]
    if content[:1] == b"\x30" and len(content) < 20000:
        judge = ["openssl", "pkey", "-inform", "DER", "-in", path, "-noout"]
        if subprocess.run(judge, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
            found.append("DER")
    return found

for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
    for name in files:
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        content = pathlib.Path(path).read_bytes()
        if (found := kinds(path, content)) and hashlib.md5(content).hexdigest() not in DEBIANS:
            print(*(f"{kind} {path}" for kind in found), sep="\n")
"""


@dataclass(frozen=True)
class Chain:
    """The chain from the visitor's end."""

    operator: Operator
    password: str

    @property
    def lab(self) -> Lab:
        return self.operator.lab

    def curl(self, path: str, *arguments: str, domain: str = DOMAIN) -> subprocess.CompletedProcess[str]:
        """The visitor asks, as a member of the household; the password goes by standard input."""
        command = from_outside(path, "--config", "-", "--max-time", "600", *arguments, domain=domain)
        secret = f'user = "renate:{self.password}"\n'
        return self.lab.exec(VISITOR, command, stdin=secret, check=False, timeout_s=660)

    def upload(self, name: str, file: str) -> None:
        answer = self.curl(f"{FILES}/{name}", "--upload-file", file, "--write-out", "%{http_code}")
        assert answer.stdout in ("201", "204"), answer.stdout + answer.stderr

    def on_visitor(self, script: str) -> str:
        return self.lab.exec(VISITOR, ["bash", "-c", script], timeout_s=300).stdout

    def answers(self, domain: str) -> bool:
        """Whether a visitor gets an answer for a name, or else the relay hangs up; whose certificate does not count."""
        # The lab's public DNS knows no households that join later.
        there = ("--resolve", f"{domain}:443:{self.lab.public_address(RELAY)}")
        asked = self.curl("/status.php", "--insecure", "--output", "/dev/null", *there, domain=domain)
        # No TLS came about (35), or the line was cut (56).
        assert asked.returncode in (0, 35, 56), asked.stderr
        return asked.returncode == 0

    def converge_relay(self) -> list[str]:
        """Converge the relay with success; the operations that changed something."""
        run = self.operator.converge(limit=RELAY, deploy=RELAY_DEPLOY)
        converged(run)
        return run.changed


@pytest.fixture(scope="module")
def chain(home: Operator, visitor: str) -> Chain:
    """The chain, up."""
    home.lab.exec(
        VISITOR, ["apt-get", "-qqy", "--no-install-recommends", "install", "openssl", "python3"], timeout_s=300
    )
    made = Chain(home, home.passwords()["renate"])
    wait_for(lambda: made.answers(DOMAIN), 60, "the home to answer")
    return made


def test_a_file_of_1600_megabytes_goes_through_the_whole_chain_and_comes_back_as_it_went(chain: Chain) -> None:
    try:
        there = chain.on_visitor(f"{NOISE} {BIG_BYTES} | tee /root/big.bin | sha256sum")
        chain.upload("big.bin", "/root/big.bin")
        back = chain.curl(f"{FILES}/big.bin", "--output", "/root/big.back")
        assert back.returncode == 0, back.stderr
        sizes = chain.on_visitor("stat --format=%s /root/big.bin /root/big.back; sha256sum < /root/big.back")
        assert sizes.splitlines() == [str(BIG_BYTES), str(BIG_BYTES), there.strip()]
    finally:
        chain.on_visitor("rm -f /root/big.*")
        chain.curl(f"{FILES}/big.bin", "--request", "DELETE")


def test_the_visitor_sees_the_fleets_certificate_and_the_box_sees_the_visitors_address(chain: Chain) -> None:
    answer = chain.curl("/status.php?whole-chain", "--write-out", "%{ssl_verify_result} %{remote_ip}")
    assert answer.stdout.endswith(f"0 {chain.lab.public_address(RELAY)}"), answer.stderr
    log = chain.lab.exec(MUELLER, ["grep", "whole-chain", "/var/log/apache2/hearth-access.log"]).stdout
    assert log.startswith(f"{chain.lab.public_address(VISITOR)} - ")


@pytest.mark.parametrize("path", ["/apps", "/.well-known/caldav", "/.well-known/carddav"])
def test_a_redirect_leads_the_visitor_to_the_public_name_without_an_inner_port(chain: Chain, path: str) -> None:
    place = chain.curl(path, "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}").stdout
    assert place.startswith(f"301 https://{DOMAIN}/"), place
    followed = chain.curl(path, "--location", "--output", "/dev/null", "--write-out", "%{url_effective}")
    assert followed.stdout.startswith(f"https://{DOMAIN}/"), followed.stderr


@contextmanager
def capturing(lab: Lab) -> Iterator[None]:
    """Capture every packet of every interface of the relay, loopback included."""
    lab.exec(RELAY, ["sh", "-c", f"rm -f {CAPTURE}; apt-get -qq update; apt-get -qqy install tcpdump"], timeout_s=300)
    dump = ("tcpdump", "-i", "any", "-s", "0", "-B", "65536", "-U", "-Z", "root", "-w", CAPTURE)
    lab.exec(RELAY, ["systemd-run", "--quiet", "--unit=capture", *dump])
    try:
        wait_for(lambda: lab.exec(RELAY, ["test", "-s", CAPTURE], check=False).returncode == 0, 20, "tcpdump")
        yield
    finally:
        lab.exec(RELAY, ["systemctl", "stop", "capture"])


def test_what_the_visitor_uploads_is_never_seen_on_the_relay(chain: Chain) -> None:
    """The controls: the same capture sees words that were sent in clear, from outside and on loopback."""
    relay = chain.lab.public_address(RELAY)
    chain.on_visitor(f"yes {SECRET} | head -c 20000000 > /root/secret.txt")
    with capturing(chain.lab):
        chain.upload("secret.txt", "/root/secret.txt")
        assert SECRET in chain.curl(f"{FILES}/secret.txt", "--range", "0-100").stdout
        chain.on_visitor(f"curl --silent --output /dev/null http://{relay}/{CLEAR}outside")
        chain.lab.exec(RELAY, ["curl", "--silent", "--output", "/dev/null", f"http://127.0.0.1/{CLEAR}loopback"])
        # What the capture holds of the last packets, it has of those before.
        wait_for(lambda: count(chain, f"{CLEAR}loopback") >= 1, 20, "the capture to see loopback")
    try:
        size = int(chain.lab.exec(RELAY, ["stat", "--format=%s", CAPTURE]).stdout)
        # It came in, and went on through loopback into the tunnel and out of it.
        assert size > 60_000_000
        said = chain.lab.exec(RELAY, ["journalctl", "--unit=capture", "--output=cat"]).stdout
        assert "0 packets dropped by kernel" in said
        assert count(chain, f"{CLEAR}outside") >= 1
        for word in (SECRET, "renate", chain.password):
            assert count(chain, word) == 0, "read on the relay"
        assert count(chain, DOMAIN) >= 1, "the name is what the relay does see"
    finally:
        chain.lab.exec(RELAY, ["rm", "-f", CAPTURE])
        chain.on_visitor("rm -f /root/secret.txt")
        chain.curl(f"{FILES}/secret.txt", "--request", "DELETE")


def count(chain: Chain, word: str) -> int:
    """How many lines of the capture hold ``word``, which is not for everybody to read in an argument."""
    found = chain.lab.exec(RELAY, ["grep", "-caF", "-f", "-", CAPTURE], stdin=f"{word}\n", check=False)
    return int(found.stdout)


def private_keys(lab: Lab, host: str) -> set[str]:
    """The private keys that lie anywhere on a host: their kind and their path."""
    return set(lab.exec(host, ["python3", "-"], stdin=PRIVATE_KEYS, timeout_s=300).stdout.splitlines())


def test_no_private_key_is_on_the_relay_but_those_of_its_own_sshds_and_store(chain: Chain) -> None:
    """The control: the same search finds the key of the box's certificate on the box."""
    assert f"PKCS8 {layout.TLS_KEY}" in {line.replace("EC ", "PKCS8 ", 1) for line in private_keys(chain.lab, MUELLER)}
    own = {f"OPENSSH /etc/ssh/ssh_host_{kind}_key" for kind in ("ed25519", "rsa")}
    own |= {f"OPENSSH {layout.TUNNEL_HOST_KEY}", "PKCS8 /etc/hearth/store/key.pem"}
    assert private_keys(chain.lab, RELAY) == own


@contextmanager
def undisturbed(chain: Chain) -> Iterator[None]:
    """A long download of the visitor and a session of the operator go on all the while, and end as they should."""
    lab = chain.lab
    chain.on_visitor("rm -f /root/begun /root/go-on")
    there = chain.on_visitor(f"{NOISE} {SLOW_BYTES} | tee /root/slow.bin | sha256sum").split()[0]
    chain.upload("slow.bin", "/root/slow.bin")
    lab.exec(VISITOR, ["tee", "/root/slowly.py"], stdin=SLOWLY)
    get = " ".join(from_outside(f"{FILES}/slow.bin", "--config", "-"))
    argv = lab.exec_command(VISITOR, ["bash", "-o", "pipefail", "-c", f"{get} | python3 /root/slowly.py"])
    download = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    session, _ = first_open(MUELLER, load_or_raise(chain.operator.inventory).roads[MUELLER], timeout_s=20)
    try:
        assert download.stdin is not None
        download.stdin.write(f'user = "renate:{chain.password}"\n')
        download.stdin.close()
        download.stdin = None
        wait_for(lambda: "begun" in chain.on_visitor("ls /root"), 60, "the download to begin")
        with conversation(session) as say:
            assert say("before") == "before"
            yield
            assert download.poll() is None, "the download must still run"
            assert say("after") == "after"
        chain.on_visitor("touch /root/go-on")
        output, complaint = download.communicate(timeout=300)
        assert output.split() == [str(SLOW_BYTES), there], complaint
        assert download.returncode == 0, complaint
    finally:
        session.close()
        chain.on_visitor("touch /root/go-on")
        download.wait(timeout=300)
        chain.on_visitor("rm -f /root/slow*")
        chain.curl(f"{FILES}/slow.bin", "--request", "DELETE")


@contextmanager
def conversation(session: SSHClient) -> Iterator[Callable[[str], str]]:
    """A program on the box that says again what the operator says, in one session that stays open."""
    stdin, stdout, _ = session.exec_command("cat", timeout=30)

    def say(word: str) -> str:
        stdin.write(f"{word}\n")
        stdin.flush()
        return str(stdout.readline()).strip()

    yield say
    stdin.close()


@contextmanager
def weber(chain: Chain) -> Iterator[None]:
    """A household that joins, with a file of its own and a key of its own, and goes again.

    Its tunnel ends at mueller's box, since the lab has no third one; the relay cannot tell.
    """
    make = f"rm -f {WEBER_KEY}*; ssh-keygen -q -t ed25519 -N '' -f {WEBER_KEY}; chown {layout.TUNNEL_USER}: {WEBER_KEY}"
    chain.lab.exec(MUELLER, ["sh", "-c", make])
    key = " ".join(chain.lab.exec(MUELLER, ["cat", f"{WEBER_KEY}.pub"]).stdout.split()[:2])
    inventory = chain.operator.inventory
    household = inventory / f"households/{WEBER}.yaml"
    told = inventory / f"collected/box-{WEBER}.yaml"
    data = yaml.safe_load((inventory / "households/mueller.yaml").read_text())
    data |= {"id": WEBER, "slot": 19, "domain": WEBER_DOMAIN}
    del data["support"]
    household.write_text(yaml.safe_dump(data, allow_unicode=True, width=1000))
    told.write_text(yaml.safe_dump({"host_keys": [key], "tunnel_key": key}, width=1000))
    try:
        yield
    finally:
        household.unlink()
        told.unlink()


def open_webers_tunnel(chain: Chain) -> None:
    """Open it from mueller's box, as the account that alone may reach the box's listener behind the relay."""
    account = f"setpriv --reuid {layout.TUNNEL_USER} --regid {layout.TUNNEL_USER} --clear-groups"
    trust = "-o UserKnownHostsFile=/etc/hearth/tunnel/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes"
    forward = f"-o ExitOnForwardFailure=yes -R {WEBER_ADDRESS}:10443:127.0.0.1:10443"
    login = f"-i {WEBER_KEY} -p 9212 {layout.TUNNEL_USER}@relay1.home.example"
    chain.lab.exec(MUELLER, ["sh", "-c", f"{account} ssh -F none -f -N {trust} {forward} {login} >/dev/null 2>&1"])


def listeners(chain: Chain, address: str) -> str:
    """What listens for a household on the relay, with the processes that do."""
    return chain.lab.exec(RELAY, ["ss", "-Hltnp", "src", address]).stdout


def test_a_household_comes_and_goes_and_no_open_connection_of_another_notices(chain: Chain) -> None:
    with undisturbed(chain):
        before = listeners(chain, ADDRESS)
        assert not chain.answers(WEBER_DOMAIN)
        with weber(chain):
            assert set(chain.converge_relay()) == {
                "Tunnels | Put the keys that may open tunnels (2)",
                "Tunnels | End the sessions of keys that are gone",
                "Router | Lead visitors to their households",
                "backup store | Watch quotas and forget what is old (3)",
            }
            open_webers_tunnel(chain)
            assert chain.answers(WEBER_DOMAIN)
            assert chain.answers(DOMAIN)
        chain.converge_relay()
        assert listeners(chain, WEBER_ADDRESS) == ""
        assert not chain.answers(WEBER_DOMAIN)
        assert chain.answers(DOMAIN)
        assert listeners(chain, ADDRESS) == before != ""

"""What deploys/box.py makes of a box, in stock pyinfra's operations; the files are hearth's, rendered before."""

import json
import os
import subprocess
from io import BytesIO
from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, python, server, systemd
from pyinfra.operations.util import any_changed

told = json.loads(Path(os.environ["HEARTH_BENCH_BOX"]).read_text())
programs, tls, domain = told["programs"], told["tls"], told["domain"]
days = told["lifetime_days"]


def change(name: str) -> None:
    """Put one set of files, and run its commands when any of them changed."""
    wanted = told["changes"][name]
    done = [
        *(
            files.put(
                name=f"{name}: put {file['path']}",
                src=file["src"],
                dest=file["path"],
                mode=file["mode"].lstrip("0"),
                user=file["owner"],
                group=file["group"],
            )
            for file in wanted["files"]
        ),
        *(
            files.link(name=f"{name}: link {link['path']}", path=link["path"], target=link["target"], force=True)
            for link in wanted["links"]
        ),
        # Some are links: force takes those as well.
        *(
            files.file(name=f"{name}: remove {path}", path=path, present=False, force=True, force_backup=False)
            for path in wanted["absent"]
        ),
    ]
    if done and wanted["activate"]:
        server.shell(name=f"{name}: check and activate", commands=[f"( {wanted['activate']} )"], _if=any_changed(*done))


def step(verb: str) -> None:
    """Run one verb of the cloud's program when it says that it is still to be done."""
    status = host.get_fact(Command, command=f"{programs}/owncloud status {verb} 2>/dev/null || echo '\"{verb}\"'")
    if f'"{verb}"' in (status or ""):
        server.shell(name=f"Cloud: {verb}", commands=[f"{programs}/owncloud {verb}"])


def backup_step(verb: str) -> None:
    """Run one verb of the backup's program when it says that it is still to be done."""
    pending = '"pending": true'
    status = host.get_fact(Command, command=f"{programs}/backup status {verb} 2>/dev/null || echo '{pending}'")
    if pending in (status or ""):
        server.shell(name=f"Backup: {verb}", commands=[f"{programs}/backup {verb}"])


def install_certificate() -> None:
    """Have the request on the box signed here, and install what comes."""
    request = host.get_fact(Command, command=f"cat {tls}/csr.pem")
    signed = subprocess.run(
        [*told["sign"], domain, str(days)],
        input=request.encode(),
        capture_output=True,
        check=True,
    )
    files.put(
        name="Put the certificate beside its place", src=BytesIO(signed.stdout), dest=f"{tls}/certificate.pem.staged"
    )
    server.shell(
        name="Install the certificate",
        commands=[f"{programs}/install-certificate {domain} {tls}/certificate.pem.staged"],
    )


apt.packages(name="Install the packages", packages=told["packages"], no_recommends=True)
server.hostname(name="Call the host by its name", hostname=told["host_name"])
for folder in told["folders"]:
    files.directory(name=f"Make {folder}", path=folder, mode="755", user="root", group="root")
change("time-zone")
change("time-sync")
server.group(name="Make the operators' group", group="hearth-operators", system=True)
for operator in told["operators"]:
    server.user(  # noqa: S604 (it is the account's shell)
        name=f"Make {operator}'s account",
        user=operator,
        shell="/bin/bash",
        groups=["hearth-operators"],
        append=True,
        create_home=True,
    )
change("sshd")
change("tunnel-account")
key = told["tunnel_key"]
files.directory(name="Make the tunnel's folder", path=str(Path(key).parent), mode="755")
if not host.get_fact(Command, command=f"test -e {key}.pub && echo there || true"):
    server.shell(
        name="Make the tunnel's key",
        commands=[
            f"ssh-keygen -q -t ed25519 -N '' -C {told['host_name']} -f {key} && "
            f"chown {told['tunnel_user']}:{told['tunnel_user']} {key}"
        ],
    )
for one in ("tunnel", "updates", "php", "certs"):
    change(one)
if not host.get_fact(Command, command=f"test -e {tls}/csr.pem && echo there || true"):
    server.shell(name="Make the TLS key and its request", commands=[f"{programs}/make-tls-key {domain}"])
if not host.get_fact(
    Command,
    command=f"openssl x509 -in {tls}/certificate.pem -noout -checkend {days * 86400 // 3} >/dev/null 2>&1 && "
    f"! openssl x509 -in {tls}/certificate.pem -noout -issuer | grep -q 'hearth bridge' && echo good || true",
):
    python.call(name="Have a certificate signed and install it", function=install_certificate)
for one in ("proxy-guard", "apache", "mariadb", "redis", "cloud"):
    change(one)
for verb in ("recover", "fetch", "database", "install", "configure"):
    step(verb)
change("cloud-timers")
for verb in ("users", "upgrade", "apps"):
    step(verb)
change("backup")
for verb in ("secrets", "repository"):
    backup_step(verb)
change("health")
for unit in told["services"]:
    systemd.service(name=f"See that {unit} runs", service=unit, running=True)

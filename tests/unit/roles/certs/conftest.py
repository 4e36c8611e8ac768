"""An authority and a stand-in for a box, for the tests of the certs role."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import pytest

from hearth import authority
from hearth.authority import store
from hearth.inventory.hosts import Authority
from tests.unit.roles.certs.box_folder import BoxFolder, program


@pytest.fixture(scope="module", autouse=True)
def quick_bcrypt() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_BCRYPT_ROUNDS", 2)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    base = tmp_path_factory.mktemp("authority")
    authority.init(base / "private", base / "public", "example", "home.example", b"correct horse battery")
    (base / "passphrase").write_text("correct horse battery")
    (base / "passphrase").chmod(0o600)
    public = base / "public"
    line = (public / "ssh-user-ca.pub").read_text()
    return Authority(public / "tls-ca.pem", line, base / "private", base / "passphrase")


@pytest.fixture
def box_folder(tmp_path: Path) -> BoxFolder:
    """A box on which Apache is installed but serves nothing of ours yet."""
    box = BoxFolder(tmp_path / "box", port=1)
    for folder in ("bin", "apache2/sites-enabled", "apache2/conf-enabled"):
        (box.base / folder).mkdir(parents=True)
    program(box.base / "bin" / "systemctl", "exit 0")
    program(box.base / "bin" / "apache2ctl", "exit 0")
    return box


@pytest.fixture
def serving(box_folder: BoxFolder) -> Iterator[BoxFolder]:
    """A box whose Apache serves the certificate that was in place at its last reload.

    A certificate equal to ``refused.pem`` is the one with which a reload fails without saying so.
    """
    served = box_folder.base / "served.pem"
    box_folder.make_key()
    shutil.copy(box_folder.tls / "certificate.pem", served)
    site = box_folder.base / "apache2" / "sites-enabled" / "hearth.conf"
    site.write_text(f"SSLCertificateFile {box_folder.tls}/certificate.pem\n")
    program(
        box_folder.base / "bin" / "systemctl",
        f'[ "$1" = is-active ] && exit 0\n'
        f"cmp -s {box_folder.tls}/certificate.pem {box_folder.base}/refused.pem && exit 0\n"
        f"cp {box_folder.tls}/certificate.pem {served}",
    )
    listener = create_server(("127.0.0.1", 0))
    box_folder.port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(served, box_folder.tls / "key.pem")
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield box_folder
    listener.close()

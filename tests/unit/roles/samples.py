"""A household for the tests of the roles' pure parts."""

from __future__ import annotations

from datetime import time

from hearth.inventory.hosts import Box
from hearth.inventory.model import (
    Backup,
    Certificates,
    CloudUser,
    Household,
    Operator,
    OwnCloud,
    Release,
    Updates,
    Window,
)

RELEASE = Release(
    product="owncloud",
    version="11.0.0",
    url="http://releases.example/owncloud-11.0.0.tar.bz2",
    sha256="ab" * 32,
    archive_top="owncloud",
    php="8.4",
    ignore_deprecations=True,
)
CLOUD = OwnCloud(
    release=RELEASE,
    upload_limit=3000 << 20,
    post_limit=3000 << 20,
    memory_limit=512 << 20,
    room=6000 << 20,
    users=(CloudUser("renate", "Renate Müller", admin=True), CloudUser("jonas", "Jonas Müller")),
    apps=("calendar",),
)
WINDOW = Window(time(3), time(5))
HOUSEHOLD = Household(
    id="mueller",
    slot=17,
    domain="mueller.home.example",
    relay="relay1",
    public_port=None,
    access="relay",
    ssh_port=2222,
    time_zone="Europe/Berlin",
    owncloud=CLOUD,
    updates=Updates(WINDOW),
    backup=Backup(enabled=True, window=WINDOW, max_age_days=3),
)
ANNA = Operator("anna", ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIsCbkhXTXsHzBYmBWoNiMN0zGsJArQ6lcN67nWNsYFU anna",))
BOX = Box(
    name="box-mueller",
    roads=(),
    operators=(ANNA,),
    ssh_port=2222,
    time_zone="Europe/Berlin",
    authority=None,
    household=HOUSEHOLD,
    certificates=Certificates(),
)

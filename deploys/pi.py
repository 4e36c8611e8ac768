"""A support Pi: pyinfra inventory/ deploys/pi.py."""

from pyinfra import host

from hearth import beginning, preflight, services, ssh_policy
from roles import base, firewall, health, sshd, tunnel_server, updates
from roles.tunnel_server.accounts import support_accounts

ROOM_BYTES = 512 << 20

pi_host = host.data.get("pi")
machine = pi_host and beginning.begun(
    pi_host,
    (*base.PACKAGES, *sshd.PACKAGES, *updates.PACKAGES, *firewall.PACKAGES, *tunnel_server.PACKAGES, *health.PACKAGES),
    room_bytes=ROOM_BYTES,
    releases=("12", "13"),
    architectures=preflight.WITH_SMALL_BOARDS,
)

if machine:
    pi, policy = pi_host.pi, ssh_policy.of_debian(machine.release)
    ports = (pi.tunnel_port, pi.socks_port)
    base.base(pi_host)
    firewall.open_way(name="Open the way to the operators' sshd", port=pi_host.ssh_port)
    sshd.sshd(pi_host, policy=policy)
    updates.updates(updates.AT_NIGHT, key=pi_host.name)
    firewall.firewall((firewall.operators_ssh(pi_host.ssh_port), firewall.tunnels(*ports)))
    tunnel_server.tunnel_server(support_accounts(pi_host), ports, policy=policy, routers=pi.routers)
    units = (
        "ssh.service",
        firewall.UNIT,
        *tunnel_server.SERVICES,
        "systemd-timesyncd.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        health.TIMER,
    )
    health.health(health.of_server(pi_host, units, firewall=firewall.INTACT, tunnel_sshd=tunnel_server.verify(ports)))
    services.running(name="See that every service runs", names=units)

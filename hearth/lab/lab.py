"""The lab: real Debian hosts for a fleet, on one machine, and a network between them as it is in life.

States of a host: *unknown* (the fleet has it, the lab never started it) -> *running* <-> *stopped*. ``down`` ends
the lab as a whole and forgets everything; it goes by names and control groups, so it also clears away what a killed
`hearth lab up` left.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hearth.inventory import InventoryError, load_or_raise
from hearth.inventory.hosts import Fleet
from hearth.lab import acme, bases, cleanup, hosts, keys, local, network, register, releases, ssh, state
from hearth.lab.process import LabError, require_machine
from hearth.lab.surroundings import Surroundings
from hearth.lab.topology import Bench, Member, hosts_file, members, resolver

BOOT_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class HostStatus:
    """What ``hearth lab status`` says of a host. ``bench``: where the operator finds it, if ``bench_up``."""

    name: str
    kind: str
    state: str
    suite: str
    pid: int | None
    bench: str
    bench_up: bool
    address: str
    public_address: str
    namespace: str


class Lab(Surroundings):
    """A lab by its name; making the object touches nothing.

    Every method raises ``LabError`` with one sentence when it cannot do what it says. Methods that change something
    hold the lab's lock, so that two commands on one lab follow each other.
    """

    def up(
        self,
        wanted: Sequence[str] = (),
        inventory: Path | None = None,
        *,
        pi_suite: str | None = None,
        release_folder: Path | None = None,
        rebuild: bool = False,
    ) -> None:
        """Start the hosts ``wanted`` (all of the fleet and the clients, if none is named) that do not run yet.

        ``inventory``: that of the running lab, else ./inventory. ``pi_suite``: the Debian release of new Pis.
        ``release_folder``: serve these files instead of the project's own release. ``rebuild``: new bases first.
        """
        require_machine()
        with state.locked(self.name):
            suite = bases.check_suite(pi_suite) if pi_suite else None
            fleet = self._enter(inventory, wanted)
            record = self._enrol(fleet)
            chosen = [record.member(name) for name in wanted] or list(record.members.values())
            self._make(chosen, suite, rebuild)
            with self._step("Lay the network"):
                network.build_outside(self.names, Bench(self.number))
            with self._step("Start the name server and the certificate authority"):
                internet = self.internet
                internet.up(fleet, tuple(state.load(self.folder).members.values()))
            with self._step("Serve the releases"):
                releases.fill(self.folder / "releases", release_folder)
                releases.serve(self.names, self.folder / "releases", self.folder / "releases.log")
            with self._step("Make the operator's key and certificate"):
                self._write_local(fleet)
            asleep = [member for member in chosen if not hosts.is_running(self._machine(member.name))]
            for member in asleep:
                with self._step(f"Switch {member.name} on"):
                    self._boot(member)
            for member in chosen:
                if member.kind == "box":
                    self._set_router(member, member.forwards, "on" if member.upnp else "off")
            for member in asleep:
                with self._step(f"Wait until {member.name} has booted"):
                    hosts.wait_running(self._machine(member.name), BOOT_TIMEOUT_S)
            with self._step("Wait until the certificate authority answers"):
                acme.wait(internet.acme)
                internet.write_roots(keys.acme_root(fleet.folder))

    def down(self) -> None:
        """End the lab and remove all of it: processes, namespaces, links, rules, files, its part of the inventory."""
        require_machine()
        with state.locked(self.name):
            with self._step("Shut the hosts down"):
                cleanup.end_processes(self.names)
            with self._step("Remove the network"):
                network.destroy(self.names)
            with self._step("Remove the lab's files"):
                cleanup.remove_files(self.name, self.folder)
                register.leave(self.name)

    def status(self) -> list[HostStatus]:
        """Every host of the lab and how it is, in the fleet's order; nothing if the lab is down."""
        record = state.load(self.folder)
        return [self._status(member, record) for member in record.members.values()]

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside a host, past its network and sshd; ``check``: raise ``LabError`` if it fails."""
        result = hosts.execute(self._started(host), argv, stdin=stdin, timeout_s=timeout_s)
        if check and result.returncode != 0:
            said = (result.stderr.strip() or result.stdout.strip())[-2000:]
            raise LabError(f"`{' '.join(argv)}` on {host} ended with status {result.returncode}: {said}")
        return result

    def exec_command(self, host: str, argv: Sequence[str]) -> list[str]:
        """The command on this machine that runs ``argv`` inside a host, for whoever wants to start it himself."""
        return hosts.way_in(self._started(host), argv)

    def ssh_command(self, host: str, argv: Sequence[str] = ()) -> list[str]:
        """The ssh command that logs in to a host over the bench: as root on its first day, later as the operator."""
        machine, record = self._started(host), state.load(self.folder)
        port, keys_of_host = record.member(host).ssh_port, hosts.host_keys(machine)
        return ssh.command(self.folder, host, self.address(host), port, record.operator, keys_of_host, argv)

    def start(self, host: str) -> None:
        """Boot a stopped host and wait until it has booted; a running one stays as it is."""
        with state.locked(self.name):
            machine = self._started(host)
            if not hosts.is_running(machine):
                self._boot(self._member(host))
                hosts.wait_running(machine, BOOT_TIMEOUT_S)

    def stop(self, host: str) -> None:
        """Shut a host down cleanly."""
        with state.locked(self.name):
            hosts.shut_down(self._started(host), STOP_TIMEOUT_S)

    def kill(self, host: str) -> None:
        """Cut a host's power: every process in it ends at once."""
        with state.locked(self.name):
            hosts.cut_power(self._started(host))

    def snapshot(self, host: str, name: str) -> None:
        """Stop a host and keep its files as they are under ``name``. It stays stopped; it can be started again."""
        with state.locked(self.name):
            machine, record = self._started(host), state.load(self.folder)
            if name in record.snapshots:
                raise LabError(f"There is a snapshot {name} already: take another name.")
            hosts.shut_down(machine, STOP_TIMEOUT_S)
            layer = self.folder / "snapshots" / name
            layer.parent.mkdir(exist_ok=True)
            machine.upper.rename(layer)
            hosts.fresh_files(machine, with_identity=False)
            before = record.hosts[host]
            layers = (str(layer), *before.layers)
            record = record.with_snapshot(name, state.SnapshotRecord(host, before.suite, layers))
            state.save(self.folder, record.with_host(host, replace(before, layers=layers)))

    def start_from(self, host: str, snapshot: str) -> None:
        """Boot a host with the files of a snapshot, its own or another host's; what it had is lost."""
        with state.locked(self.name):
            machine, record = self._started(host), state.load(self.folder)
            if snapshot not in record.snapshots:
                raise LabError(f"There is no snapshot {snapshot}.")
            taken = record.snapshots[snapshot]
            hosts.cut_power(machine)
            hosts.fresh_files(machine, with_identity=taken.host != host)
            new = replace(record.hosts[host], suite=taken.suite, layers=taken.layers)
            state.save(self.folder, record.with_host(host, new))
            self._boot(record.member(host))
            hosts.wait_running(machine, BOOT_TIMEOUT_S)

    def _enter(self, inventory: Path | None, wanted: Sequence[str]) -> Fleet:
        """Load the fleet and enter the lab into the register, once nothing stands against it."""
        known = register.read().labs.get(self.name)
        folder = inventory or (Path(known.inventory) if known else Path("inventory"))
        try:
            fleet = load_or_raise(folder)
        except InventoryError as error:
            raise LabError(str(error)) from error
        could_be = state.LabState(members={member.name: member for member in members(fleet, {})})
        for name in wanted:
            could_be.member(name)
        local.check_ours(folder / "local.yaml", self.name)
        local.check_ours(keys.acme_root(folder), self.name)
        has_authority = keys.has_public_authority(folder)
        register.enter(self.name, folder, not has_authority, network.numbers_on_the_wire())
        return fleet

    def _enrol(self, fleet: Fleet) -> state.LabState:
        """Note who the lab can start: the fleet as it is now, and whom it has started of an earlier one."""
        record = state.load(self.folder)
        now = members(fleet, {name: member.number for name, member in record.members.items()})
        earlier = {name: member for name, member in record.members.items() if name in record.hosts}
        record = replace(record, members=earlier | {member.name: member for member in now})
        record = replace(record, operator=keys.operator_name(fleet))
        state.save(self.folder, record)
        return record

    def _make(self, chosen: Sequence[Member], pi_suite: bases.Suite | None, rebuild: bool) -> None:
        """Give hosts their identity and their place on a base, unless they have them."""
        record = state.load(self.folder)
        suites = {one.name: pi_suite if one.kind == "pi" and pi_suite else bases.SUITES[0] for one in chosen}
        for member in chosen:
            has = record.hosts[member.name].suite if member.name in record.hosts else None
            if has and member.kind == "pi" and pi_suite not in (None, has):
                raise LabError(f"{member.name} is a {has} host already: run `hearth lab down` first.")
        new = [member for member in chosen if member.name not in record.hosts]
        floors = {}
        for suite in sorted({suites[member.name] for member in new}):
            with self._step(f"Find or build the base of Debian {suite}"):
                floors[suite] = bases.ensure(suite, rebuild=rebuild, in_use=_layers_in_use())
        if not record.services:
            with self._step("Find or build the base of the lab's daemons"):
                base = bases.ensure(bases.SERVICES, rebuild=rebuild, in_use=_layers_in_use())
            record = replace(record, services=str(base))
            state.save(self.folder, record)
        bench_key = keys.ensure_key_pair(self.folder / "keys" / "bench", "bench@lab")
        for member in new:
            with self._step(f"Prepare {member.name}"):
                machine, suite = self._machine(member.name), suites[member.name]
                known = hosts_file(member, tuple(record.members.values()))
                hosts.make_identity(machine, known, str(resolver(member)), bench_key)
                hosts.fresh_files(machine, with_identity=True)
                record = record.with_host(member.name, state.HostRecord(suite, (str(floors[suite]),)))
                state.save(self.folder, record)

    def _write_local(self, fleet: Fleet) -> None:
        """Make what the operator logs in with, and tell the inventory how this machine reaches the hosts."""
        record = state.load(self.folder)
        private = keys.ensure_authority(self.folder, fleet)
        identity = keys.ensure_operator(self.folder, fleet)
        reach = {
            name: local.Reach(self.address(name), hosts.host_keys(self._machine(name)))
            for name in started_of(fleet, record)
        }
        local.write(
            fleet.folder / "local.yaml",
            self.name,
            (record.operator, identity),
            self.folder / "keys" / "bench",
            (private, keys.passphrase_file(self.folder)) if private else None,
            reach,
        )

    def _boot(self, member: Member) -> None:
        record = state.load(self.folder).hosts[member.name]
        network.build_host(self.names, Bench(self.number), member, record.bench)
        hosts.boot(self._machine(member.name), record.layers)

    def _status(self, member: Member, record: state.LabState) -> HostStatus:
        known = record.hosts.get(member.name)
        pid = hosts.init_pid(self._machine(member.name)) if known else None
        return HostStatus(
            name=member.name,
            kind=member.kind,
            state="unknown" if known is None else "running" if pid else "stopped",
            suite=known.suite if known else "",
            pid=pid,
            bench=self.address(member.name),
            bench_up=known is not None and known.bench,
            address=str(member.address),
            public_address=str(member.public_address),
            namespace=self.names.host(member.name),
        )


def started_of(fleet: Fleet, record: state.LabState) -> tuple[str, ...]:
    """The fleet's hosts that the lab has; of one that has left the fleet, the inventory may not speak any more."""
    now = {member.name for member in members(fleet, {}) if member.kind != "client"}
    return tuple(name for name in record.hosts if name in now)


def _layers_in_use() -> set[str] | None:
    """Every folder that a host or snapshot of any lab of this machine stands on.

    None when nobody can tell: a lab of another version of hearth keeps its record otherwise.
    """
    try:
        records = [state.load(Path(entry.folder)) for entry in register.read().labs.values()]
    except LabError:
        return None
    used = [host.layers for record in records for host in record.hosts.values()]
    used += [snapshot.layers for record in records for snapshot in record.snapshots.values()]
    used += [(record.services,) for record in records]
    return {layer for layers in used for layer in layers}

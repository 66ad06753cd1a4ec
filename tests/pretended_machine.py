"""A pretended machine: sysctls in files, all else in Python, behind the lines that ``ip`` takes and says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsrlb.errors import HostError
from dsrlb.host import steps
from dsrlb.host.machine import Machine
from dsrlb.host.steps_state import Setup
from dsrlb.model import Address, ServerOptions
from dsrlb.modes import BY_NAME

BRINGS = {"ipip": "tunl0", "sit": "sit0", "ip6_tunnel": "ip6tnl0"}
SYSCTLS = ("arp_ignore", "arp_announce", "rp_filter")


class PretendedDecapsulator:
    """The decapsulators of the pretended machine's devices."""

    def __init__(self) -> None:
        self.hooks: set[str] = set()
        self.ports: dict[str, int] = {}
        self.accepted: dict[str, set[Address]] = {}
        self.others: set[str] = set()  # devices with somebody else's filters

    def has_hooks(self, device: str) -> bool:
        return device in self.hooks

    def make_hooks(self, device: str) -> None:
        self.hooks.add(device)

    def remove_hooks(self, device: str) -> bool:
        if device in self.others or device in self.ports:
            return False
        self.hooks.discard(device)
        return True

    def is_attached(self, device: str, gue_port: int) -> bool:
        return self.ports.get(device) == gue_port

    def attach(self, device: str, gue_port: int) -> bool:
        assert device in self.hooks
        self.ports[device] = gue_port
        self.accepted.setdefault(device, set())
        return True

    def detach(self, device: str) -> None:
        self.ports.pop(device, None)
        self.accepted.pop(device, None)

    def vips(self, device: str) -> frozenset[Address]:
        return frozenset(self.accepted.get(device, ()))

    def add_vip(self, device: str, vip: Address) -> None:
        self.accepted[device].add(vip)

    def remove_vip(self, device: str, vip: Address) -> None:
        self.accepted[device].discard(vip)


class World:
    """A machine whose whole state can be compared before and after."""

    def __init__(self, root: Path) -> None:
        self.sysctls = root / "sys"
        self.links = {"lo": "LOOPBACK,UP", "e0": "BROADCAST,UP", "e0.100": "BROADCAST,UP"}
        self.addresses = {("lo", "127.0.0.1/8"), ("e0", "198.18.0.2/24"), ("e0", "2001:db8::2/64")}
        self.routes = {
            "-4": ["default via 198.18.0.1 dev e0"],
            "-6": ["default via 2001:db8::1 dev e0 metric 1024"],
        }
        self.modules: set[str] = set()
        self.mode = "ip6ip6"  # of ip6tnl0
        self.decap = PretendedDecapsulator()
        self.ran: list[str] = []
        modules = root / "modules"
        self.machine = Machine(self.sysctls, modules, root / "state", self.run, self.decap)
        for device in ("all", "default", *self.links):
            self._new_sysctls(device)

    def set(self, device: str, name: str, value: int) -> None:
        path = self.sysctls / "net/ipv4/conf" / device / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    def get(self, device: str, name: str) -> str:
        return (self.sysctls / "net/ipv4/conf" / device / name).read_text().strip()

    def holds(self) -> tuple[object, ...]:
        files = {str(path): path.read_text().strip() for path in self.sysctls.rglob("*_*")}
        decap = (
            set(self.decap.hooks),
            dict(self.decap.ports),
            {d: set(v) for d, v in self.decap.accepted.items()},
        )
        links = {
            name: flags for name, flags in self.links.items() if name not in BRINGS.values() or "UP" in flags
        }
        kept = {path: value for path, value in files.items() if not any(d in path for d in BRINGS.values())}
        return (
            kept,
            set(self.addresses),
            links,
            {v: list(r) for v, r in self.routes.items()},
            decap,
            self.mode,
        )

    # --- what a test does with it

    def wanted(self, *vips: Address, mode: str = "l2dsr", **options: object) -> tuple[Setup, ...]:
        chosen = ServerOptions(**options)  # type: ignore[arg-type]
        return steps.setups_for(self.machine, mode, vips, chosen, BY_NAME[mode].host_steps)

    def setup(self, *vips: Address, mode: str = "l2dsr", **options: object) -> list[str]:
        return list(steps.apply(self.machine, self.wanted(*vips, mode=mode, **options)))

    def undo(self, *vips: Address, mode: str = "l2dsr") -> list[str]:
        taken_back = steps.reversals(self.machine, mode, vips)
        return list(steps.undo(self.machine, mode, vips, taken_back))

    def missing(self, *vips: Address, mode: str = "l2dsr", **options: object) -> list[str]:
        verdicts = steps.verify(self.machine, self.wanted(*vips, mode=mode, **options))
        return [line for present, line in verdicts if not present]

    # --- what ip and modprobe do

    def run(self, words: Sequence[str]) -> str:
        self.ran.append(" ".join(words))
        match [word for word in words if word not in ("-o", "-d")]:
            case ["modprobe", "-n", "-q", name]:
                self._must(name in self.modules or name in BRINGS, words)
            case ["modprobe", name]:
                self._must(name in BRINGS, words)
                self._bring(BRINGS[name])
            case ["ip", "link", "show"]:
                return "".join(self._link_line(name) for name in self.links)
            case ["ip", "link", "show", "dev", name]:
                return self._link_line(name)
            case ["ip", "link", "set", "dev", name, "up" | "down" as state]:
                flags = set(self.links[name].split(",")) - {"UP"} | ({"UP"} if state == "up" else set())
                self.links[name] = ",".join(sorted(flags))
            case ["ip", "-6", "tunnel", "change", "ip6tnl0", "mode", mode]:
                self.mode = mode
            case ["ip", "address", "show"]:
                return "".join(
                    f"1: {device} {'inet6' if ':' in own else 'inet'} {own} scope global\n"
                    for device, own in sorted(self.addresses)
                )
            case ["ip", "address", "add" | "del" as verb, own, "dev", device, *_]:
                self._must((verb == "add") != ((device, own) in self.addresses), words)
                (self.addresses.add if verb == "add" else self.addresses.remove)((device, own))
            case ["ip", version, "route", "show", "exact", network]:
                return "".join(f"{line} \n" for line in self._routes_to(version, network))
            case ["ip", version, "route", "replace", *route]:
                self._replace(version, " ".join(route))
            case ["ip", version, "route", "del", *route]:
                gone = self._same(version, " ".join(route))
                self._must(gone is not None, words)
                self.routes[version].remove(gone or "")
            case _:
                raise AssertionError(f"the pretended machine has no {words}")
        return ""

    def _must(self, holds: bool, words: Sequence[str]) -> None:
        if not holds:
            raise HostError(f"{' '.join(words)} failed: File exists.")

    def _bring(self, device: str) -> None:
        if device not in self.links:
            self.links[device] = "NOARP"
            self._new_sysctls(device)

    def _new_sysctls(self, device: str) -> None:
        for name in SYSCTLS:
            self.set(device, name, 0)

    def _link_line(self, name: str) -> str:
        kind = {"lo": "loopback", "tunl0": "ipip", "sit0": "sit", "ip6tnl0": "tunnel6"}.get(name, "ether")
        mode = f" ip6tnl {self.mode} remote any" if name == "ip6tnl0" else ""
        return f"7: {name}: <{self.links[name]}> mtu 1500 qdisc noop \\    link/{kind} 00{mode}\n"

    def _routes_to(self, version: str, network: str) -> list[str]:
        return [line for line in self.routes[version] if line.split()[0] == network]

    def _replace(self, version: str, route: str) -> None:
        route = route if " dev " in route else f"{route} dev e0"
        table, former = self.routes[version], self._same(version, route)
        if former is None:
            table.append(route)
        else:
            table[table.index(former)] = route

    def _same(self, version: str, route: str) -> str | None:
        """The route that the kernel would take for the same: same network, same metric."""
        lines = self._routes_to(version, route.split()[0])
        return next((line for line in lines if _metric(line) == _metric(route)), None)


def _metric(line: str) -> str:
    words = line.split()
    return words[words.index("metric") + 1] if "metric" in words else "0"

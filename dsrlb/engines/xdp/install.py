"""A forwarding table written into the program's maps."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import groupby

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.lines import Extent, Standing, hop_line, service_line, target_fields
from dsrlb.engines.xdp.memory import mapped
from dsrlb.engines.xdp.placing import Places, filter_of
from dsrlb.engines.xdp.program import Loaded, set_setup
from dsrlb.engines.xdp.sizes import lines_for
from dsrlb.engines.xdp.writes import Put
from dsrlb.errors import HostError
from dsrlb.host import bpf_maps
from dsrlb.table import ForwardingTable

_INDEX = struct.Struct("=I")


class Tables:
    """The maps of a loaded program, and what of a forwarding table stands where in them."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        sizes = loaded.sizes
        maps = loaded.maps
        self.slots = mapped(maps["slots"], sizes.slots, np.dtype(np.uint16))
        self.loads = mapped(maps["loads"], sizes.targets, layout.LOAD)
        self.flows = mapped(maps["flows"], sizes.flows, layout.FLOW)
        self.targets: dict[tuple[bytes, bytes], int] = {}  # by service key, backend key
        self.names: dict[int, tuple[bytes, bytes]] = {}

    def install(self, table: ForwardingTable) -> None:
        """Make the program forward as a table says."""
        sizes = self.loaded.sizes
        writes: list[Put] = []
        front, vips = Places(sizes.front, layout.FRONT_WAYS), Places(sizes.vips, layout.VIP_WAYS)
        buckets = np.zeros(sizes.front, layout.FRONT_BUCKET)
        addresses = np.zeros(sizes.vips, layout.VIP_BUCKET)
        line = 0
        for number, (key, service) in enumerate(table.services.items(), start=1):
            indices = np.zeros(max(len(service.targets), 1), np.uint16)
            for place, target in enumerate(service.targets):
                index = self.targets.setdefault((key, target.key), len(self.targets) + 1)
                indices[place] = index
                self.names[index] = key, target.key
                entry = np.zeros((), layout.TARGET)
                for name, value in target_fields(service, target, None).items():
                    entry[name] = value
                entry["service"] = number
                entry["hop_in_use"] = layout.NO_HOP if target.hop is None else 0
                if target.hop is not None:
                    entry["hop"][0] = np.frombuffer(hop_line(target.hop), layout.HOP)[0]
                writes.append(Put("targets", index, entry.tobytes()))
            slots = Extent(line * layout.SLOTS_A_LINE, len(service.slots))
            line += lines_for(slots.count)
            if slots.count:
                self.slots[slots.first : slots.first + slots.count] = indices[
                    np.frombuffer(service.slots, np.uint16)
                ]
            writes.append(Put("services", number, service_line(service, Standing(number, slots))))
            writes.append(Put("current", number, _INDEX.pack(number)))
            if front.add(key) is None:
                raise HostError("the program's table of services is full: run dsrlb detach and start again.")
            at = front.of[key]
        for key, at in front.of.items():
            entry = buckets["entry"][at.bucket, at.way]
            entry["vip"] = np.frombuffer(key[:16], np.uint8)
            entry["port"], entry["protocol"] = int.from_bytes(key[16:18], "big"), key[18]
            entry["service"] = list(table.services).index(key) + 1
        for vip in table.vips:
            vips.add(vip)
        for vip, at in vips.of.items():
            addresses["vip"][at.bucket, at.way] = np.frombuffer(vip, np.uint8)
        writes += [Put("front", index, one.tobytes()) for index, one in enumerate(buckets)]
        writes += [Put("vips", index, one.tobytes()) for index, one in enumerate(addresses)]
        writes += self._interfaces(table)
        self._write(writes)
        set_setup(self.loaded, has_servers=bool(table.servers))

    def _interfaces(self, table: ForwardingTable) -> Iterable[Put]:
        for ifindex, mac in table.interfaces.items():
            entry = np.zeros((), layout.INTERFACE)
            entry["ifindex"], entry["mtu_bytes"] = ifindex, min(table.mtus.get(ifindex, 0), 0xFFFF)
            entry["mac"] = np.frombuffer(mac or bytes(6), np.uint8)
            entry["vip_filter"], entry["server_filter"] = filter_of(table.vips), filter_of(table.servers)
            yield Put("interfaces", ifindex % layout.INTERFACES, entry.tobytes())

    def _write(self, writes: Iterable[Put]) -> None:
        for name, group in groupby(writes, key=lambda write: write.map):
            entries = ((_INDEX.pack(write.place), write.value) for write in group)
            bpf_maps.update_batch(self.loaded.maps[name], entries)

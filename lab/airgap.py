"""A network without a way out, on which every packet that tries to leave is counted.

A host is moved to it. There it has a default route and a resolver, as a host with a network has: without them what is
tried would end inside the host. Both lead to this machine, which counts at the bridge, and refuses. Names that Docker's
own resolver cannot answer leave the host too, as questions to the resolver.

It is counted twice: on the host, where its processes and its containers send it to the wire, and at the bridge.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import docker
from docker.errors import NotFound

from lab import host as hosts
from lab import images
from lab._common import LABEL, run
from lab.host import Host

NETWORK = f"{LABEL}-airgap"
BRIDGE = "br-slipway-gap"
SUBNET = "10.88.0.0/24"
GATEWAY = "10.88.0.1"
RESOLVER = "198.51.100.53"  # of a range that is nobody's (RFC 5737)
TABLE = "slipway_lab_airgap"
COUNTING = f"""
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
  counter dns {{}}
  counter egress {{}}
  set seen {{ type ipv4_addr . inet_proto . inet_service; flags dynamic; size 4096; }}
  chain leaving {{
    ip daddr {SUBNET} accept
    # what the kernel says to its own wire when an interface comes up leaves no bridge
    ip6 daddr ff02::/16 accept
    meta l4proto {{ tcp, udp }} th dport 53 counter name dns
    meta l4proto {{ tcp, udp }} update @seen {{ ip daddr . meta l4proto . th dport }}
    counter name egress
  }}
"""
AT_THE_BRIDGE = f"""{COUNTING}
  chain before {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "{BRIDGE}" accept
    jump leaving
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
}}
"""


@dataclass(frozen=True)
class Tried:
    """What tried to leave: packets, how many of them were questions for a name, and whereto they went."""

    packets: int
    questions: int
    seen: tuple[str, ...]


def _on_the_host(wire: str) -> str:
    """The rules of a host that count what it sends to its wire, whoever on it does."""
    chains = "\n".join(
        f'chain {hook} {{ type filter hook {hook} priority raw; policy accept; oifname "{wire}" jump leaving; }}'
        for hook in ("output", "forward")
    )
    return f"{COUNTING}\n{chains}\n}}\n"


def address(host: Host) -> str:
    """The address of a host on this network."""
    return f"10.88.0.{host.address.rpartition('.')[2]}"


def isolate(host: Host) -> None:
    """Move a host to the network without a way out."""
    with hosts.engine() as client:
        _make_network(client)
    _nft(AT_THE_BRIDGE)
    run(["docker", "network", "disconnect", LABEL, host.container])
    run(["docker", "network", "connect", "--ip", address(host), NETWORK, host.container])
    host.sh(
        f"ip route replace default via {GATEWAY}\n"
        # Docker's file is a mount that cannot be replaced, and may be written
        f"echo nameserver {RESOLVER} >/etc/resolv.conf"
    )
    wire = host.sh(f"ip -oneline -4 address show to {SUBNET}").split()[1]
    _nft(_on_the_host(wire), on=host)
    key = " ".join(host.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    with hosts.KNOWN_HOSTS.open("a") as known:
        known.write(f"{address(host)} {key}\n")


def _make_network(client: docker.DockerClient) -> None:
    try:
        client.networks.get(NETWORK)
    except NotFound:
        pool = docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)
        client.networks.create(
            NETWORK,
            driver="bridge",
            internal=True,
            labels={LABEL: ""},
            options={"com.docker.network.bridge.name": BRIDGE},
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        )


def _nft(rules: str, *arguments: str, on: Host | None = None) -> str:
    """Change or read the packet filter of this machine, or of a host, with the program that the hosts' image has."""
    place = ("run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN", "--label", LABEL, "--entrypoint", "nft")
    program = (*place, "--interactive", images.HOST) if on is None else ("exec", "--interactive", on.container, "nft")
    return run(["docker", *program, *(arguments or ("--file", "-"))], stdin=rules.encode())


def tried(on: Host | None = None) -> Tried:
    """What tried to leave since the counting began, or began anew: as the bridge saw it, or one host."""
    told = json.loads(_nft("", "--json", "list", "table", "inet", TABLE, on=on))["nftables"]
    counters = {item["counter"]["name"]: item["counter"]["packets"] for item in told if "counter" in item}
    elements = next(item["set"].get("elem", []) for item in told if "set" in item)
    places = [item["elem"]["val"] if "elem" in item else item for item in elements]
    seen = sorted(" ".join(map(str, place["concat"])) for place in places)
    return Tried(counters["egress"], counters["dns"], tuple(seen))


def begin_anew(*on: Host) -> None:
    """Count from nothing: at the bridge, and on some hosts."""
    for place in (*on, None):
        _nft("", "reset", "counters", "table", "inet", TABLE, on=place)
        _nft("", "flush", "set", "inet", TABLE, "seen", on=place)


def stands() -> bool:
    """Whether the network is there."""
    with hosts.engine() as client:
        return bool(client.networks.list(names=[NETWORK]))


def forget() -> None:
    """Remove the network and the counting, unless a host is still on it."""
    with hosts.engine() as client:
        for network in client.networks.list(names=[NETWORK]):
            network.reload()
            if network.attrs["Containers"]:
                return
            network.remove()
    _nft(f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")

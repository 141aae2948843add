#!/usr/bin/env python3
"""Measure local failover: how long after a link is lost packets to the prefixes behind it take the other way.

Five nodes in network namespaces, each with the daemon under test: n0 reaches n2 over n1, or, one hop longer, over n4 and n3.
n2 advertises many prefixes. A stream of numbered packets goes from n0 to some of them, from the first to the last; the link
between n0 and n1 is lost, as if its cable were pulled (both lose the carrier) or at n0 itself (set down); and what counts is, for each of the
destinations, when the first packet was sent after the last one that got lost. All daemons run on the same topology in the
same run. See README.md beside this file; needs root, iproute2, a C compiler, frr and bird2.

  failover.py [--impl openr ...] [--prefixes 1 --prefixes 1000 ...] [--trials 5]
"""
from __future__ import annotations
import argparse, collections, json, os, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, time

import fabric
from fabric import in_ns, nl_socket, sh

HERE = os.path.dirname(os.path.abspath(__file__))
RTM_SETLINK, IFF_UP = 19, 1
OLD, NEW = "v0-1", "v0-4"  # n0's interfaces towards n1 and n4


def prefix(i): return f"2001:db9:{i >> 16:x}:{i & 0xffff:x}::/64"
def inside(i): return f"2001:db9:{i >> 16:x}:{i & 0xffff:x}::1"


# ---------------------------------------------------------------- the daemons, and how each takes the prefixes

class Openr(fabric.Openr):
    """As configured by default."""
    netlink_fib: dict = {}
    def config(self, i):
        c = super().config(i)
        if self.netlink_fib: c["netlink_fib"] = self.netlink_fib
        if i == 2: c["originated_prefixes"] = [{"prefix": prefix(k), "minimum_supporting_routes": 0} for k in range(self.count)]
        return c

class OpenrMemory(Openr):
    """Alternates never stand in the kernel."""
    name, netlink_fib = "openr-memory", {"standing_alternates": 0}

class OpenrStanding(Openr):
    """Alternates always stand in the kernel."""
    name, netlink_fib = "openr-standing", {"fast_failover": True}

class OpenrRoutes(Openr):
    """No nexthop objects: no alternates, and a message for each route."""
    name, netlink_fib = "openr-routes", {"nexthop_objects": False}

class FrrOspf6(fabric.FrrOspf6):
    """The prefixes are routes of n2's kernel, redistributed as external."""
    def routing(self, i):
        s = super().routing(i)
        return s.replace("router ospf6\n", "router ospf6\n redistribute kernel\n") if i == 2 else s
    def start(self, i):
        if i == 2:
            batch = "\n".join(f"route add blackhole {prefix(k)} proto 80" for k in range(self.count))
            subprocess.run(["ip", "-n", self.net.ns(2), "-6", "-batch", "-"], input=batch, text=True, check=True)
        super().start(i)

class BirdOspf3(fabric.BirdOspf3):
    """The prefixes are static routes of n2's BIRD, exported as external."""
    def conf(self, i, name, text):
        text = text.replace("source = RTS_OSPF_IA", "source = RTS_OSPF_IA || source = RTS_OSPF_EXT1 || source = RTS_OSPF_EXT2")
        if i == 2:
            routes = "\n".join(f"  route {prefix(k)} blackhole;" for k in range(self.count))
            text = text.replace("export none; }; ecmp", "export where source = RTS_STATIC; }; ecmp") + f"protocol static {{ ipv6;\n{routes}\n}}\n"
        return super().conf(i, name, text)

IMPLS = {c.name: c for c in (Openr, OpenrMemory, OpenrStanding, OpenrRoutes, FrrOspf6, BirdOspf3)}


# ---------------------------------------------------------------- one daemon, one number of prefixes

class Lab:
    def __init__(self, impl, count, tool, a):
        self.net = fabric.Net("ring:5", f"fo{os.getpid() % 10000}-")
        self.work = tempfile.mkdtemp(prefix="failover-")
        os.chmod(self.work, 0o755)
        self.impl = IMPLS[impl](self.net, self.work)
        self.impl.count = self.count = count
        self.tool, self.a = tool, a
        n = min(count, a.destinations)
        self.probes = [inside(k * (count - 1) // max(n - 1, 1)) for k in range(n)]
        self.sockets, self.index = {}, {}

    def link(self, node, name, up):
        """Switch an interface by one netlink message; the time just before."""
        if node not in self.sockets:
            self.sockets[node] = nl_socket(self.net.ns(node))
        if (node, name) not in self.index:
            self.index[node, name] = in_ns(self.net.ns(node), lambda: socket.if_nametoindex(name))
        message = struct.pack("=IHHII", 32, RTM_SETLINK, 5, 1, 0) + struct.pack("=BxHiII", 0, 0, self.index[node, name], IFF_UP if up else 0, IFF_UP)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.sockets[node].send(message)
        self.sockets[node].recv(4096)
        return before

    def by(self, name):
        """Whether n0's kernel sends packets to all destinations over an interface."""
        for address in self.probes:
            r = subprocess.run(["ip", "-n", self.net.ns(0), "-6", "route", "get", address], capture_output=True, text=True)
            if f" dev {name} " not in r.stdout: return False
        return True

    def standing(self):
        """How many of the prefixes n0's kernel has."""
        r = subprocess.run(["ip", "-n", self.net.ns(0), "-6", "-o", "route", "show", "root", "2001:db9::/32"], capture_output=True, text=True)
        return sum(line.startswith("2001:db9:") for line in r.stdout.splitlines())

    def until(self, what, ready, patience):
        t0 = time.monotonic()
        while not ready():
            if time.monotonic() - t0 > patience: raise TimeoutError(f"no {what} within {patience:.0f} s")
            time.sleep(0.1)
        return time.monotonic() - t0

    def cable(self):
        """Puts a namespace with a bridge in the middle of the link between n0 and n1, which can be pulled there. (The kernel does one
        thing at a time to any interface; a neighbour's that goes down with 100,000 routes beside it would keep ours waiting.)"""
        x = self.net.ns("x")
        sh("ip", "netns", "add", x)
        sh("ip", "-n", self.net.ns(0), "link", "del", OLD)
        sh("ip", "-n", x, "link", "add", "bridge", "type", "bridge")
        for node, name, end in (0, OLD, "x0"), (1, "v1-0", "x1"):
            sh("ip", "-n", self.net.ns(node), "link", "add", "name", name, "type", "veth", "peer", "name", end, "netns", x)
            sh("ip", "-n", x, "link", "set", end, "master", "bridge")
            sh("ip", "-n", x, "link", "set", end, "up")
            sh("ip", "-n", self.net.ns(node), "link", "set", name, "up")
        sh("ip", "-n", x, "link", "set", "bridge", "up")

    def lose(self, side, up=False):
        """Takes the link down, or up again; the time just before."""
        if side == "own": return self.link(0, OLD, up)
        return min(self.link("x", "x0", up), self.link("x", "x1", up))

    def acquaint(self):
        """Has all neighbours know each other's addresses, lest resolving them be measured."""
        pings = [subprocess.Popen(["ip", "netns", "exec", self.net.ns(i), "ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", f"ff02::1%{name}"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i, names in self.net.ifs.items() for name in names]
        for p in pings: p.wait()

    def build(self):
        self.net.build()
        self.cable()
        sh("ip", "-n", self.net.ns(2), "-6", "route", "add", "local", "2001:db9::/32", "dev", "lo")
        for i in range(self.net.n): self.impl.start(i)
        return self.until(f"{self.count} routes", lambda: self.standing() == self.count and self.by(OLD), self.a.patience)

    def stream(self, n, name, *args):
        return subprocess.Popen(["ip", "netns", "exec", self.net.ns(n), "chrt", "-r", "1", self.tool, name, *args], stderr=subprocess.DEVNULL)

    def trial(self, side):
        """Milliseconds until each of the destinations is reached again, and how many packets were lost."""
        log = f"{self.work}/packets"
        self.acquaint()
        receiver = self.stream(2, "recv", log)
        time.sleep(0.2)
        sender = self.stream(0, "send", self.net.loopback(0), str(self.a.rate), *self.probes)
        try:
            time.sleep(0.5)
            t0 = self.lose(side)
            self.until("repair", lambda: self.by(NEW), self.a.patience)
            time.sleep(1)
        finally:
            sender.terminate(); sender.wait()
            time.sleep(0.3)
            receiver.terminate(); receiver.wait()
        got = collections.defaultdict(list)
        with open(log) as f:
            for line in f:
                k, number, sent = map(int, line.split())
                got[k].append((number, sent))
        took, lost = [], 0
        for k in range(len(self.probes)):
            packets, moved = sorted(got[k]), t0
            for (a, _), (b, sent) in zip(packets, packets[1:]):
                if b > a + 1:
                    lost += b - a - 1
                    moved = sent
            if not packets or packets[-1][1] < t0 + 500_000_000: raise TimeoutError(f"packets to {self.probes[k]} get through no more")
            took.append(max(0, moved - t0) / 1e6)
        self.lose(side, True)
        self.until("return", lambda: self.by(OLD), self.a.patience)
        self.until("return of all", lambda: self.standing() == self.count, self.a.patience)
        time.sleep(self.a.settle)
        return took, lost

    def close(self):
        self.impl.stop()
        for s in self.sockets.values(): s.close()
        self.net.destroy()
        subprocess.run(["ip", "netns", "del", self.net.ns("x")], capture_output=True)
        shutil.rmtree(self.work, ignore_errors=True)


def measure(impl, count, tool, a):
    lab = Lab(impl, count, tool, a)
    res = {"impl": impl, "prefixes": count}
    try:
        res["start_s"] = round(lab.build(), 1)
        time.sleep(a.settle)
        for side in ("cable", "own"):
            res[side] = []
            for _ in range(a.trials):
                took, lost = lab.trial(side)
                res[side].append({"first_ms": round(min(took), 2), "last_ms": round(max(took), 2), "lost": lost})
        res["usage"] = lab.impl.usage()
    except (TimeoutError, subprocess.CalledProcessError) as e:
        res["failed"] = f"{e}" + ("" if "start_s" in res else f"; n0 has {lab.standing()}")
    finally:
        lab.close()
    return res


def row(res):
    text = f"{res['impl']:15} {res['prefixes']:8}"
    for side in ("cable", "own"):
        trials = res.get(side) or []
        for what in ("first_ms", "last_ms"):
            t = sorted(x[what] for x in trials)
            text += f" {statistics.median(t):10.2f} ({t[0]:.2f}..{t[-1]:.2f})".ljust(30) if t else " -".ljust(30)
    return text + (f"  {res['failed']}" if "failed" in res else "")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--impl", action="append", choices=list(IMPLS), help="default: openr, openr-memory, openr-standing, frr-ospf6, bird-ospf3")
    ap.add_argument("--prefixes", action="append", type=int, help="default: 1, 90 (about the most that openr by default has alternates in memory for), 1000, 100000; of 100000, another than openr falls back to 10000")
    ap.add_argument("--trials", type=int, default=5)
    ap.add_argument("--rate", type=int, default=10000, help="packets a second, over all destinations")
    ap.add_argument("--destinations", type=int, default=5, help="how many of the prefixes get packets")
    ap.add_argument("--settle", type=float, default=3)
    ap.add_argument("--patience", type=float, default=120)
    ap.add_argument("--json")
    a = ap.parse_args()
    for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, lambda *_: sys.exit(1))
    out = []
    with tempfile.TemporaryDirectory() as d:
        tool = f"{d}/stream"
        sh("cc", "-O2", "-o", tool, f"{HERE}/stream.c")
        print(f"milliseconds until packets to the first and the last destination get through again, median (least..most) of {a.trials}")
        print(f"{'':24} {'cable pulled: first':29} {'last':29} {'own end down: first':29} last", flush=True)
        for count in a.prefixes or [1, 90, 1000, 100000]:
            for impl in a.impl or ["openr", "openr-memory", "openr-standing", "frr-ospf6", "bird-ospf3"]:
                res = measure(impl, count, tool, a)
                out.append(res); print(row(res), flush=True)
                if "start_s" not in res and not impl.startswith("openr") and count > 10000:
                    res = measure(impl, 10000, tool, a)
                    out.append(res); print(row(res), flush=True)
    if a.json:
        with open(a.json, "w") as f: json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()

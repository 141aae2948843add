#!/usr/bin/env python3
"""Measure what traffic between hosts loses when the endpoint directory has work, with real packets in network namespaces.

A fabric of two spines and three leaves as `openr lab up --fabric 2x3` makes it, with the agents' default configuration and rogue
control on. A stream of 1,000 numbered packets a second goes from host h0 to another host, and meanwhile

  move           that host is moved to another leaf and announces itself there (gratuitous ARP), as a hypervisor does for a machine
                 that it has taken over: the old leaf sends packets on until the sender's leaf has heard of the move
  bounce only    the same, while the agent of the sender's leaf stands still: the old leaf alone sends packets on
  no bounce      the same, while the agent of the old leaf stands still: the sender's leaf has to hear of the move
  silent         it is moved and says nothing: the directory has to look for it
  first contact  a host asks for the address of another one, to which nobody has spoken yet: until the first answer to its ping
  oracle killed  the agent of a spine is killed, and started again later
  loop           frames with the MAC address of a third host come in at two ports as fast as they can be sent

What counts in the first four is how many packets were lost: a thousandth of a second each. A move includes the time without a cable, about
20 ms: the kernel needs it to take an interface to another namespace; it is printed beside. A trial that could not be made (the machine was too
busy to bring the packets to where it begins) is made again, at most as often as there are trials. Exit status 1: a goal was missed. Needs root,
iproute2, ping and a C compiler; see README.md beside this file.

  endpoint.py [--trials 7] [--only move ...] [--flood] [--json FILE]
"""
from __future__ import annotations
import argparse, collections, json, math, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
OPENR = os.environ.get("OPENR_BIN", os.path.join(HERE, "..", "bin", "openr"))
RATE = 1000
SENDER, OLD_LEAVES = 0, (3, 4)  # h0 is behind n2; the hosts that are moved are behind n3 and n4
MOVES = ("move", "bounce only", "no bounce", "silent")
CONTACT = "first contact"
GOALS = {CONTACT: 200, "move": 50, "bounce only": 50, "no bounce": 100, "silent": 200}  # medians, ms


def out(*argv): return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Fabric:
    def __init__(self, hosts, work, flood):
        self.name, self.work = f"bench{os.getpid()}", work
        self.tool = f"{work}/stream"
        out("cc", "-O2", "-o", self.tool, f"{HERE}/stream.c")
        out(OPENR, "lab", "up", "--name", self.name, "--fabric", "2x3", "--hosts", str(hosts), *(["--flood"] if flood else []))
        self.spent = set()

    def state(self):
        with open(f"/run/openr-lab/{self.name}/state.json") as f: return json.load(f)
    def host(self, i): return self.state()["hosts"][i]
    def pid(self, node): return int(out("ip", "netns", "pids", f"{self.name}-n{node}").split()[0])
    def breeze(self, node, *args): return out(OPENR, "lab", "exec", self.name, f"n{node}", "--", "breeze", "endpoint", *args)
    def down(self): subprocess.run([OPENR, "lab", "down", self.name], stdout=subprocess.DEVNULL)

    def until(self, what, ready, patience=30):
        end = time.monotonic() + patience
        while not ready():
            if time.monotonic() > end: raise TimeoutError(f"not within {patience} s: {what}")
            time.sleep(0.05)

    def ping(self, a, b):
        """Host a pings b until there is an answer: both are known then, and their leaves know of each other's."""
        address = self.host(b)["v4"].split("/")[0]
        out("ip", "netns", "exec", self.host(a)["namespace"], "ping", "-q", "-c", "2", "-i", "0.2", "-w", "20", address)

    def programmed(self, leaf, i):
        """Whether the kernel of a leaf sends frames for host i to the leaf that it is behind."""
        h = self.host(i)
        lines = out("ip", "netns", "exec", f"{self.name}-n{leaf}", "bridge", "fdb", "show", "dev", "vx100").splitlines()
        return any(l.startswith(h["mac"]) and f" dst 10.255.0.{h['leaf']} " in l + " " for l in lines)

    def acquaint(self, a, b):
        """Hosts a and b know each other's MAC addresses for good, and a's leaf knows where b is."""
        self.ping(b, a)
        for x, y in (a, b), (b, a):
            h = self.host(y)
            out("ip", "-n", self.host(x)["namespace"], "neigh", "replace", h["v4"].split("/")[0], "lladdr", h["mac"], "dev", "eth0", "nud", "permanent")
        self.until(f"the leaf of h{a} knows h{b}", lambda: self.programmed(self.host(a)["leaf"], b))

    def told(self):
        """Waits until the leaves have sessions with all oracles, and these are ready."""
        def ready():
            rows = [o for leaf in (2, 3, 4) for o in json.loads(self.breeze(leaf, "oracles", "--json"))]
            return len(rows) == 6 and all(o["ready"] and o["session"] == "up" for o in rows)
        self.until("all oracles are ready", ready, 90)

    def next_host(self):
        """A host that has not been moved yet. One that moves again and again would be taken for a rogue."""
        for i, h in enumerate(self.state()["hosts"]):
            if h["leaf"] in OLD_LEAVES and i > 2 and i not in self.spent:
                self.spent.add(i)
                return i
        raise IndexError("no hosts left")


class Stream:
    """Packets from host a to host b."""
    def __init__(self, f, a, b):
        self.log = f"{f.work}/{a}-{b}"
        self.procs = []
        target, source = f.host(b), f.host(a)
        self.start(target["namespace"], f.tool, "recv", self.log)
        time.sleep(0.1)
        self.start(source["namespace"], f.tool, "send", *("::ffff:" + source["v4"].split("/")[0], str(RATE), "::ffff:" + target["v4"].split("/")[0]))

    def start(self, namespace, *argv):
        self.procs.append(subprocess.Popen(["ip", "netns", "exec", namespace, "chrt", "-r", "1", *argv], stderr=subprocess.DEVNULL))

    def end(self):
        for p, pause in zip(reversed(self.procs), (0.3, 0)):
            if p.poll() is None: p.terminate()
            p.wait()
            if pause: self.ended = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            time.sleep(pause)
        self.procs = []

    def arrives(self):
        """Waits until packets get through."""
        end = time.monotonic() + 10
        while not (os.path.exists(self.log) and os.path.getsize(self.log)):
            if time.monotonic() > end: raise TimeoutError("no packet arrives")
            time.sleep(0.05)

    def stop(self):
        """How many packets were sent from the first to the last that has arrived, how many of them are missing, and in how many gaps."""
        self.end()
        with open(self.log) as f: rows = [tuple(map(int, line.split())) for line in f if line.endswith("\n")]
        numbers = sorted({r[1] for r in rows})
        if not numbers: raise TimeoutError("no packet has arrived")
        last = max(r[2] for r in rows)
        if last < self.ended - 500_000_000: return numbers[-1] - numbers[0] + 1, math.inf, 1  # no more get through
        gaps = [b - a - 1 for a, b in zip(numbers, numbers[1:]) if b > a + 1]
        return numbers[-1] - numbers[0] + 1, sum(gaps), len(gaps)


def move(f, kind):
    """One move: packets lost, and for how long the host had no cable."""
    i = f.next_host()
    old = f.host(i)["leaf"]
    new = OLD_LEAVES[1 - OLD_LEAVES.index(old)]
    f.acquaint(SENDER, i)
    if kind == "silent":  # IPv6 would speak when its link comes up
        out("ip", "netns", "exec", f.host(i)["namespace"], "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
    still = {"bounce only": f.host(SENDER)["leaf"], "no bounce": old}.get(kind)
    s, stopped = Stream(f, SENDER, i), None
    try:
        time.sleep(0.7)
        if still is not None:
            stopped = f.pid(still)
            os.kill(stopped, signal.SIGSTOP)
        said = out(OPENR, "lab", "host", "move", "--name", f.name, f"h{i}", f"n{new}", *(["--silent"] if kind == "silent" else []))
        time.sleep(1)  # less than a neighbour waits for an agent that is silent
        if stopped: os.kill(stopped, signal.SIGCONT)
        stopped = None
        time.sleep(1)
        _, lost, _ = s.stop()
    finally:
        if stopped: os.kill(stopped, signal.SIGCONT)
        s.end()
    value, unit = re.search(r"unplugged for ([\d.]+)(µs|ms|s)\b", said).groups()
    return lost * 1000 / RATE, float(value) * {"µs": 1e-3, "ms": 1, "s": 1000}[unit]


def first_contact(f):
    """Milliseconds until a host has an answer from one that it speaks to for the first time: its ARP question is part of them."""
    address = f.host(f.next_host())["v4"].split("/")[0]
    said = out("ip", "netns", "exec", f.host(SENDER)["namespace"], "ping", "-n", "-c", "1", "-W", "10", address)
    return float(re.search(r"time=([\d.]+) ms", said).group(1))


def oracle_killed(f):
    """Packets sent and lost between hosts that know each other while the agent of n0 dies and comes back."""
    i = f.next_host()
    f.acquaint(SENDER, i)
    s = Stream(f, SENDER, i)
    s.arrives()
    time.sleep(1)
    os.kill(f.pid(0), signal.SIGKILL)
    time.sleep(6)  # the neighbours have given it up by then
    log = open(f"/run/openr-lab/{f.name}/n0.log", "a")
    subprocess.Popen(["ip", "netns", "exec", f"{f.name}-n0", OPENR, "--config", f"/run/openr-lab/{f.name}/n0.json"],
                     stdout=log, stderr=log, start_new_session=True)
    time.sleep(6)
    result = s.stop()
    f.told()
    return result


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f: fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loop(f):
    """What others lose while a host of h0's leaf is in a loop, and how much of a core the leaf's agent takes once it is pinned."""
    leaf = f.host(SENDER)["leaf"]
    a, b = [i for i, h in enumerate(f.state()["hosts"]) if h["leaf"] == leaf and i != SENDER][:2]
    i, j = f.next_host(), f.next_host()
    for x, y in (SENDER, i), (i, j): f.acquaint(x, y)
    streams = [Stream(f, SENDER, i), Stream(f, i, j)]
    for s in streams: s.arrives()
    mac, pid = f.host(a)["mac"], f.pid(leaf)
    looping = subprocess.Popen([OPENR, "lab", "host", "loop", "--name", f.name, f"h{a}", f"h{b}", "--rate", "0", "--for", "12s"],
                               stdout=subprocess.PIPE, text=True)
    start = time.monotonic()
    try:
        f.until("the looped host is pinned", lambda: mac in f.breeze(leaf, "rogue"))
        pinned = time.monotonic() - start
        time.sleep(1)
        t0, c0 = time.monotonic(), cpu(pid)
        time.sleep(5)
        share = (cpu(pid) - c0) / (time.monotonic() - t0)
    finally:
        said, _ = looping.communicate()
    results = [s.stop() for s in streams]
    return {"frames_per_s": int(said.split()[0]) // 12, "pinned_s": round(pinned, 2), "cpu_percent": round(100 * share, 1),
            "sent": sum(r[0] for r in results), "lost": sum(r[1] for r in results)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--trials", type=int, default=7)
    ap.add_argument("--only", action="append", choices=[*MOVES, CONTACT, "oracle killed", "loop"])
    ap.add_argument("--flood", action="store_true", help="for comparison: no directory, the leaves flood and learn (move and silent only)")
    ap.add_argument("--json")
    a = ap.parse_args()
    if a.flood: a.only = ["move", "silent"]
    for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, lambda *_: sys.exit(1))
    wanted = lambda what: not a.only or what in a.only
    need = 2 * a.trials * sum(map(wanted, (*MOVES, CONTACT))) + 3
    missed, results, fabric = [], collections.OrderedDict(), None
    def goal(what, met, text):
        print(f"{what:14} {text:86} {'met' if met else 'MISSED'}", flush=True)
        if not met: missed.append(what)
    work = tempfile.mkdtemp(prefix="endpoint-")
    try:
        fabric = Fabric(min(250, max(9, 3 * (need + 5) // 2)), work, a.flood)
        if not a.flood: fabric.told()
        print(f"{'':14} {'lost, of 1,000 packets a second':86} goal", flush=True)
        def trials(kind, once):
            done, failed = [], []
            while len(done) < a.trials:
                try:
                    done.append(once())
                except (TimeoutError, subprocess.CalledProcessError) as e:
                    failed.append(e)
                    if len(failed) > a.trials: raise
            if failed: print(f"{kind:14} {len(failed)} trials were made again: {failed[-1]}", file=sys.stderr, flush=True)
            return done
        for kind in filter(wanted, MOVES):
            lost, unplugged = zip(*trials(kind, lambda: move(fabric, kind)))
            results[kind] = {"lost_ms": lost, "unplugged_ms": unplugged}
            m, u = statistics.median(lost), statistics.median(unplugged)
            goal(kind, m < GOALS[kind], f"{m:.0f} ms median ({min(lost):.0f} to {max(lost):.0f}) of {a.trials}, {u:.0f} ms of it without a cable; wanted: below {GOALS[kind]} ms")
        if wanted(CONTACT) and not a.flood:
            took = trials(CONTACT, lambda: first_contact(fabric))
            results[CONTACT] = {"ms": took}
            m = statistics.median(took)
            goal(CONTACT, m < GOALS[CONTACT], f"{m:.1f} ms median ({min(took):.1f} to {max(took):.1f}) of {a.trials} until the first answer; wanted: below {GOALS[CONTACT]} ms")
        if wanted("oracle killed"):
            sent, lost, _ = oracle_killed(fabric)
            results["oracle killed"] = {"sent": sent, "lost": lost}
            goal("oracle killed", lost == 0, f"{lost} of {sent} packets; wanted: none")
        if wanted("loop"):
            r = results["loop"] = loop(fabric)
            goal("loop", r["lost"] == 0, f"others: {r['lost']} of {r['sent']} packets at {r['frames_per_s']:,} looped frames/s, pinned after {r['pinned_s']:.1f} s; wanted: none")
            goal("loop", r["cpu_percent"] < 10, f"the agent takes {r['cpu_percent']:.1f} % of a core once it is pinned; wanted: below 10 %")
    finally:
        if fabric: fabric.down()
        shutil.rmtree(work, ignore_errors=True)
    if a.json:
        with open(a.json, "w") as f: json.dump(results, f, indent=1)
    print("all goals are met" if not missed else "missed: " + ", ".join(missed))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

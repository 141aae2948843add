#!/usr/bin/env python3
"""Time how long a store of many keys takes to reach a new neighbour, and the
memory that costs, between two whole agents.

Two network namespaces joined by a veth, one agent in each, no routes
programmed.  Agent a is filled by setKvStoreKeyVals over Rocket while the link
is down; then the link comes up.  The time is from agent b's making a its peer
to b's having all keys, as b's log tells; that all are there is asked of b's
counters afterwards.  Values are random bytes, which do not compress.

  fullsync.py                                   # 100,000 keys, three times
  fullsync.py --keys 20000 --reps 1 --agent bin/openr

Prints one JSON line with each figure's median.  Needs root and iproute2.
sync_ms       peer added to all keys merged
a_sync_ms     the same for a's side, which learns that b has nothing to give
peak_a_mib    most resident memory of a, from its start, filling included
peak_b_mib    the same of b
fill_peak_a_mib, sync_peak_*   the same while a is filled, and since just before the link came up
cpu_*_ms      processor time from the link's coming up until both have synchronized
cpu_all_*_ms  the same until 4 s later: the stores look at each other once more
"""
import argparse, datetime, json, os, shutil, socket, statistics, struct, subprocess, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fabric import in_ns, sh

AREA, PORT, BATCH = "0", 2018, 5000

# ------------------------------------------------------------------- compact

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128); n >>= 7
    out.append(n)
    return bytes(out)

def zigzag(n): return varint(n << 1 if n >= 0 else -n * 2 - 1)
def text(b): return varint(len(b)) + b

BINARY, MAP, STRUCT, I32, I64 = 8, 11, 12, 5, 6

def fields(*known):
    """A struct of (id, type, encoded value), ids ascending and less than 16 apart."""
    out, last = bytearray(), 0
    for number, kind, value in known:
        out.append(number - last << 4 | kind); out += value; last = number
    out.append(0)
    return bytes(out)

class Reader:
    def __init__(self, b): self.b, self.at = b, 0
    def byte(self): self.at += 1; return self.b[self.at - 1]
    def varint(self):
        n = shift = 0
        while True:
            x = self.byte(); n |= (x & 127) << shift; shift += 7
            if x < 128: return n
    def value(self, kind):
        if kind in (1, 2): return kind == 1
        if kind in (4, 5, 6): n = self.varint(); return n >> 1 ^ -(n & 1)
        if kind == BINARY: n = self.varint(); self.at += n; return bytes(self.b[self.at - n:self.at])
        if kind == MAP:
            n = self.varint(); k = self.byte() if n else 0
            return {self.value(k >> 4): self.value(k & 15) for _ in range(n)}
        if kind == STRUCT: return self.struct()
        raise ValueError(f"type {kind}")
    def struct(self):
        out, number = {}, 0
        while (head := self.byte()):
            number = number + (head >> 4) if head >> 4 else self.value(4)
            out[number] = self.value(head & 15)
        return out

# -------------------------------------------------------------------- Rocket

class Rocket:
    """A client of one agent that makes one call after another."""
    def __init__(self, ns):
        self.s = in_ns(ns, lambda: socket.socket(socket.AF_INET6))     # stays in ns
        self.s.settimeout(60)
        self.s.connect(("::1", PORT))
        self.stream = -1
        mime = b"".join(bytes([len(m)]) + m for m in (b"application/x-rocket-metadata+compact", b"application/x-rocket-payload"))
        meta = b"\xf0\x9f\x9a\x80" + fields((3, I32, zigzag(8)), (4, I32, zigzag(10)))
        self.frame(0, 1, struct.pack(">HHII", 1, 0, 0x7FFFFFFF, 0x7FFFFFFF) + mime, meta)
    def frame(self, stream, kind, body, meta):
        body = len(meta).to_bytes(3, "big") + meta + body
        body = (body if kind != 1 else body[3 + len(meta):] + body[:3 + len(meta)])   # SETUP has its metadata last
        self.s.sendall((6 + len(body)).to_bytes(3, "big") + struct.pack(">IH", stream, kind << 10 | 0x100) + body)
    def read(self, n):
        out = bytearray()
        while len(out) < n:
            got = self.s.recv(n - len(out))
            if not got: raise OSError("the agent closed the connection")
            out += got
        return bytes(out)
    def call(self, method, args):
        self.stream += 2
        self.frame(self.stream, 4, args, fields((1, I32, zigzag(2)), (2, BINARY, text(method)), (3, I32, zigzag(0)), (5, I32, zigzag(60000))))
        while True:
            f = self.read(int.from_bytes(self.read(3), "big"))
            stream, head = struct.unpack_from(">IH", f)
            if stream != self.stream: continue
            if head >> 10 != 10: raise OSError(f"{method.decode()}: {f[10:]!r}")
            data = f[6:]
            if head & 0x100:
                n = int.from_bytes(data[:3], "big"); data = data[3 + n:]
            return Reader(data).struct().get(0)

def fill(rpc, keys):
    """Put keys of 60 bytes with values of 300 random bytes, 5000 in a call."""
    for begin in range(0, keys, BATCH):
        n = min(BATCH, keys - begin)
        data = os.urandom(300 * n)
        vals = bytearray(varint(n) + bytes([BINARY << 4 | STRUCT]))
        for i in range(n):
            vals += text(b"bench:%054d" % (begin + i))
            vals += fields((1, I64, zigzag(1)), (2, BINARY, text(data[300 * i:300 * i + 300])), (3, BINARY, text(b"node-%d" % (i % 100))),
                           (4, I64, zigzag(3600000)), (5, I64, zigzag(0)))
        rpc.call(b"setKvStoreKeyVals", fields((1, STRUCT, fields((2, MAP, bytes(vals)))), (2, BINARY, text(AREA.encode()))))

# -------------------------------------------------------------------- agents

class Agent:
    def __init__(self, name, a, work):
        self.name, self.ns, self.log, conf = name, f"{a.prefix}{name}", f"{work}/{name}.log", f"{work}/{name}.conf"
        json.dump({
            "node_name": name, "areas": [{"area_id": AREA, "neighbor_regexes": [".*"], "include_interface_regexes": ["v.*"]}],
            "dryrun": True, "enable_v4": False, "persistent_config_store_path": f"{work}/{name}.store",
            "kvstore_config": {"key_ttl_ms": 300000, "sync_initial_backoff_ms": 100, "sync_max_backoff_ms": 8000},
            "link_monitor_config": {"linkflap_initial_backoff_ms": 1, "linkflap_max_backoff_ms": 8, "use_rtt_metric": False},
            "spark_config": {"hello_time_s": 20, "fastinit_hello_time_ms": 100, "keepalive_time_s": 1, "hold_time_s": 10,
                             "graceful_restart_time_s": 30, "min_neighbor_discovery_interval_s": 1, "max_neighbor_discovery_interval_s": 4},
        }, open(conf, "w"))
        self.proc = subprocess.Popen(["ip", "netns", "exec", self.ns, a.agent, "--config", conf], stdin=subprocess.DEVNULL,
                                     stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        self.rpc = wait(f"{name} answers", self.dial)
    def dial(self):
        if self.proc.poll() is not None: sys.exit(f"fullsync.py: agent {self.name} ended; see {self.log}")
        try: return Rocket(self.ns)
        except OSError: return None
    def keys(self):
        got = self.rpc.call(b"getRegexCounters", fields((1, BINARY, text(rb"^kvstore\.num_keys$"))))
        return next(iter(got.values()), 0)
    def peak(self):
        return next(int(l.split()[1]) / 1024 for l in open(f"/proc/{self.proc.pid}/status") if l.startswith("VmHWM"))
    def forget_peak(self): open(f"/proc/{self.proc.pid}/clear_refs", "w").write("5")
    def cpu(self): return time.clock_gettime(~self.proc.pid << 3 | 2) * 1000
    def took(self, peer):
        """Milliseconds from peer's being added to the end of the synchronization with it; None until then."""
        at = {}
        for line in open(self.log):
            for what in ("ADD_PEER", "synchronized"):
                if f"\t{what}\t" in line and f'"peer": "{peer}"' in line: at.setdefault(what, stamp(line))
        return (at["synchronized"] - at["ADD_PEER"]) * 1000 if len(at) == 2 else None

def stamp(line):
    return datetime.datetime.strptime(line.split("\t")[0], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()

def wait(what, done, limit=60):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if (got := done()) not in (None, False): return got
        time.sleep(0.02)
    sys.exit(f"fullsync.py: waited in vain: {what}")

def once(a, work):
    agents = {}
    spaces = [a.prefix + "a", a.prefix + "b"]
    try:
        for ns in spaces:
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        sh("ip", "link", "add", "va", "netns", spaces[0], "type", "veth", "peer", "name", "vb", "netns", spaces[1])
        sh("ip", "-n", spaces[0], "link", "set", "va", "up")
        for name in "a", "b": agents[name] = Agent(name, a, work)
        x, y = agents["a"], agents["b"]
        fill(x.rpc, a.keys)
        had = x.keys()
        time.sleep(2)                                      # the store's other work is done
        out = {"keys": a.keys, "fill_peak_a_mib": x.peak()}
        for g in (x, y): g.forget_peak()
        cpu = {g.name: g.cpu() for g in (x, y)}
        sh("ip", "-n", spaces[1], "link", "set", "vb", "up")
        out["sync_ms"] = wait("b synchronized", lambda: y.took("a"))
        out["a_sync_ms"] = wait("a synchronized", lambda: x.took("b"))
        for g in (x, y): out[f"cpu_{g.name}_ms"] = g.cpu() - cpu[g.name]
        time.sleep(4)                                      # past the second look of the stores at each other
        for g in (x, y):
            out[f"sync_peak_{g.name}_mib"], out[f"cpu_all_{g.name}_ms"] = g.peak(), g.cpu() - cpu[g.name]
            out[f"peak_{g.name}_mib"] = max(g.peak(), out["fill_peak_a_mib"] if g is x else 0)
        if not (y.keys() >= a.keys and x.keys() >= had >= a.keys):
            sys.exit(f"fullsync.py: a has {x.keys()} keys and b {y.keys()}, not {a.keys}; see {work}")
        return out
    finally:
        for g in agents.values(): g.proc.terminate()
        for g in agents.values(): g.proc.wait(20)
        for ns in spaces: subprocess.run(["ip", "netns", "del", ns], capture_output=True)

def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keys", type=int, default=100000)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--agent", default=os.environ.get("OPENR_BIN", os.path.join(here, "..", "bin", "openr")))
    p.add_argument("--prefix", default=f"fs{os.getpid()}", help="of the namespaces' names")
    a = p.parse_args()
    a.agent, runs, work = os.path.abspath(a.agent), [], f"/tmp/fullsync-{os.getpid()}"
    for _ in range(a.reps):
        os.makedirs(work)
        runs.append(once(a, work))
        print(json.dumps({k: round(v, 1) for k, v in runs[-1].items()}), file=sys.stderr)
        shutil.rmtree(work)
    print(json.dumps({k: round(statistics.median(r[k] for r in runs), 1) for k in runs[0]} | {"reps": a.reps}))

if __name__ == "__main__": main()

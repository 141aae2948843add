#!/usr/bin/env python3
"""Load one Open/R agent (the DUT) from outside and measure it, by the wire protocols only.

Two network namespaces joined by a veth: the DUT runs in one; in the other this program plays its neighbour (Spark on
UDP [ff02::1]:6666, a Rocket KvStore server on TCP 2018). As a client of the DUT's control port it then injects, with
setKvStoreKeyVals, the link-state and prefix keys of a synthetic network behind that neighbour, and times the DUT until
the kernel of its namespace counts every route (/proc/net/rt6_stats, every 2 ms; with --notifications: until this program has read
a route message for each, for which it needs more processor time than most agents need for the whole; with --dryrun: until the counter
fib.num_routes says so). --floor injects nothing: it tells how long reading 10,000 route messages takes this program when
`ip -batch` adds the routes.

  inject.py --topo grid:32x32 --prefixes 10 --reps 5 --json out.json
  inject.py --topo clos:8:4:4:16 --neighbors 2           # pods:planes:spines per plane:racks per pod
  inject.py --kv 100000                                  # opaque keys instead of a topology
  inject.py --cmd './openr --config {conf}' --rpc rocket # another agent, another transport
  inject.py --floor                                      # what the measuring itself costs

One JSON line on stdout, progress on stderr. Needs root and iproute2. Times in ms unless the name ends in _s.
Events, each followed by its reverse: metric = one adjacency in the middle 10 -> 20; prefix = one prefix of the farthest
node withdrawn; flap = one link of the first neighbour removed; cut = the farthest node loses all links. Per event:
route = RPC sent -> last route message of the kernel (None: no route changed), changes = how many (deletes of them), busy = RPC sent -> the
DUT last busy (a 10 ms slice above 15 % of a core), cpu = DUT CPU time spent, its idle rate subtracted; medians over --reps.
The DUT runs with route_delete_delay_ms 0 (C++ default: 1000) so that withdrawals can be timed; change it with --config.
"""
import argparse, collections, json, os, select, shlex, shutil, signal, socket, statistics, struct, subprocess, sys, threading, time
from fabric import in_ns, nl_socket, attrs, dump, sh, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE, RTMGRP_IPV6_ROUTE

AREA, INFINITE, DUT = "0", -2**31, "dut"
mono = time.monotonic
def log(*a): print("%7.2f" % (mono() - START), *a, file=sys.stderr, flush=True)

# ------------------------------------------------------------------------------------------------------------- thrift
# A struct is a list of (field id, type, value). Types: b bool, h i16, i i32, l i64, s string, r struct, and the tuples
# ("L", element), ("S", element), ("M", key, value). Decoding needs no types: a struct becomes {field id: value}.

def varint(n):
    o = bytearray()
    while n > 127: o.append(n & 127 | 128); n >>= 7
    o.append(n); return o
def zigzag(n): return varint((n << 1) ^ (n >> 63))

class Compact:
    code = dict(b=1, h=4, i=5, l=6, s=8, L=9, S=10, M=11, r=12)
    @classmethod
    def struct(c, fields, o=None):
        o = bytearray() if o is None else o; last = 0
        for fid, t, v in fields:
            ty = (1 if v else 2) if t == "b" else c.code[t[0]]
            if 0 < fid - last < 16: o.append(fid - last << 4 | ty)
            else: o.append(ty); o += zigzag(fid)
            last = fid
            if t != "b": c.value(t, v, o)
        o.append(0); return o
    @classmethod
    def value(c, t, v, o):
        k = t[0]
        if k in "hil": o += zigzag(v)
        elif k == "s":
            if isinstance(v, str): v = v.encode()
            o += varint(len(v)); o += v
        elif k == "r": c.struct(v, o)
        elif k == "b": o.append(1 if v else 2)
        elif k == "M":
            o += varint(len(v))
            if v: o.append(c.code[t[1][0]] << 4 | c.code[t[2][0]])
            for a, b in v.items(): c.value(t[1], a, o); c.value(t[2], b, o)
        else:
            e, n = c.code[t[1][0]], len(v)
            if n < 15: o.append(n << 4 | e)
            else: o.append(0xF0 | e); o += varint(n)
            for a in v: c.value(t[1], a, o)
    def __init__(self, b): self.b, self.p = b, 0
    def byte(self): self.p += 1; return self.b[self.p - 1]
    def varint(self):
        n = s = 0
        while True:
            x = self.byte(); n |= (x & 127) << s; s += 7
            if x < 128: return n
    def zigzag(self): n = self.varint(); return n >> 1 ^ -(n & 1)
    def take(self, n): self.p += n; return bytes(self.b[self.p - n:self.p])
    def read(self, t=12):
        if t in (4, 5, 6): return self.zigzag()
        if t == 8: return self.take(self.varint())
        if t in (1, 2): return self.byte() == 1
        if t == 3: return self.byte()
        if t == 7: return struct.unpack(">d", self.take(8))[0]
        if t in (9, 10):
            h = self.byte(); n = h >> 4
            if n == 15: n = self.varint()
            return [self.read(h & 15) for _ in range(n)]
        if t == 11:
            n = self.varint(); h = self.byte() if n else 0
            return {self.read(h >> 4): self.read(h & 15) for _ in range(n)}
        out, fid = {}, 0
        while (h := self.byte()):
            fid = fid + (h >> 4) if h >> 4 else self.zigzag()
            out[fid] = (h & 15 == 1) if h & 15 < 3 else self.read(h & 15)
        return out

class Binary:
    code = dict(b=2, h=6, i=8, l=10, s=11, r=12, M=13, S=14, L=15)
    num = dict(h=struct.Struct(">h"), i=struct.Struct(">i"), l=struct.Struct(">q"))
    @classmethod
    def struct(c, fields, o=None):
        o = bytearray() if o is None else o
        for fid, t, v in fields: o += struct.pack(">bh", c.code[t[0]], fid); c.value(t, v, o)
        o.append(0); return o
    @classmethod
    def value(c, t, v, o):
        k = t[0]
        if k in "hil": o += c.num[k].pack(v)
        elif k == "s":
            if isinstance(v, str): v = v.encode()
            o += c.num["i"].pack(len(v)); o += v
        elif k == "r": c.struct(v, o)
        elif k == "b": o.append(bool(v))
        elif k == "M":
            o += struct.pack(">bbi", c.code[t[1][0]], c.code[t[2][0]], len(v))
            for a, b in v.items(): c.value(t[1], a, o); c.value(t[2], b, o)
        else:
            o += struct.pack(">bi", c.code[t[1][0]], len(v))
            for a in v: c.value(t[1], a, o)
    def __init__(self, b): self.b, self.p = b, 0
    def get(self, f):
        v = struct.unpack_from(f, self.b, self.p); self.p += struct.calcsize(f); return v
    def read(self, t=12):
        if t == 10: self.p += 8; return int.from_bytes(self.b[self.p - 8:self.p], "big", signed=True)
        if t == 11: n, = self.get(">i"); self.p += n; return bytes(self.b[self.p - n:self.p])
        if t == 8: return self.get(">i")[0]
        if t == 6: return self.get(">h")[0]
        if t in (2, 3): return self.get(">b")[0]
        if t == 4: return self.get(">d")[0]
        if t == 13: k, v, n = self.get(">bbi"); return {self.read(k): self.read(v) for _ in range(n)}
        if t in (14, 15): e, n = self.get(">bi"); return [self.read(e) for _ in range(n)]
        out = {}
        while (ty := self.get(">b")[0]): fid = self.get(">h")[0]; out[fid] = self.read(ty)
        return out

# ---------------------------------------------------------------------------------------------------- RPC, client side

class RpcError(Exception): pass

class Client:
    """prepare() encodes a call, call() sends it and returns the raw reply, result() decodes that to the return value."""
    def __init__(self, ns, host, port):
        def connect():
            try: return socket.create_connection((host, port), 5)
            except OSError as e: return e
        self.s = in_ns(ns, connect)
        if isinstance(self.s, Exception): raise self.s
        self.s.settimeout(300); self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); self.open()
    def open(self): pass
    def exactly(self, n):
        b, o = bytearray(n), 0; m = memoryview(b)
        while o < n:
            k = self.s.recv_into(m[o:], n - o)
            if not k: raise RpcError("connection closed by the DUT")
            o += k
        return b
    def __call__(self, method, *args): return self.result(self.call(self.prepare(method, args)))

class Framed(Client):
    proto = Binary
    def prepare(self, method, args):
        m = method.encode()
        if self.proto is Binary: o = bytearray(struct.pack(">Ii", 0x80010001, len(m)) + m + bytes(4))
        else: o = bytearray(b"\x82\x22\x00" + varint(len(m)) + m)      # version nibble 2, as fbthrift wants
        self.proto.struct(args, o); return struct.pack(">I", len(o)) + o
    def call(self, msg):
        self.s.sendall(msg); return self.exactly(struct.unpack(">I", self.exactly(4))[0])
    def result(self, raw):
        r = self.proto(raw)
        if self.proto is Binary: v, = r.get(">I"); kind = v & 255; r.read(11); r.p += 4
        else: r.p = 1; kind = r.byte() >> 5; r.varint(); r.take(r.varint())
        out = r.read()
        if kind == 3 or any(k for k in out): raise RpcError(out)
        return out.get(0)

class FramedCompact(Framed): proto = Compact

def rocket_frame(sid, kind, flags, body, meta=None):
    if meta is not None: flags |= 0x100; body = len(meta).to_bytes(3, "big") + meta + body
    return (6 + len(body)).to_bytes(3, "big") + struct.pack(">IH", sid, kind << 10 | flags) + body

class Rocket(Client):
    sid = -1
    def open(self):
        mime = b"".join(bytes([len(m)]) + m for m in (b"application/x-rocket-metadata+compact", b"application/x-rocket-payload"))
        meta = b"\xf0\x9f\x9a\x80" + Compact.struct([(3, "i", 8), (4, "i", 10)])
        body = struct.pack(">HHII", 1, 0, 0x7FFFFFFF, 0x7FFFFFFF) + mime + len(meta).to_bytes(3, "big") + meta
        self.first = rocket_frame(0, 1, 0x100, body)
    def prepare(self, method, args):
        return Compact.struct([(1, "i", 2), (2, "s", method), (3, "i", 0), (5, "i", 300000)]), bytes(Compact.struct(args))
    def call(self, msg):
        self.sid += 2
        self.s.sendall(self.first + rocket_frame(self.sid, 4, 0, msg[1], msg[0])); self.first = b""
        meta, data = bytearray(), bytearray()
        while True:
            f = self.exactly(int.from_bytes(self.exactly(3), "big")); sid, tf = struct.unpack_from(">IH", f)
            if tf >> 10 == 11: raise RpcError(bytes(f[10:]))
            if sid != self.sid or tf >> 10 != 10: continue
            n = 6
            if tf & 0x100: n = 9 + int.from_bytes(f[6:9], "big"); meta += f[9:n]
            data += memoryview(f)[n:]
            if not tf & 0x80: break                                       # no fragment follows
        md = Compact(meta).read().get(7, {})
        if 2 in md: raise RpcError(md[2])
        return data
    def result(self, raw): return Compact(raw).read().get(0)

TRANSPORTS = {"framed": Framed, "framed-compact": FramedCompact, "rocket": Rocket}

# ------------------------------------------------------------------------------------------------- the fake neighbour

class Neighbour:
    """Spark on one interface of the peer namespace, under one node name."""
    def __init__(self, ns, name, ifname):
        self.name, self.ifname, self.seq, self.seen, self.up, self.stop = name, ifname, 1, None, threading.Event(), False
        def make():
            s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); idx = socket.if_nametoindex(ifname)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode())
            for opt, v in ((socket.IPV6_MULTICAST_IF, idx), (socket.IPV6_MULTICAST_HOPS, 255), (socket.IPV6_MULTICAST_LOOP, 0)):
                s.setsockopt(socket.IPPROTO_IPV6, opt, v)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(10, "ff02::1") + struct.pack("I", idx))
            s.bind(("::", 6666)); return s, idx
        self.s, self.idx = in_ns(ns, make)
        self.addr = link_local(ns, ifname)
        for f in (self.rx, self.tx): threading.Thread(target=f, daemon=True).start()
    def send(self, arm, fields):
        self.s.sendto(Compact.struct([(arm, "r", fields)]), ("ff02::1", 6666, 0, self.idx)); self.seq += 1
    def hello(self, solicit):
        infos = {DUT: [(1, "l", self.seen[0]), (2, "l", self.seen[1]), (3, "l", self.seen[2])]} if self.seen else {}
        self.send(3, [(2, "s", self.name), (3, "s", self.ifname), (4, "l", self.seq), (5, ("M", "s", "r"), infos), (6, "i", 20200825),
                      (7, "b", solicit), (8, "b", False), (9, "l", time.time_ns() // 1000)])
    def handshake(self, established):
        self.send(5, [(1, "s", self.name), (2, "b", established), (3, "l", 30000), (4, "l", 30000), (5, "r", [(1, "s", self.addr)]),
                      (6, "r", [(1, "s", bytes(4))]), (7, "i", 2018), (10, "s", AREA), (11, "s", DUT)])
    def rx(self):
        while not self.stop:
            p = Compact(self.s.recv(2000)).read()
            if (h := p.get(3)):
                self.seen = (h[4], h[9], time.time_ns() // 1000); self.seen_if = h[3].decode()
                if h.get(7): self.hello(False)
                if self.name.encode() in h[5] and not self.up.is_set(): self.handshake(False)
            elif (h := p.get(5)) and h.get(11, self.name.encode()) == self.name.encode():
                self.up.set()
                if not h[2]: self.handshake(True)
    def tx(self):
        n = 0
        while not self.stop:
            if not self.up.is_set(): self.hello(True)
            else:
                if n % 5 == 0: self.send(4, [(1, "s", self.name), (2, "l", self.seq), (3, "b", False)])
                if n % 50 == 0: self.hello(False)
            n += 1; time.sleep(0.2)

class PeerServer:
    """The KvStore end of the neighbours: any dump is answered empty, any other request by a void result."""
    def __init__(self, ns):
        self.synced, self.requests = threading.Event(), collections.Counter()
        def make():
            s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::", 2018)); s.listen(16); return s
        self.l = in_ns(ns, make); threading.Thread(target=self.accept, daemon=True).start()
    def accept(self):
        while True: threading.Thread(target=self.serve, args=(self.l.accept()[0],), daemon=True).start()
    def serve(self, c):
        f, names = c.makefile("rb"), {}
        empty = Compact.struct([(0, "r", [(2, ("M", "s", "r"), {}), (3, ("L", "s"), []), (5, ("L", "s"), []), (7, "s", AREA)])])
        while len(h := f.read(3)) == 3:
            b = f.read(int.from_bytes(h, "big")); sid, tf = struct.unpack_from(">IH", b); kind = tf >> 10
            if kind == 1: c.sendall(rocket_frame(0, 12, 0x100, Compact.struct([(1, "r", [(1, "i", 10), (2, "b", True)])])))
            if kind == 3 and tf & 0x80: c.sendall(rocket_frame(0, 3, 0, b[6:]))
            if kind == 4: names[sid] = Compact(b[9:]).read().get(2, b"").decode()
            if kind in (4, 10) and not tf & 0x80 and sid in names:           # the request's last fragment
                m = names.pop(sid); self.requests[m] += 1
                data = empty if m.startswith("getKvStoreKeyVals") else Compact.struct([(0, "i", 2)]) if m == "getStatus" else b"\0"
                c.sendall(rocket_frame(sid, 10, 0x60, data, Compact.struct([(7, "r", [(1, "r", [])])])))
                if m.startswith("getKvStoreKeyVals"): self.synced.set()

def link_local(ns, ifname):
    for _ in range(50):
        for line in sh("ip", "netns", "exec", ns, "cat", "/proc/net/if_inet6").splitlines():
            w = line.split()
            if w[5] == ifname and w[0].startswith("fe80"): return bytes.fromhex(w[0])
        time.sleep(0.1)
    raise OSError(f"no link-local address on {ifname}")

# ----------------------------------------------------------------------------------------------------------- topology

class Topology:
    """names, links (a set of node pairs), attach (where the DUT may be joined), middle (an edge), far (a node), edge."""
    def __init__(self, spec, p):
        kind, *a = spec.split(":"); self.p, self.links, self.nbr = p, set(), collections.defaultdict(dict)
        if kind == "grid":
            r, c = map(int, a[0].split("x")); n = lambda i, j: f"g-{i}-{j}"
            self.names = [n(i, j) for i in range(r) for j in range(c)]
            es = [(n(i, j), n(i, j + 1)) for i in range(r) for j in range(c - 1)] + [(n(i, j), n(i + 1, j)) for i in range(r - 1) for j in range(c)]
            self.attach, self.far = [n(0, 0), n(r - 1, c - 1), n(0, c - 1), n(r - 1, 0)], n(r - 1, c // 2)
            self.middle, self.edge = (n(r // 2, c // 2 - 1), n(r // 2, c // 2)), (n(0, 0), n(0, 1))
        elif kind == "clos":
            pods, planes, spines, racks = map(int, a)
            es = [(f"rsw-{p}-{i}", f"fsw-{p}-{f}") for p in range(pods) for i in range(racks) for f in range(planes)]
            es += [(f"fsw-{p}-{f}", f"ssw-{f}-{i}") for p in range(pods) for f in range(planes) for i in range(spines)]
            self.names = list(dict.fromkeys(x for e in es for x in e))
            self.attach, self.far = [f"fsw-0-{f}" for f in range(planes)], f"rsw-{pods - 1}-{racks - 1}"
            self.middle, self.edge = (f"fsw-{pods // 2}-0", "ssw-0-0"), ("fsw-0-0", "ssw-0-0")
        else: sys.exit(f"inject.py: unknown topology {spec!r}")
        for x, y in es: self.link(x, y)
        self.id = {x: k for k, x in enumerate(self.names)}
        self.version, self.gone, self.dut = collections.Counter(), set(), {}
    def link(self, x, y, up=True, metric=10):
        for a, b in ((x, y), (y, x)):
            if up: self.nbr[a][b] = metric
            else: self.nbr[a].pop(b, None)
    def value(self, key, node, fields):
        self.version[key] += 1
        return key, [(1, "l", self.version[key]), (2, "s", bytes(Compact.struct(fields))), (3, "s", node), (4, "l", INFINITE), (5, "l", 0)]
    def adj(self, x, only_dut=False):
        def one(other, ifname, other_if, addr, metric):
            return [(1, "s", other), (2, "s", ifname), (3, "r", [(1, "s", addr)]), (4, "i", metric), (5, "r", [(1, "s", bytes(4))]), (6, "i", 0),
                    (7, "b", False), (8, "i", 1000), (9, "l", 1700000000), (10, "l", 1), (11, "s", other_if), (12, "b", False), (13, "i", 0)]
        adjs = [one(DUT, *self.dut[x], 10)] if x in self.dut else []
        if not only_dut:
            adjs += [one(y, f"if-{y}", f"if-{x}", b"\xfe\x80" + bytes(10) + struct.pack(">I", self.id[y] + 1), m) for y, m in self.nbr[x].items()]
        return self.value(f"adj:{x}", x, [(1, "s", x), (2, "b", False), (3, ("L", "r"), adjs), (4, "i", 0), (6, "s", AREA), (7, "i", 0)])
    def prefix(self, x, k, delete=False):
        a = struct.pack(">IHHQ", 0x20010DB8, self.id[x], k, 0)
        entry = [(1, "r", [(1, "r", [(1, "s", a)]), (2, "h", 64)]), (2, "i", 1), (4, "i", 0), (7, "i", 0),
                 (10, "r", [(1, "i", 1), (2, "i", 1000), (3, "i", 200), (4, "i", 0), (5, "i", 0)]), (11, ("S", "s"), []), (12, ("L", "s"), [])]
        return self.value(f"prefix:{x}:[{socket.inet_ntop(10, a)}/64]", x,
                          [(1, "s", x), (3, ("L", "r"), [entry]), (5, "b", delete)])
    def everything(self):
        for x in self.names:
            yield self.adj(x)
            for k in range(self.p): yield self.prefix(x, k)

# -------------------------------------------------------------------------------------------------------- measurement

class Routes:
    """The 2001:db8::/32 routes in the DUT's kernel, followed by its route messages."""
    def __init__(self, ns):
        self.ns, self.have, self.changes, self.dels, self.last, self.overrun = ns, set(), 0, 0, None, 0
        self.s = nl_socket(ns, RTMGRP_IPV6_ROUTE); self.s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)   # SO_RCVBUFFORCE
        threading.Thread(target=self.follow, daemon=True).start()
    @staticmethod
    def mine(b):
        if b[1] != 64 or b[7] != 1: return None                            # destination length, type unicast
        d = attrs(b[12:]).get(1, [b""])[0]
        return d if d[:4] == b"\x20\x01\x0d\xb8" else None
    def follow(self):
        while True:
            try: data = self.s.recv(1 << 18)
            except OSError: self.overrun += 1; self.have = self.dump(); continue
            now, o = mono(), 0
            while o + 16 <= len(data):
                l, t = struct.unpack_from("=IH", data, o); d = self.mine(data[o + 16:o + l]) if t in (RTM_NEWROUTE, RTM_DELROUTE) else None
                if d:
                    self.have.add(d) if t == RTM_NEWROUTE else self.have.discard(d)
                    self.changes += 1; self.dels += t == RTM_DELROUTE; self.last = now
                o += (l + 3) & ~3
    def dump(self):
        s = nl_socket(self.ns)
        try: return {d for t, b in dump(s, RTM_GETROUTE, socket.AF_INET6) if (d := self.mine(b))}
        finally: s.close()

class Count:
    """How many routes the DUT's kernel has more than at first, read from its own statistics: costs nearly nothing."""
    def __init__(self, ns):
        self.f = in_ns(ns, lambda: open("/proc/thread-self/net/rt6_stats")); self.first = self.read()
    def read(self):
        self.f.seek(0); return int(self.f.read().split()[3], 16)
    def follow(self, want, timeout):
        """Wait until there are so many more; when that was, or None."""
        end = mono() + timeout
        while mono() < end:
            if self.read() - self.first >= want: return mono()
            time.sleep(0.002)

class Dut:
    def __init__(self, a):
        self.a, self.topo, self.proc = a, Topology(a.topo, a.prefixes), None
        self.names = self.topo.attach[:a.neighbors]                             # of the fake neighbours
        self.tag = f"inj-{os.getpid()}"; self.d, self.p, self.work = self.tag + "d", self.tag + "p", f"/tmp/{self.tag}"
        os.makedirs(self.work)
    def up(self):
        sh("ip", "netns", "add", self.d); sh("ip", "netns", "add", self.p)
        for n in (self.d, self.p):
            sh("ip", "-n", n, "link", "set", "lo", "up")
            sh("ip", "netns", "exec", n, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=1")
        for k, _ in enumerate(self.names):
            sh("ip", "link", "add", f"vd{k}", "netns", self.d, "type", "veth", "peer", "name", f"vg{k}", "netns", self.p)
            for n, i in ((self.d, f"vd{k}"), (self.p, f"vg{k}")): sh("ip", "-n", n, "link", "set", i, "up")
        for k, x in enumerate(self.names): self.topo.dut[x] = (f"vg{k}", f"vd{k}", link_local(self.d, f"vd{k}"))
        self.server, self.nbrs = PeerServer(self.p), [Neighbour(self.p, x, f"vg{k}") for k, x in enumerate(self.names)]
        self.routes = Routes(self.d) if self.a.notifications else None
        conf = {"node_name": DUT, "areas": [{"area_id": AREA, "neighbor_regexes": [".*"], "include_interface_regexes": ["vd.*"]}],
                "enable_netlink_fib_handler": True, "enable_v4": False, "dryrun": self.a.dryrun, "assume_drained": False,
                "enable_best_route_selection": True, "persistent_config_store_path": f"{self.work}/store", "enable_watchdog": True,
                "watchdog_config": {"interval_s": 20, "thread_timeout_s": 300, "max_memory_mb": 14000},   # C++ crashes without
                "kvstore_config": {"key_ttl_ms": 300000, "sync_initial_backoff_ms": 100, "sync_max_backoff_ms": 8000},
                "link_monitor_config": {"linkflap_initial_backoff_ms": 1, "linkflap_max_backoff_ms": 8, "use_rtt_metric": False},
                "spark_config": {"hello_time_s": 20, "fastinit_hello_time_ms": 100, "keepalive_time_s": 1, "hold_time_s": 30,
                                 "graceful_restart_time_s": 30, "min_neighbor_discovery_interval_s": 1, "max_neighbor_discovery_interval_s": 4},
                "decision_config": {"debounce_min_ms": 10, "debounce_max_ms": 250}, "enable_init_optimization": True,
                "prefix_forwarding_type": 0, "prefix_forwarding_algorithm": 0, "enable_segment_routing": False, "monitor_config": {},
                "fib_port": 60100, "route_delete_delay_ms": 0, "thrift_server": {"openr_ctrl_port": 2018}, **json.loads(self.a.config)}
        open(f"{self.work}/conf.json", "w").write(json.dumps(conf, indent=1))
        self.logf = open(f"{self.work}/dut.log", "wb"); self.t0 = mono()
        self.proc = subprocess.Popen(["ip", "netns", "exec", self.d, *shlex.split(self.a.cmd.format(conf=f"{self.work}/conf.json"))],
                                     stdout=self.logf, stderr=self.logf, stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.proc.pid
        while True:
            if self.proc.poll() is not None: raise RpcError(f"the DUT exited with {self.proc.returncode}; see {self.work}/dut.log")
            try: self.rpc = TRANSPORTS[self.a.rpc](self.d, "::1", 2018); break
            except OSError:
                if mono() - self.t0 > 30: raise
                time.sleep(0.02)
        self.rpc_up = mono() - self.t0
        self.set(dict(self.topo.adj(x, only_dut=True) for x in self.names))     # the DUT's first route build waits for it
        while mono() - self.t0 < 60:
            try: done = 8 in (self.rpc("getInitializationEvents") or {})
            except RpcError: done = mono() - self.t0 > 20                          # not served: allow it 20 s
            if done and self.server.synced.is_set() and all(n.up.is_set() for n in self.nbrs): break
            time.sleep(0.02)
        else: raise RpcError(f"the DUT did not initialize; neighbours {[n.up.is_set() for n in self.nbrs]}, see {self.work}/dut.log")
        self.init = mono() - self.t0; log(f"DUT initialized after {self.init:.2f} s")
    def prepare(self, kvs):
        """As a flood by the first neighbour, so that the DUT does not send it back."""
        return self.rpc.prepare("setKvStoreKeyVals", [(1, "r", [(2, ("M", "s", "r"), kvs), (5, ("L", "s"), [self.names[0]]),
                                 (7, "l", int(time.time() * 1000)), (8, "s", self.names[0])]), (2, "s", AREA)])
    def set(self, kvs): self.rpc.result(self.rpc.call(self.prepare(kvs)))
    def cpu(self): return time.clock_gettime(~self.pid << 3 | 2)                # the process's CPU clock, ns resolution
    def mem(self, what="VmHWM"):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith(what + ":"): return round(int(line.split()[1]) / 1024, 1)
    def counters(self):
        """The counters that tell something: counts, and averages (whole ms) over all time."""
        try: c = {k.decode(): v for k, v in self.rpc("getCounters").items()}
        except RpcError: return {}
        return {k: v for k, v in sorted(c.items()) if v and k.startswith(("decision.", "fib.", "kvstore.num_", "kvstore.thrift.num_full", "process.memory")) and not k.endswith((".60", ".600", ".3600"))}
    def quiet(self, since, window=0.5, limit=60, pending=lambda: False):
        """Wait until no 10 ms slice of the last `window` seconds was above 15 % of a core; when the last such slice ended.
        While pending() is true wait on, 10 s at most."""
        last, c, t = since, self.cpu(), mono()
        while mono() - since < limit and (mono() - max(last, since) < window or pending() and mono() - since < 10):
            time.sleep(0.01); c2, t2 = self.cpu(), mono()
            if (c2 - c) / (t2 - t) > 0.15: last = t2
            c, t = c2, t2
        return last
    def idle(self):
        """The DUT's CPU use at rest, as a share of one core: the median of ten short windows."""
        def window(): c, t = self.cpu(), mono(); time.sleep(0.25); return (self.cpu() - c) / (mono() - t)
        return statistics.median(window() for _ in range(10))
    def event(self, kvs, routes=False):
        """Inject and wait until the DUT rests; if a change of routes must come, at first for that (10 s at most)."""
        m = self.prepare(kvs); n, nd, c, t = self.routes.changes, self.routes.dels, self.cpu(), mono()
        self.rpc.call(m); rpc = mono() - t
        busy = self.quiet(t, 0.6, pending=lambda: routes and not self.a.dryrun and self.routes.changes == n)
        cpu, end, r = self.cpu() - c, mono(), self.routes
        return {"rpc": rpc * 1e3, "route": (r.last - t) * 1e3 if r.changes > n else None, "changes": r.changes - n, "deletes": r.dels - nd,
                "busy": (busy - t) * 1e3, "cpu": max(0, cpu - self.idle_rate * (end - t)) * 1e3}
    def batches(self, items, size):
        out, cur = [], {}
        for k, v in items:
            cur[k] = v
            if len(cur) == size: out.append(self.prepare(cur)); cur = {}
        if cur: out.append(self.prepare(cur))
        return out
    def feed(self, msgs):
        """Send the prepared batches one after the other; the DUT's CPU time and the clock at the start, and what is known."""
        sent = sum(len(m) if isinstance(m, (bytes, bytearray)) else len(m[1]) for m in msgs)
        self.idle_rate = self.idle(); c, t = self.cpu(), mono()
        for m in msgs: self.rpc.call(m)
        return c, t, {"batches": len(msgs), "bytes": sent, "rpc_s": mono() - t, "rss_before_mib": self.rss0, "idle_cpu_pct": self.idle_rate * 100}
    def load(self):
        want = self.topo.p * len(self.topo.names); self.rss0 = self.mem("VmRSS")
        msgs, done = self.batches(self.topo.everything(), self.a.batch), None
        if not self.routes and not self.a.dryrun:
            count, ends = Count(self.d), []; watch = threading.Thread(target=lambda: ends.append(count.follow(want, self.a.timeout))); watch.start()
        c, t, res = self.feed(msgs); log(f"{res['batches']} batches injected; waiting for {want} routes")
        have, seen = -1, 0
        if not self.routes and not self.a.dryrun: watch.join(); done, = ends
        while done is None and mono() - t < self.a.timeout and self.proc.poll() is None:
            if self.a.dryrun:
                try: c2 = self.rpc("getSelectedCounters", (1, ("L", "s"), ["fib.num_routes"]))
                except RpcError: c2 = self.rpc("getCounters")
                have, now = c2.get(b"fib.num_routes", 0), mono()
            elif self.routes: have, now = len(self.routes.have), self.routes.last
            else: break
            if have >= want: done = now; break
            if mono() - seen > 5: seen = mono(); log(f"{have} of {want} routes")
            time.sleep(0.02)
        cpu = self.cpu() - c; last = self.quiet(t if done is None else done, limit=20)
        by = "kernel routes (rtnetlink)" if self.routes else "kernel routes (counted)"
        if not self.routes: self.routes = Routes(self.d)                         # the events are timed by their notifications
        if not self.a.dryrun: have = len(self.routes.dump())                     # the kernel's own table decides
        res.update(nodes=len(self.topo.names), keys=sum(1 for _ in self.topo.version), routes_want=want, routes=have, complete=done is not None and have == want,
                   by="counter fib.num_routes" if self.a.dryrun else by, routes_s=done and done - t, quiet_s=last - t,
                   cpu_s=cpu, cpu_total_s=self.cpu() - c, rss_mib=self.mem("VmRSS"), peak_rss_mib=self.mem(),
                   route_messages=self.routes.changes, overruns=self.routes.overrun)
        return res
    def events(self):
        T, out = self.topo, collections.defaultdict(list)
        (ma, mb), (ea, eb) = T.middle, T.edge; far = dict(T.nbr[T.far])
        def adjs(*xs): return dict(T.adj(x) for x in xs)
        self.idle_rate = self.idle()
        for k in range(self.a.reps):
            T.nbr[ma][mb] = 20; out["metric_up"].append(self.event(adjs(ma)))
            T.nbr[ma][mb] = 10; out["metric_down"].append(self.event(adjs(ma)))
            out["prefix_withdraw"].append(self.event(dict([T.prefix(T.far, 0, True)]), True))
            out["prefix_add"].append(self.event(dict([T.prefix(T.far, 0)]), True))
            T.link(ea, eb, False); out["flap_down"].append(self.event(adjs(ea, eb)))
            T.link(ea, eb); out["flap_up"].append(self.event(adjs(ea, eb)))
            for y in far: T.link(T.far, y, False)
            out["cut_down"].append(self.event(adjs(T.far, *far), True))
            for y in far: T.link(T.far, y)
            out["cut_up"].append(self.event(adjs(T.far, *far), True))
            if mono() - START > self.a.budget: break
        def med(xs): xs = [x for x in xs if x is not None]; return round(statistics.median(xs), 2) if xs else None
        return {name: {"n": len(rs), **{f: med([r[f] for r in rs]) for f in rs[0]}, "route_max": max((r["route"] or 0 for r in rs)) or None,
                       "cpu_max": max(r["cpu"] for r in rs)} for name, rs in out.items()}
    def kv(self):
        body = bytes(range(256)) + bytes(44); self.rss0 = self.mem("VmRSS")
        items = ((f"opaque:{i:08d}:".ljust(60, "k"), [(1, "l", 1), (2, "s", body[i % 256:] + body[:i % 256]), (3, "s", self.names[0]),
                  (4, "l", INFINITE), (5, "l", 0)]) for i in range(self.a.kv))
        c, t, res = self.feed(self.batches(items, self.a.batch)); last = self.quiet(t + res["rpc_s"])
        res.update(keys=self.a.kv, done_s=last - t, cpu_s=self.cpu() - c, rss_mib=self.mem("VmRSS"), peak_rss_mib=self.mem())
        res["bytes_per_key"] = round((res["rss_mib"] - self.rss0) * 2**20 / self.a.kv); log(f"{self.a.kv} keys in {res['rpc_s']:.2f} s; dumping")
        for name, novalue in (("dump", False), ("dump_hashes", True)):
            m = self.rpc.prepare("getKvStoreKeyValsFilteredArea", [(1, "r", [(3, ("S", "s"), []), (5, ("L", "s"), []), (6, "b", True), (7, "b", novalue)]), (2, "s", AREA)])
            tries = []
            for _ in range(max(1, min(3, self.a.reps))):
                c, t = self.cpu(), mono(); raw = self.rpc.call(m); tries.append((mono() - t, self.cpu() - c))
            res[name] = {"s": min(x for x, _ in tries), "cpu_s": min(x for _, x in tries), "bytes": len(raw), "keys": len(self.rpc.result(raw)[2])}
        res["peak_rss_after_dump_mib"] = self.mem(); return res
    def down(self):
        for n in getattr(self, "nbrs", []): n.stop = True
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try: self.proc.wait(15)
            except subprocess.TimeoutExpired: self.proc.kill(); self.proc.wait()
        for n in (self.d, self.p): subprocess.run(["ip", "netns", "del", n], capture_output=True)
        if not self.a.keep: shutil.rmtree(self.work, ignore_errors=True)

def tidy(x):
    if isinstance(x, float): return round(x, 4 if abs(x) < 1 else 3)
    if isinstance(x, dict): return {k: tidy(v) for k, v in x.items()}
    return x

def floor(n=10000):
    """How long n routes of `ip -batch` take to come, and then this program to read their notifications, in seconds."""
    ns = f"inj-{os.getpid()}"
    try:
        sh("ip", "netns", "add", ns)
        sh("ip", "-n", ns, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for i in ("v0", "v1"): sh("ip", "-n", ns, "link", "set", i, "up")
        time.sleep(2)                                                           # the interfaces get their addresses
        routes, t = Routes(ns), mono()
        subprocess.run(["ip", "-n", ns, "-batch", "-"], check=True, text=True, input="".join(f"route add 2001:db8:{i:x}::/64 dev v0\n" for i in range(n)))
        added = mono() - t
        while len(routes.have) < n: time.sleep(0.02)
        return {"mode": "floor", "routes": n, "ip_batch_s": added, "last_notification_read_s": routes.last - t}
    finally: subprocess.run(["ip", "netns", "del", ns], capture_output=True)

def brief(r):
    """The figures of a run that people ask for first, as text."""
    if "error" in r: return r["error"]
    if "kv" in r:
        k = r["kv"]; return (f"{k['keys']} keys: {k['done_s'] * 1e3:.0f} ms, {k['cpu_s'] * 1e3:.0f} ms of CPU, {k['peak_rss_mib']:.0f} MiB; all dumped {k['dump']['s'] * 1e3:.0f} ms")
    l = r["load"]; out = [f"{r['mode']}, {r['prefixes']} prefixes a node: {l['routes']} of {l['routes_want']} routes"
        + (f" in {l['routes_s'] * 1e3:.0f} ms" if l["complete"] else "") + f" ({l['by']}), {l['cpu_s'] * 1e3:.0f} ms of CPU, {l['peak_rss_mib']:.0f} MiB"]
    out += [f"  {name:<16} last route after {'-' if e['route'] is None else '%.1f ms' % e['route']:>8}  {e['changes']:>4} routes changed  {e['cpu']:>6.1f} ms of CPU" for name, e in r.get("events", {}).items()]
    return "\n".join(out)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cmd", default=os.environ.get("OPENR_BIN", "./openr") + " --config {conf}", help="command of the DUT; {conf} is its configuration file")
    p.add_argument("--topo", default="grid:10x10", help="grid:RxC, or clos:PODS:PLANES:SPINES:RACKS")
    p.add_argument("--prefixes", type=int, default=1, help="prefixes per node")
    p.add_argument("--neighbors", type=int, default=1, help="fake neighbours (grid: corners; clos: fabric switches of pod 0), 1..4")
    p.add_argument("--reps", type=int, default=5); p.add_argument("--kv", type=int, default=0, metavar="N", help="inject N opaque keys instead")
    p.add_argument("--batch", type=int, default=1000, help="keys per setKvStoreKeyVals"); p.add_argument("--dryrun", action="store_true", help="the DUT programs no routes")
    p.add_argument("--rpc", choices=TRANSPORTS, default="framed", help="transport to the control port (framed = framed binary)")
    p.add_argument("--config", default="{}", help="JSON object merged over the DUT's configuration"); p.add_argument("--timeout", type=float, default=180, help="seconds for the initial load")
    p.add_argument("--budget", type=float, default=170, help="start no further repetition after so many seconds"); p.add_argument("--json", metavar="FILE")
    p.add_argument("--notifications", action="store_true", help="time the initial load by route messages"); p.add_argument("--brief", action="store_true", help="print text instead of JSON"); p.add_argument("--floor", action="store_true", help="measure the measuring"); p.add_argument("--keep", action="store_true", help="keep the work directory (configuration, DUT log)")
    a = p.parse_args()
    for s in (signal.SIGTERM, signal.SIGHUP): signal.signal(s, lambda *_: sys.exit(143))
    out = {"cmd": a.cmd, "rpc": a.rpc, "mode": "kv" if a.kv else a.topo, "prefixes": a.prefixes, "neighbors": a.neighbors, "dryrun": a.dryrun,
           "batch": a.batch, "reps": a.reps, "loadavg": os.getloadavg()[0], "cpus": os.cpu_count()}
    if a.floor: print(json.dumps(tidy(floor()))); return 0
    d = Dut(a)
    try:
        d.up(); out.update(rpc_up_s=d.rpc_up, init_s=d.init)
        if a.kv: out["kv"] = d.kv()
        else:
            out["load"] = d.load(); out["counters_after_load"] = d.counters(); log(json.dumps(tidy(out["load"])))
            if a.reps and out["load"]["complete"]:
                out["events"] = d.events(); out["counters_after_events"] = d.counters()
                out["routes_after_events"] = None if a.dryrun else len(d.routes.dump())
        out["final_rss_mib"], out["final_peak_rss_mib"], out["peer_requests"] = d.mem("VmRSS"), d.mem(), dict(d.server.requests)
    except (RpcError, OSError) as e: out["error"] = f"{type(e).__name__}: {e}"; a.keep = True
    finally: d.down()
    line = json.dumps(tidy(out)); print(brief(out) if a.brief else line)
    if a.json: open(a.json, "w").write(line + "\n")
    return 1 if "error" in out else 0

START = mono()
if __name__ == "__main__": sys.exit(main())

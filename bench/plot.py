#!/usr/bin/env python3
"""Draw what the benchmarks measured, as SVG, and write its tables into a Markdown document.

  plot.py compare RESULTS.json OUT.svg [DOCUMENT.md]    what fabric.py run --json wrote
  plot.py growth RESULTS.json OUT.svg [DOCUMENT.md]     what the simulation of growing networks wrote (make sim)

The tables take the place of what stands in the document between <!-- begin compare --> and <!-- end compare --> (or growth); they are
printed as well.

Only the standard library is needed.
"""
import html, json, math, statistics, sys

COLOURS = ["#1b6ca8", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#5c5c5c"]
LABELS = {"openr": "openr", "bird-ospf3": "BIRD OSPFv3", "frr-ospf6": "FRR OSPFv3", "frr-isis": "FRR IS-IS", "frr-openfabric": "FRR OpenFabric"}


class SVG:
    def __init__(self, width, height):
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
                    'font-family="sans-serif" font-size="11">', f'<rect width="{width}" height="{height}" fill="white"/>']

    def text(self, x, y, s, anchor="start", **more):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attrs(more)}>{html.escape(str(s))}</text>')

    def rect(self, x, y, w, h, fill):
        self.out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}"/>')

    def line(self, points, stroke, **more):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.out.append(f'<polyline points="{path}" fill="none" stroke="{stroke}"{attrs(more)}/>')

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.out + ["</svg>", ""]))


def attrs(more):
    return "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def lost(x):
    if not x:
        return None
    return x["loss"]["lost"] if "loss" in x else x["lost"]


# What is compared: title, unit, and where it stands in a result.
METRICS = [
    ("cold start", "s", lambda r: r.get("cold_start_s")),
    ("link down", "ms", lambda r: median(t["down_ms"] for t in r.get("link_trials", []))),
    ("link up", "ms", lambda r: median(t["up_ms"] for t in r.get("link_trials", []))),
    ("silent cut", "ms", lambda r: r.get("cut_ms")),
    ("node down", "ms", lambda r: r.get("node_down_ms")),
    ("node up", "ms", lambda r: r.get("node_up_ms")),
    ("lost: link down", "packets", lambda r: median(lost(t["down_loss"]) for t in r.get("link_trials", []))),
    ("lost: restart", "packets", lambda r: lost(r.get("restart"))),
    ("CPU", "s", lambda r: r.get("usage", {}).get("cpu_s")),
    ("memory per node", "MiB", lambda r: r.get("usage", {}).get("rss_mib_per_node")),
]


def unique(values):
    return list(dict.fromkeys(values))


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if v >= 100 or v == int(v) else f"{v:.3g}"


def compare(results, out):
    topologies, programs = unique(r["topo"] for r in results), unique(r["impl"] for r in results)
    cells = {(r["topo"], r["impl"]): r for r in results}
    columns, width, height = 2, 470, 190
    svg = SVG(columns * width + 20, 60 + math.ceil(len(METRICS) / columns) * height)
    for i, p in enumerate(programs):
        svg.rect(20 + i * 150, 14, 12, 12, COLOURS[i % len(COLOURS)])
        svg.text(38 + i * 150, 24, LABELS.get(p, p))
    for m, (title, unit, get) in enumerate(METRICS):
        x0, y0 = 55 + m % columns * width, 60 + m // columns * height
        w, h = width - 75, height - 60
        values = {k: get(r) for k, r in cells.items()}
        top = max([v for v in values.values() if v] or [1])
        low = min([v for v in values.values() if v] or [1])
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(top)) + 1)
        span = max(len(decades) - 1, 1)
        svg.text(x0, y0 - 8, f"{title} ({unit}, logarithmic)", font_weight="bold")
        for i, d in enumerate(decades):
            y = y0 + h - h * i / span
            svg.line([(x0, y), (x0 + w, y)], "#ddd")
            svg.text(x0 - 5, y + 4, f"{10.0 ** d:g}", "end")
        group = w / len(topologies)
        bar = group * 0.8 / len(programs)
        for g, t in enumerate(topologies):
            svg.text(x0 + group * (g + 0.5), y0 + h + 15, t, "middle")
            for i, p in enumerate(programs):
                v, x = values.get((t, p)), x0 + group * (g + 0.1) + bar * i
                if v is None:
                    svg.text(x + bar / 2, y0 + h - 3, "-", "middle")
                    continue
                tall = h * (math.log10(v) - decades[0]) / span if v > 0 else 0
                svg.rect(x, y0 + h - max(tall, 1), bar * 0.9, max(tall, 1), COLOURS[i % len(COLOURS)])
                svg.text(x + bar / 2, y0 + h - max(tall, 1) - 2, number(v), "middle", font_size=7)
    svg.write(out)
    for t in topologies:
        yield f"\n| {t} | " + " | ".join(f"{title} ({unit})" for title, unit, _ in METRICS) + " |"
        yield "|---" * (len(METRICS) + 1) + "|"
        for p in programs:
            r = cells.get((t, p))
            if r:
                note = "" if r.get("ecmp_complete", True) else " (not all ECMP next hops)"
                yield f"| {LABELS.get(p, p)}{note} | " + " | ".join(number(get(r)) for _, _, get in METRICS) + " |"


# What grows: title, unit, key.
GROWTH = [
    ("cold start", "ms, virtual", "cold_ms"), ("link down, all tables right", "ms, virtual", "down_ms"),
    ("messages to start, per node", "calls", "cold_calls_per_node"), ("bytes to start, per node", "KiB", "cold_kib_per_node"),
    ("messages after a link went down", "calls", "down_calls"), ("memory per node", "KiB", "kib_per_node"),
]


def growth(results, out):
    shapes = unique(r["shape"] for r in results)
    columns, width, height = 2, 430, 220
    svg = SVG(columns * width + 20, 50 + math.ceil(len(GROWTH) / columns) * height)
    for i, s in enumerate(shapes):
        svg.rect(20 + i * 150, 14, 12, 12, COLOURS[i % len(COLOURS)])
        svg.text(38 + i * 150, 24, s)
    sizes = sorted(unique(r["nodes"] for r in results))
    for m, (title, unit, key) in enumerate(GROWTH):
        x0, y0 = 60 + m % columns * width, 60 + m // columns * height
        w, h = width - 90, height - 65
        values = [r[key] for r in results if r[key] > 0]
        decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
        span = max(len(decades) - 1, 1)
        across = lambda n: x0 + w * math.log(n / sizes[0]) / max(math.log(sizes[-1] / sizes[0]), 1e-9)
        up = lambda v: y0 + h - h * (math.log10(v) - decades[0]) / span
        svg.text(x0, y0 - 8, f"{title} ({unit})", font_weight="bold")
        for d in decades:
            svg.line([(x0, up(10.0 ** d)), (x0 + w, up(10.0 ** d))], "#ddd")
            svg.text(x0 - 5, up(10.0 ** d) + 4, f"{10.0 ** d:g}", "end")
        for n in sizes:
            svg.text(across(n), y0 + h + 15, n, "middle", font_size=8)
        for i, s in enumerate(shapes):
            points = [(across(r["nodes"]), up(r[key])) for r in sorted(results, key=lambda r: r["nodes"]) if r["shape"] == s and r[key] > 0]
            svg.line(points, COLOURS[i % len(COLOURS)], stroke_width=2)
            for x, y in points:
                svg.rect(x - 2, y - 2, 4, 4, COLOURS[i % len(COLOURS)])
    svg.write(out)
    yield "| network | nodes | " + " | ".join(f"{t} ({u})" for t, u, _ in GROWTH) + " |"
    yield "|---" * (len(GROWTH) + 2) + "|"
    for r in results:
        yield f"| {r['topology']} | {r['nodes']} | " + " | ".join(number(r[k]) for _, _, k in GROWTH) + " |"


def insert(document, what, text):
    """Put text between the marks for it in a document."""
    with open(document) as f:
        before, begin, rest = f.read().partition(f"<!-- begin {what} -->\n")
    _, end, after = rest.partition(f"<!-- end {what} -->\n")
    if not begin or not end:
        sys.exit(f"{document}: want the lines <!-- begin {what} --> and <!-- end {what} -->")
    with open(document, "w") as f:
        f.write(before + begin + text + end + after)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("compare", "growth"):
        sys.exit(__doc__)
    with open(sys.argv[2]) as f:
        tables = "\n".join({"compare": compare, "growth": growth}[sys.argv[1]](json.load(f), sys.argv[3])).strip("\n") + "\n"
    print(tables, end="")
    if len(sys.argv) == 5:
        insert(sys.argv[4], sys.argv[1], "\n" + tables + "\n")

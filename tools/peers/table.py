"""What scripts/bench-vision prints: the table of cases, the geometric means with their bars, and the checks that all computed the same."""

import dataclasses
import math

TOLERANCE = {("f32", False): 1e-3, ("bf16", False): 0.03, ("f32", True): 1e-3, ("bf16", True): 0.12}  # of the largest sample; (dtype, network)


@dataclasses.dataclass
class Row:
    """One case with one number of threads."""

    case: object
    floor: float = 0  # microseconds; 0: none
    copy: float = 0
    tessera: float = 0
    median: float = 0
    path: str = ""
    peers: dict = dataclasses.field(default_factory=dict)  # name -> Entry

    @property
    def best(self):
        """(name, microseconds) of the fastest fair peer that computed the right thing, or None."""
        fair = [(entry.us, name) for name, entry in self.peers.items() if entry.us > 0 and not entry.aside and not entry.wrong]
        return (min(fair)[1], min(fair)[0]) if fair else None

    @property
    def to_floor(self):
        return self.tessera / self.floor if self.floor > 0 and self.tessera > 0 else None

    @property
    def to_best(self):
        return self.tessera / self.best[1] if self.best and self.tessera > 0 else None


@dataclasses.dataclass
class Entry:
    """What a peer answered."""

    us: float = 0  # 0: it does not serve the case
    median: float = 0
    why: str = ""  # it does not, or what failed
    failed: bool = False
    aside: str = ""  # why it is no fair peer here
    wrong: bool = False  # it computed something else
    path: str = ""


def least(answers):
    """(least, median) microseconds over the rounds; chains subtract the least times, not the least differences."""
    if "long_us" in answers[0]:
        us = (min(a["long_us"] for a in answers) - min(a["short_us"] for a in answers)) / answers[0]["links"]
    else:
        us = min(a["min_us"] for a in answers)
    medians = sorted(a["median_us"] for a in answers)
    return us, medians[len(medians) // 2]


def same(case, ours, theirs):
    """Do two drivers' samples of a result agree?"""
    if not ours or len(ours) != len(theirs):
        return False
    scale = max(max(map(abs, ours)), 1e-6)
    tolerance = TOLERANCE[case.dtype, case.section == "networks"] * scale
    return all(math.isfinite(b) and abs(a - b) <= tolerance for a, b in zip(ours, theirs))


def floor_us(case, copy_us, gflops):
    """The larger of moving the bytes and the arithmetic at the rates measured (f32, bf16)."""
    arithmetic = case.flops / (gflops["f32_gflops"] * 1e3) + case.bf16_flops / (gflops["bf16_gflops"] * 1e3)
    return max(copy_us, arithmetic)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


@dataclasses.dataclass
class Bar:
    """A ratio over a group of cases against what it should reach."""

    name: str
    ratios: list  # (ratio, label)
    limit: float | None = None
    at_least: bool = False

    @property
    def mean(self):
        return geometric_mean([ratio for ratio, _ in self.ratios])

    @property
    def worst(self):
        return (min if self.at_least else max)(self.ratios)

    @property
    def reached(self):
        if self.limit is None:
            return ""
        return "yes" if (self.mean >= self.limit if self.at_least else self.mean <= self.limit) else "NO"


def bars(rows, amx):
    """The means of the groups, in the order of the table."""
    found = []

    def add(name, ratios, limit=None, at_least=False):
        ratios = [(ratio, label) for ratio, label in ratios if ratio]
        if ratios:
            found.append(Bar(name, ratios, limit, at_least))

    def of(group, dtype, order):
        return [row for row in rows if (row.case.group, row.case.dtype, row.case.order) == (group, dtype, order)]

    def over(some, others):
        """Ratios of our times to those of the case of the same label."""
        times = {row.case.label: row.tessera for row in others if row.tessera > 0}
        return [(row.tessera / times[row.case.label], row.case.label) for row in some if row.tessera > 0 and row.case.label in times]

    for group in ("depthwise 3x3", "depthwise 5x5 or stride 2"):
        for dtype, floor, peer in (("f32", 1.15, 1.0 if amx else 0.75), ("bf16", 1.25, 0.7 if amx else 0.75)):
            nhwc, nchw = of(group, dtype, "nhwc"), of(group, dtype, "nchw")
            add(f"{group} {dtype} NHWC / floor", [(row.to_floor, row.case.label) for row in nhwc], floor)
            add(f"{group} {dtype} NHWC / best peer", [(row.to_best, row.case.label) for row in nhwc], peer)
            add(f"{group} {dtype} NCHW / own NHWC", over(nchw, nhwc), 1.4)
            add(f"{group} {dtype} NCHW / best peer", [(row.to_best, row.case.label) for row in nchw])
    dense, depthwise = of("dense", "f32", "nhwc"), of("depthwise 3x3", "f32", "nhwc")
    add("expanded dense, Tessera's / depthwise", over(dense, depthwise), 20, True)
    ours = {row.case.label: row.tessera for row in depthwise if row.tessera > 0}
    theirs = [(row.best[1] / ours[row.case.label], row.case.label) for row in dense if row.best and row.case.label in ours]
    add("expanded dense, best peer's / depthwise", theirs, 20, True)
    for dtype in ("f32", "bf16"):
        for order, limit in (("nhwc", 1.25), ("nchw", 2)):
            group = of("pools", dtype, order)
            add(f"pools {dtype} {order.upper()} / floor", [(row.to_floor, row.case.label) for row in group], limit)
            add(f"pools {dtype} {order.upper()} / best peer", [(row.to_best, row.case.label) for row in group])
    for dtype in ("f32", "bf16"):
        group = of("networks", dtype, "")
        for batch, limit in ((1, 0.8), (10, None)):
            add(f"networks {dtype} batch {batch} / best peer", [(row.to_best, row.case.label) for row in group if row.case.batch == batch], limit)
        single = {row.case.label.split()[0]: row.tessera for row in group if row.case.batch == 1 and row.tessera > 0}
        ten = [(row.tessera / 10 / single[net], net) for row in group if row.case.batch == 10 and (net := row.case.label.split()[0]) in single]
        add(f"networks {dtype} batch 10 a picture / batch 1", ten, 1.0)
    return found


def microseconds(us):
    return f"{us:.0f}" if us >= 1000 else f"{us:.1f}" if us >= 10 else f"{us:.2f}"


def cell(entry):
    if entry is None or entry.us <= 0:
        return "failed" if entry and entry.failed else "-"
    text = microseconds(entry.us)
    if entry.wrong:
        return text + " WRONG"
    return f"({text})" if entry.aside else text


def aligned(head, lines):
    """A Markdown table that is also legible as it stands; all columns but the first are set right."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def text(line):
        return "| " + " | ".join(word.ljust(w) if i == 0 else word.rjust(w) for i, (word, w) in enumerate(zip(line, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([text(head), rule, *map(text, lines)])


def ratio(value):
    return f"{value:.2f}" if value else "-"


def cases_table(rows, peers):
    """Tables of the cases, one a group, dtype and order; times in microseconds."""
    parts, groups = [], {}
    for row in rows:
        groups.setdefault((row.case.group, row.case.dtype, row.case.order), []).append(row)
    for (group, dtype, order), members in groups.items():
        named = [peer for peer in peers if any(row.peers.get(peer) and (row.peers[peer].us > 0 or row.peers[peer].failed) for row in members)]
        head = ["case", "floor", "Tessera", "/ floor", *named, "/ best peer", "path"]
        lines = []
        for row in members:
            own = microseconds(row.tessera) if row.tessera > 0 else "failed"
            floor = microseconds(row.floor) if row.floor > 0 else "-"
            lines.append([row.case.label, floor, own, ratio(row.to_floor), *(cell(row.peers.get(peer)) for peer in named), ratio(row.to_best), row.path])
        title = " ".join(word for word in (group, dtype, order.upper()) if word)
        parts.append(f"### {title}, µs\n\n" + aligned(head, lines))
        notes = {}
        for row in members:
            for peer, entry in row.peers.items():
                if entry.why and not entry.failed:
                    notes.setdefault(f"{peer}: {entry.why}")
                if entry.aside:
                    notes.setdefault(f"({peer}) does not count: {entry.aside}")
        if notes:
            parts.append("Notes: " + "; ".join(notes) + ".")
    return "\n\n".join(parts)


def bars_table(found):
    lines = []
    for bar in found:
        worst, label = bar.worst
        limit = "" if bar.limit is None else f"{'>=' if bar.at_least else '<='} {bar.limit:g}"
        lines.append([bar.name, f"{bar.mean:.2f}", limit, bar.reached, f"{worst:.2f}", label, str(len(bar.ratios))])
    return aligned(["geometric mean of", "is", "bar", "reached", "worst", "there", "cases"], lines)

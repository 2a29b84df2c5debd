#!/usr/bin/env python3
"""Runs pi0 (or pi0.5) at full size with Tessera and with LeRobot's PyTorch in turns, random weights, and prints times, ratios, memory and load.

One engine is in memory at a time, each run is a process of its own, and the least time counts. What is measured and what is fair: docs/BENCHMARKS.md.

    scripts/bench-pi0 --setup                                   makes build/pi0-venv with LeRobot (Python 3.12 or newer; 5 GB)
    scripts/bench-pi0                                           everything, 1 and 2 threads, an hour on two cores with AVX-512
    scripts/bench-pi0 --quick                                   one repetition, no constructor
    scripts/bench-pi0 --engines tessera                         against the bound alone; needs no package
    scripts/bench-pi0 --precisions bf16,int8 --threads 2 --cases 2x48,2+1x48
    scripts/bench-pi0 --json pi0.json --markdown pi0.md         every record, and the tables, in files
    scripts/bench-pi0 --tiny --quick                            tries the programs with tiny models; the figures mean nothing
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import queue
import shlex
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from bench_vision import listed, say, with_parent  # noqa: E402

SETUP = "scripts/bench-pi0 --setup installs it"
TINY = ROOT / "tests/goldens/policies/metaworld_pi0"
# What LeRobot takes at full size, measured; a machine with less is not tried.
NEEDED = {("chunks", "bf16"): 10.2e9, ("chunks", "f32"): 17.6e9, ("load", "bf16"): 19.2e9, ("load", "f32"): 17.6e9}


@dataclasses.dataclass(frozen=True)
class Case:
    """Cameras with a picture, camera slots without one, prompt tokens."""

    cameras: int
    masked: int
    tokens: int

    @property
    def word(self):
        return f"{self.cameras}{f'+{self.masked}' if self.masked else ''}x{self.tokens}"

    @property
    def text(self):
        masked = f" + {self.masked} masked" if self.masked else ""
        return f"{self.cameras} camera{'' if self.cameras == 1 else 's'}{masked}, {self.tokens} tokens"


def parse_case(word):
    """2+1x48 -> two pictures, one masked slot, 48 tokens"""
    try:
        cameras, tokens = word.split("x")
        present, plus, masked = cameras.partition("+")
        case = Case(int(present), int(masked) if plus else 0, int(tokens))
    except ValueError:
        case = Case(0, 0, 0)
    if not (1 <= case.cameras <= 16 and 0 <= case.masked <= 16 and 1 <= case.tokens <= 4096):
        raise argparse.ArgumentTypeError(f"expected CAMERAS[+MASKED]xTOKENS, for example 2+1x48, got '{word}'")
    return case


@dataclasses.dataclass(frozen=True)
class Key:
    """What a record is of."""

    engine: str  # "lerobot", "tessera"
    precision: str
    threads: int
    case: Case


def threads_text(n):
    return f"{n} thread{'' if n == 1 else 's'}"


class Results:
    """All records by key; of several rounds the fastest is kept."""

    def __init__(self):
        self.best, self.failed, self.loads, self.skipped = {}, {}, {}, []
        self.cpu, self.versions = {}, {}

    def add(self, key, record):
        if key not in self.best or record["min_s"] < self.best[key]["min_s"]:
            self.best[key] = record

    def add_load(self, engine, precision, load):
        """The fastest load and the largest memory of all processes."""
        old = self.loads.get((engine, precision))
        if old:
            load = {**load, "load_s": min(load["load_s"], old["load_s"]), "peak_rss_bytes": max(load["peak_rss_bytes"], old["peak_rss_bytes"])}
        self.loads[engine, precision] = load

    def seconds(self, engine, precision, threads, case):
        record = self.best.get(Key(engine, precision, threads, case))
        return record["min_s"] if record else None

    def ratio(self, theirs, ours, threads, case):
        """LeRobot's time in one precision over Tessera's in another."""
        a, b = self.seconds("lerobot", theirs, threads, case), self.seconds("tessera", ours, threads, case)
        return a / b if a and b else None


def lines_of(command, environment, patience, log):
    """The lines of a program as they come; ends it when one takes longer than `patience`. Throws RuntimeError on that, and when it fails."""
    with open(log, "ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **environment}, preexec_fn=with_parent)
    lines = queue.Queue()

    def read():
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        while True:
            line = lines.get(timeout=patience)
            if line is None:
                break
            yield line
        if process.wait() != 0:
            last = pathlib.Path(log).read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"ended with status {process.returncode}: {' '.join(last)} (see {log})")
    except queue.Empty:
        raise RuntimeError(f"gave no answer in {patience:.0f} s") from None
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=10)


def json_lines(command, environment, patience, log):
    for line in lines_of(command, environment, patience, log):
        with contextlib.suppress(json.JSONDecodeError):  # a library that greets on standard output
            answer = json.loads(line)
            if isinstance(answer, dict):
                yield answer


def available_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def room_for(what, precision, options, results):
    """Is there memory for LeRobot?"""
    needed = 0 if options.tiny else NEEDED[what, precision]
    if available_bytes() >= needed:
        return True
    results.skipped.append(f"LeRobot {precision}, {what}: it needs {needed * 1e-9:.1f} GB, {available_bytes() * 1e-9:.1f} GB are free")
    say(f"SKIPPED {results.skipped[-1]}")
    return False


def run_lerobot(precision, options, results):
    """Every case and number of threads with one model in memory."""
    if not options.python:
        results.skipped.append(f"LeRobot {precision}: no Python for it; {SETUP}")
        return
    if not room_for("chunks", precision, options, results):
        return
    command = [options.python, str(ROOT / "tools/peers/lerobot_pi0.py"), options.model, precision]
    command += ["--threads", ",".join(map(str, options.threads)), "--cases", ",".join(case.word for case in options.cases)]
    command += ["--repeat", str(options.repeat), "--most", str(options.most), "--chunk", str(options.chunk), "--steps", str(options.steps)]
    if options.tiny:
        command.append("--tiny")
    # One more than is used would cost nothing; fewer could not be raised later.
    environment = {"OMP_NUM_THREADS": str(max(options.threads)), "MKL_NUM_THREADS": str(max(options.threads))}
    say(f"LeRobot {precision}: loading")
    waiting = [Key("lerobot", precision, n, case) for n in options.threads for case in options.cases]
    load = None
    try:
        for answer in json_lines(command, environment, options.patience, options.folder / f"lerobot_{precision}.log"):
            if "missing" in answer:
                results.skipped.append(f"LeRobot {precision}: {answer['missing']}; {SETUP}")
                say(f"SKIPPED {results.skipped[-1]}")
                return
            if "versions" in answer:
                load = answer
                results.versions.update(answer["versions"])
                continue
            key = Key("lerobot", precision, answer["threads"], parse_case(answer["case"]))
            waiting.remove(key)
            if not answer["finite"]:
                results.failed[key] = "actions that are not finite"
            results.add(key, answer)
            load["peak_rss_bytes"] = max(load["peak_rss_bytes"], answer["peak_rss_bytes"])
            say(f"LeRobot {precision}, {threads_text(key.threads)}, {key.case.text}: {answer['min_s']:.2f} s")
        if waiting:
            raise RuntimeError("ended early")
    except RuntimeError as e:
        for key in waiting[:1]:
            results.failed[key] = str(e)
        for key in waiting[1:]:
            results.failed[key] = "not reached"
        say(f"LeRobot {precision}: {e}")
    if load:
        results.add_load("lerobot", precision, load)


def run_construct(precision, options, results):
    """What a user of from_pretrained waits for before the first weight is read."""
    if not options.python or not room_for("load", precision, options, results):
        return
    command = [options.python, str(ROOT / "tools/peers/lerobot_pi0.py"), options.model, precision, "--construct", "--threads", str(max(options.threads))]
    if options.tiny:
        command.append("--tiny")
    say(f"LeRobot {precision}: its constructor")
    try:
        for answer in json_lines(command, {}, options.patience, options.folder / f"lerobot_{precision}_construct.log"):
            if "load_s" in answer:
                results.add_load("lerobot, constructor", precision, answer)
    except RuntimeError as e:
        results.skipped.append(f"LeRobot {precision}, constructor: {e}")


def run_tessera(precision, options, results):
    target = options.target or (str(TINY) if options.tiny else options.model)
    for threads in options.threads:
        for case in options.cases:
            key = Key("tessera", precision, threads, case)
            command = [str(options.driver), "bench", target, "--precision", precision, "--threads", str(threads), "--cameras", str(case.cameras)]
            command += ["--masked-cameras", str(case.masked), "--prompt-tokens", str(case.tokens), "--steps", str(options.steps)]
            command += ["--repeat", str(options.repeat), "--json"]
            if not options.target and not options.tiny:
                command += ["--chunk", str(options.chunk)]
            try:
                text = "".join(lines_of(command, {}, options.patience, options.folder / f"tessera_{precision}.log"))
                answer = json.loads(text)
                record = {**answer, "stages": {stage["stage"]: stage for stage in answer["stages"]}}
                whole = record["stages"]["chunk"]
                record["min_s"] = whole["min_ms"] * 1e-3
            except (RuntimeError, ValueError, KeyError) as e:
                results.failed[key] = str(e)
                say(f"Tessera {precision}: {e}")
                continue
            results.add(key, record)
            results.cpu = {name: record[name] for name in ("cpu", "isa")}
            results.add_load("tessera", precision, {name: record[name] for name in ("load_s", "peak_rss_bytes", "weight_bytes")})
            say(f"Tessera {precision}, {threads_text(threads)}, {case.text}: {record['min_s']:.3f} s, {record['ratio_to_bound']:.2f} of its bound")


def run(options, results):
    """A peer's precision, then Tessera's that are held against it, and that as often as there are rounds."""
    for _ in range(options.rounds):
        for theirs, ours in (("bf16", ("bf16", "int8")), ("f32", ("f32",))):
            wanted = [precision for precision in ours if precision in options.precisions]
            if not wanted:
                continue
            if "lerobot" in options.engines:
                run_lerobot(theirs, options, results)
            if "tessera" in options.engines:
                for precision in wanted:
                    run_tessera(precision, options, results)
    if options.construct and "lerobot" in options.engines:
        for precision in ("bf16", "f32"):
            if {"bf16": {"bf16", "int8"}, "f32": {"f32"}}[precision] & set(options.precisions):
                run_construct(precision, options, results)


# The report.


def seconds_text(value):
    return "" if value is None else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def ratio_text(value):
    return "" if value is None else f"{value:.2f}"


def aligned(header, rows):
    """A Markdown table whose columns line up; the first column left, the others right."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row):
        return "| " + " | ".join(f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def chunk_table(results, options):
    """Seconds of a chunk and ratios, a row for every case and number of threads."""
    pairs = [pair for pair in (("bf16", "bf16"), ("bf16", "int8"), ("f32", "f32")) if pair[1] in options.precisions]
    header = ["case", "threads"]
    first = {theirs: ours for theirs, ours in reversed(pairs)}  # the peer's column stands before the first of ours that is held against it
    for theirs, ours in pairs:
        header += [f"LeRobot {theirs}"] if first[theirs] == ours else []
        header += [f"Tessera {ours}", "ratio", "/ bound"]
    rows = []
    for case in options.cases:
        for threads in options.threads:
            row = [case.text, str(threads)]
            for theirs, ours in pairs:
                if first[theirs] == ours:
                    row.append(time_cell(results, Key("lerobot", theirs, threads, case)))
                row.append(time_cell(results, Key("tessera", ours, threads, case)))
                row.append(ratio_text(results.ratio(theirs, ours, threads, case)))
                record = results.best.get(Key("tessera", ours, threads, case))
                row.append(ratio_text(record["ratio_to_bound"]) if record else "")
            rows.append(row)
    return aligned(header, rows)


def time_cell(results, key):
    record = results.best.get(key)
    if record is None:
        return "failed" if key in results.failed else "-"
    return seconds_text(record["min_s"]) + (" first call" if record.get("cold") else "")


STAGES = ("images", "prefix", "steps")


def stage_table(results, options):
    """Seconds in every stage; Tessera's with their shares of the ceilings."""
    rows = []
    for key, record in sorted(results.best.items(), key=lambda item: (options.cases.index(item[0].case), item[0].threads, item[0].engine, item[0].precision)):
        stages = record["stages"]
        row = [f"{key.case.text}, {threads_text(key.threads)}", f"{key.engine} {key.precision}"]
        for name in STAGES:
            part = stages.get(name)
            row.append("" if part is None else seconds_text(part if isinstance(part, float) else part["min_ms"] * 1e-3))
        for name in STAGES:
            part = stages.get(name)
            share = part.get("share_of_larger_bound" if name == "steps" else "share_of_matrix_ceiling") if isinstance(part, dict) else None
            row.append("" if share is None else f"{100 * share:.0f} %")
        whole = stages.get("chunk")
        row.append(ratio_text(whole["fastest_calls_ms"] / whole["bound_ms"]) if isinstance(whole, dict) and "fastest_calls_ms" in whole else "")
        rows.append(row)
    shares = ["images, of ceiling", "prefix, of ceiling", "steps, of larger bound", "chunk / bound at fastest calls"]
    return aligned(["case", "engine", *(f"{name} s" for name in STAGES), *shares], rows)


def memory_table(results):
    rows = []
    for (engine, precision), load in sorted(results.loads.items()):
        rows.append([f"{engine} {precision}", f"{load['load_s']:.1f}", f"{load['weight_bytes'] * 1e-9:.2f}", f"{load['peak_rss_bytes'] * 1e-9:.2f}"])
    return aligned(["engine", "load s", "weights GB", "peak RSS GB"], rows)


@dataclasses.dataclass
class Bar:
    """A figure against what it should reach."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def reached(self):
        return "yes" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "NO"


def bars(results, options, amx):
    """The figures that the project sets itself, with the most threads, for the first case and its masked sibling."""
    found = []
    threads = max(options.threads)
    case = next((c for c in options.cases if not c.masked), options.cases[0])
    masked = next((c for c in options.cases if c.masked and (c.cameras, c.tokens) == (case.cameras, case.tokens)), None)

    def add(name, value, limits, at_least=False):
        if value is not None:
            found.append(Bar(name, value, limits[1] if amx else limits[0], at_least))

    for precision, limits in (("bf16", (1.15, 1.35)), ("int8", (1.25, 1.6)), ("f32", (1.15, 1.15))):
        record = results.best.get(Key("tessera", precision, threads, case))
        if not record:
            continue
        add(f"whole chunk / bound, {precision}", record["ratio_to_bound"], limits)
        if precision == "bf16":
            for name in ("images", "prefix"):
                add(f"{name}, share of the matrix ceiling, bf16", record["stages"][name]["share_of_matrix_ceiling"], (0.90, 0.75), True)
        add(f"steps, share of the larger bound, {precision}", record["stages"]["steps"]["share_of_larger_bound"], (0.85, 0.80), True)
        one = results.seconds("tessera", precision, 1, case)
        if one and threads == 2:
            add(f"1 to 2 threads, {precision}", one / record["min_s"], (1.85, 1.85), True)
    add("LeRobot bf16 / Tessera bf16", results.ratio("bf16", "bf16", threads, case), (1.6, 3), True)
    if masked:
        add("the same with a masked camera", results.ratio("bf16", "bf16", threads, masked), (2, 4), True)
    add("LeRobot bf16 / Tessera int8", results.ratio("bf16", "int8", threads, case), (2.8, 4.5), True)
    add("LeRobot f32 / Tessera f32", results.ratio("f32", "f32", threads, case), (1.8, 1.8), True)
    for precision, limit in (("int8", 3.2), ("bf16", 6.4)):
        load = results.loads.get(("tessera", precision))
        add(f"peak RSS GB, {precision}", load["peak_rss_bytes"] * 1e-9 if load else None, (limit, limit))
    return found


def bars_table(found):
    rows = [[bar.name, f"{bar.value:.2f}", f"{'>=' if bar.at_least else '<='} {bar.limit:g}", bar.reached] for bar in found]
    return aligned(["figure", "measured", "to reach", "reached"], rows)


def header(options, results, loads):
    """What a reader must know to judge the figures."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = [
        f"Command: scripts/bench-pi0 {shlex.join(sys.argv[1:])}".rstrip(),
        f"Date: {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}; load average {loads[0]:.2f} before, {loads[1]:.2f} after",
        f"CPU: {results.cpu.get('cpu', 'not known')}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB memory",
        f"Tessera {options.version}, {results.cpu.get('isa', 'not run')} at most",
    ]
    if results.versions:
        lines.append(", ".join(f"{name} {version}" for name, version in results.versions.items()))
    lines += [f"SKIPPED {why}" for why in results.skipped]
    ceilings = [(key, record["ceilings"]) for key, record in results.best.items() if "ceilings" in record]
    for threads in options.threads:
        mine = [c for key, c in ceilings if key.threads == threads]
        if mine:
            most = {name: max(c[name] for c in mine) for name in ("f32_gflops", "bf16_gflops", "int8_gflops", "read_gbs")}
            lines.append(
                f"Ceilings, {threads_text(threads)}: f32 {most['f32_gflops']:.0f} GFLOP/s, bf16 {most['bf16_gflops']:.0f} GFLOP/s, "
                f"int8 {most['int8_gflops']:.0f} GOP/s, read from memory {most['read_gbs']:.1f} GB/s"
            )
    what = "tiny models, figures mean nothing" if options.tiny else f"{options.model} at full size, random weights"
    lines.append(f"{what}; chunk {options.chunk}, {options.steps} steps")
    lines.append(f"Rounds: {options.rounds}, timed calls in each: {options.repeat} after a warm-up; least times, in seconds")
    return "\n".join(f"- {line}" for line in lines)


def report(results, options, loads):
    parts = [f"# {options.model}: Tessera and LeRobot", header(options, results, loads)]
    parts.append("## Chunks\n\n" + chunk_table(results, options))
    if results.best:
        parts.append("## Stages\n\n" + stage_table(results, options))
    if results.loads:
        parts.append("## Load and memory\n\n" + memory_table(results))
    found = bars(results, options, "amx" in results.cpu.get("isa", ""))
    if found and not options.tiny:
        parts.append(f"## To reach ({threads_text(max(options.threads))})\n\n" + bars_table(found))
    if results.failed:
        lines = [f"- {k.engine} {k.precision}, {threads_text(k.threads)}, {k.case.text}: {why}" for k, why in results.failed.items()]
        parts.append("## Failed\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def records_json(results, options):
    """Everything, for programs."""
    rows = [{"engine": k.engine, "precision": k.precision, "threads": k.threads, "case": k.case.word, **record} for k, record in results.best.items()]
    failed = [{"engine": k.engine, "precision": k.precision, "threads": k.threads, "case": k.case.word, "why": why} for k, why in results.failed.items()]
    loads = [{"engine": engine, "precision": precision, **load} for (engine, precision), load in results.loads.items()]
    amx = "amx" in results.cpu.get("isa", "")
    limits = [{**dataclasses.asdict(bar), "reached": bar.reached == "yes"} for bar in bars(results, options, amx)]
    return {"model": options.model, **results.cpu, "versions": results.versions, "skipped": results.skipped, "records": rows, "failed": failed,
            "loads": loads, "to_reach": limits}


def arguments(words=None):
    parser = argparse.ArgumentParser(prog="scripts/bench-pi0", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["pi0", "pi05"], default="pi0")
    parser.add_argument("--engines", type=listed(("lerobot", "tessera"), "engines"), default=["lerobot", "tessera"], help="lerobot,tessera")
    parser.add_argument("--precisions", type=listed(("f32", "bf16", "int8"), "precisions"), default=["f32", "bf16", "int8"], help="f32,bf16,int8")
    parser.add_argument("--threads", type=listed([str(n) for n in range(1, 257)], "numbers"), default=["1", "2"], help="1,2")
    parser.add_argument("--cases", metavar="CASES", help="CAMERAS[+MASKED]xTOKENS,...; 2x48,2+1x48,2x16, for pi05 2x200,2+1x200")
    parser.add_argument("--chunk", type=int, default=50, metavar="N", help="50")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="10")
    parser.add_argument("--repeat", type=int, metavar="N", help="timed calls after one warm-up; 3")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="turns of everything, models loaded again each time; 1")
    parser.add_argument("--quick", action="store_true", help="one timed call; LeRobot's constructor is left out")
    parser.add_argument("--most", type=float, default=240, metavar="S", help="LeRobot's case is not repeated any more after so long; 240")
    parser.add_argument("--patience", type=float, default=3600, metavar="S", help="a process that says nothing for so long is ended; 3600")
    parser.add_argument("--target", metavar="FOLDER", help="a checkpoint or packed file for Tessera instead of random weights")
    parser.add_argument("--tiny", action="store_true", help="tiny models: for trying the programs")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--python", metavar="PROGRAM", help="a Python that has LeRobot; build/pi0-venv/bin/python")
    parser.add_argument("--driver", type=pathlib.Path, default=ROOT / "build/release/tessera", help="the program tessera; build/release/tessera")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/bench-pi0", help="for logs; build/bench-pi0")
    options = parser.parse_args(words)
    options.threads = sorted({int(n) for n in options.threads})
    options.repeat = options.repeat if options.repeat is not None else 1 if options.quick else 3
    options.construct = not options.quick
    usual = "2x16,2+1x16" if options.tiny else {"pi0": "2x48,2+1x48,2x16", "pi05": "2x200,2+1x200"}[options.model]
    try:
        options.cases = [parse_case(word) for word in dict.fromkeys((options.cases or usual).split(","))]
    except argparse.ArgumentTypeError as e:
        parser.error(f"argument --cases: {e}")
    if not options.engines or not options.precisions or not options.threads:
        parser.error("expected at least one of --engines, --precisions and --threads")
    if min(options.repeat, options.rounds, options.chunk, options.steps, options.most, options.patience) <= 0:
        parser.error("expected --repeat, --rounds, --chunk, --steps, --most and --patience above 0")
    usual = ROOT / "build/pi0-venv/bin/python"
    if options.python is None and usual.exists():
        options.python = str(usual)
    if "tessera" in options.engines and not options.driver.exists():
        parser.error(f"{options.driver} is not built")
    return options


def main():
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    for old in [*options.folder.glob("tessera_*.log"), *options.folder.glob("lerobot_*.log")]:
        old.unlink()
    options.version = "not run"
    if "tessera" in options.engines:
        options.version = subprocess.run([options.driver, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    before = os.getloadavg()[0]
    results = Results()
    run(options, results)
    text = report(results, options, (before, os.getloadavg()[0]))
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(records_json(results, options), indent=1) + "\n", encoding="utf-8")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Runs the vision cases with Tessera and with other libraries in turns, and prints the table with floors, ratios and geometric means.

Every library is a process of its own that is stopped (SIGSTOP) while another one is measured, so that no idle thread of it takes a core. For each case
the turn goes Tessera, first peer, second peer, ..., and that as often as --rounds says; the least time counts. What the cases are, how each peer is set
up and what the floor is: docs/BENCHMARKS.md.

    scripts/bench-vision --setup                                  makes build/peers-venv with the peers (6 GB, of which PyTorch takes most)
    scripts/bench-vision                                          everything, 1 and 2 threads, about an hour
    scripts/bench-vision --only networks --threads 1 --quick      a first look in two minutes
    scripts/bench-vision --only depthwise --peers torch,openvino --match 1x40x40x640
    scripts/bench-vision --csv vision.csv --markdown vision.md    the figures, and the tables, in files
    scripts/bench-vision --peers none                             against the floors alone; needs no package
"""

import argparse
import contextlib
import csv
import ctypes
import datetime
import json
import os
import pathlib
import select
import shlex
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "peers"))

import cases as all_cases  # noqa: E402
import networks  # noqa: E402
import table  # noqa: E402

PEERS = ("torch", "onednn", "onnxruntime", "openvino", "ncnn")
RATES_EVERY = 40  # cases
PATIENCE = 600  # seconds for one answer
SETUP = "scripts/bench-vision --setup installs it"


def with_parent():
    """Ends a driver when this program ends, even where it was killed: a stopped process would wait for ever."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


class Failure(Exception):
    """A driver that did not answer."""


class Driver:
    """A process that answers lines with JSON; it is stopped whenever it is not asked."""

    def __init__(self, name, command, log, environment=None):
        self.name, self.command, self.log, self.environment = name, command, log, environment
        self.process, self.buffer, self.hello = None, b"", {}

    def start(self):
        with open(self.log, "ab") as log:
            environment = {**os.environ, **(self.environment or {})}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            # A session of its own: stopped members of this program's group would get it a SIGHUP when the shell goes that started it.
            self.process = subprocess.Popen(self.command, **pipes, env=environment, preexec_fn=with_parent, start_new_session=True)
        self.buffer = b""
        self.hello = self.read(PATIENCE)
        self.rest()
        return self.hello

    def rest(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def read(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not chunk:
                why = "gave no answer in time" if not ready else "ended"
                self.stop()
                raise Failure(f"{self.name} {why}; see {self.log}")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def ask(self, words, seconds=PATIENCE):
        if self.process is None:
            self.start()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(words.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            self.stop()
            raise Failure(f"{self.name} has ended; see {self.log}") from None
        answer = self.read(seconds)
        self.rest()
        return answer

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            self.process = None


def say(text):
    print(text, file=sys.stderr, flush=True)


def weights(folder, python):
    """network -> its weights; the trained EfficientNet-Lite0 where its package is installed, made-up ones otherwise."""
    files = {}
    trained = folder / "efficientnet_lite0"
    if python and not (trained / "model.safetensors").exists():
        subprocess.run([python, str(ROOT / "tools/convert_efficientnet_lite0.py"), "installed", str(trained)], capture_output=True, check=False)
    for net in networks.ROWS:
        if net == "efficientnet_lite0" and (trained / "model.safetensors").exists():
            files[net] = trained
            continue
        files[net] = folder / f"{net}_random.safetensors"
        if not files[net].exists():
            networks.write_random(net, files[net])
    return files


def entry_of(case, answers, ours):
    """What a peer's answers over the rounds come to."""
    bad = next((answer for answer in answers if "unsupported" in answer or "error" in answer), None)
    if bad:
        return table.Entry(why=bad.get("unsupported", "") or bad["error"], failed="error" in bad)
    us, median = table.least(answers)
    last = answers[-1]
    return table.Entry(us, median, aside=last.get("aside", ""), wrong=not table.same(case, ours, last["check"]), path=last.get("path", ""))


def serve(case, drivers, options):
    """Row of one case: turns of all drivers, Tessera first. The floor follows when the rates are known."""
    answers = {driver.name: [] for driver in drivers}
    words = f"{case.words} seconds={options.seconds}"
    for _ in range(options.rounds):
        for driver in drivers:
            mine = answers[driver.name]
            if mine and ("unsupported" in mine[-1] or "error" in mine[-1]):
                continue
            line = words
            if case.section == "networks":
                # A file's name is Tessera's whole description of a network.
                line = words.replace(f"net={case.label.split()[0]} ", "") if driver.name == "tessera" else words
                if driver.name == "torch" and options.compile:
                    line += " compile=1"
            try:
                mine.append(driver.ask(line))
            except Failure as e:
                mine.append({"error": str(e)})
    row = table.Row(case)
    own = answers.pop("tessera")
    if any("error" in answer for answer in own):
        row.path = own[-1]["error"]
        ours = []
    else:
        row.tessera, row.median = table.least(own)
        row.copy = min((answer["copy_us"] for answer in own if "copy_us" in answer), default=0)
        row.path = own[-1]["path"]
        ours = own[-1]["check"]
    row.peers = {name: entry_of(case, given, ours) for name, given in answers.items()}
    return row


def measure_rates(tessera, rates):
    """Measures what the machine can do, again and again over the run; the best counts."""
    for key, value in tessera.ask("op=ceilings").items():
        rates[key] = max(value, rates.get(key, 0))


def run_threads(threads, options, files, folder):
    """(rows, rates, what the drivers said of themselves, what was skipped) of all cases with one number of threads."""
    tessera = Driver("tessera", [str(options.driver), f"--threads={threads}"], folder / "tessera.log")
    drivers, hellos, skipped = [tessera], {}, {}
    try:
        hellos["tessera"] = tessera.start()
        for name in options.peers:
            if not options.python:
                skipped[name] = f"no Python for peers; {SETUP}"
                continue
            command = [options.python, str(ROOT / "tools/peers/serve.py"), name, str(threads)]
            peer = Driver(name, command, folder / f"{name}.log", {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)})
            try:
                hello = peer.start()
            except Failure as e:
                hello = {"missing": str(e)}
            if "missing" in hello:
                skipped[name] = f"{hello['missing']}; {SETUP}"
                peer.stop()
                continue
            hellos[name] = hello
            drivers.append(peer)
        for name, why in skipped.items():
            say(f"SKIPPED {name}: {why}")
        rates, rows = {}, []
        chosen = all_cases.chosen(options.only, options.match, files)
        for i, case in enumerate(chosen, 1):
            if i % RATES_EVERY == 1:
                measure_rates(tessera, rates)
            rows.append(serve(case, drivers, options))
            shown = ", ".join(f"{name} {table.cell(entry)}" for name, entry in rows[-1].peers.items())
            say(f"[{i}/{len(chosen)}, {threads}T] {case.group}: {case.name}: tessera {table.microseconds(rows[-1].tessera)}, {shown}")
        measure_rates(tessera, rates)
    finally:
        for driver in drivers:
            driver.stop()
    for row in rows:
        row.floor = table.floor_us(row.case, row.copy, rates)
    return rows, rates, hellos, skipped


def header(options, hellos, skipped, files, loads):
    """What a reader must know to judge the figures."""
    own = hellos["tessera"]
    lines = [
        f"Command: scripts/bench-vision {shlex.join(sys.argv[1:])}".rstrip(),
        f"Date: {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}; load average {loads[0]:.2f} before, {loads[1]:.2f} after",
        f"CPU: {own['cpu']}, family {own['family']}, model {own['model']}, {own['cores']} cores, L2 {own['l2'] >> 10} KiB, "
        f"L3 {own['l3'] >> 20} MiB; {' '.join(own['flags'])}",
        f"Tessera {own['version']}, {own['isa']} at most",
    ]
    lines += [f"{name} {hello['version']}: {hello['settings']}" for name, hello in hellos.items() if name != "tessera"]
    lines += [f"SKIPPED {name}: {why}" for name, why in skipped.items()]
    if "networks" in options.only:
        lines.append("Weights: " + ", ".join(f"{net} {'made up' if 'random' in path.name else 'trained'}" for net, path in files.items()))
    lines.append(f"Threads: {', '.join(map(str, options.threads))}; rounds: {options.rounds}, {options.seconds} s each; times are the least of all, in µs")
    if loads[0] > 0.5:
        lines.append("NOTE: the machine was not quiet when this began; the figures may be off.")
    return "\n".join(f"- {line}" for line in lines)


def report(results, options, loads, files):
    """All of the text; `results`: threads -> (rows, rates, hellos, skipped)."""
    first = next(iter(results.values()))
    parts = ["# Vision: Tessera and its peers", header(options, first[2], first[3], files, loads)]
    amx = any(flag.startswith("amx") for flag in first[2]["tessera"]["flags"])
    for threads, (rows, rates, hellos, _) in results.items():
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}")
        parts.append(f"f32 FMA {rates['f32_gflops']:.0f} GFLOP/s, bf16 {rates['bf16_gflops']:.0f} GFLOP/s, read from memory {rates['read_gbs']:.1f} GB/s.")
        parts.append(table.cases_table(rows, [name for name in hellos if name != "tessera"]))
        parts.append(f"### Means, {threads} thread{'s' if threads > 1 else ''}\n\n" + table.bars_table(table.bars(rows, amx)))
    problems = failures(results)
    if problems:
        parts.append("## Failed\n\n" + "\n".join(f"- {problem}" for problem in problems))
    return "\n\n".join(parts) + "\n"


def failures(results):
    """Wrong results and drivers that failed."""
    found = []
    for threads, (rows, *_) in results.items():
        for row in rows:
            where = f"{row.case.group}: {row.case.name}, {threads} threads"
            if row.tessera <= 0:
                found.append(f"{where}: tessera: {row.path}")
            for name, entry in row.peers.items():
                if entry.failed:
                    found.append(f"{where}: {name}: {entry.why}")
                elif entry.wrong and row.tessera > 0:
                    found.append(f"{where}: {name} and tessera computed different results")
    return found


def write_csv(path, results):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["threads", "group", "case", "dtype", "order", "library", "min_us", "median_us", "floor_us", "copy_us", "path", "note"])
        for threads, (rows, *_) in results.items():
            for row in rows:
                case = row.case
                where = [threads, case.group, case.label, case.dtype, case.order]
                floors = [f"{row.floor:.3f}", f"{row.copy:.3f}"]
                writer.writerow([*where, "tessera", f"{row.tessera:.3f}", f"{row.median:.3f}", *floors, row.path, ""])
                for name, e in row.peers.items():
                    note = e.why or e.aside or ("wrong result" if e.wrong else "")
                    writer.writerow([*where, name, f"{e.us:.3f}", f"{e.median:.3f}", *floors, e.path, note])


def listed(allowed, what):
    """Reads "a,b" for argparse."""

    def read(text):
        words = [word for word in text.split(",") if word]
        for word in words:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"expected {what} out of {', '.join(allowed)}, got '{word}'")
        return words

    return read


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-vision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=listed(all_cases.SECTIONS, "sections"), default=list(all_cases.SECTIONS), help="depthwise,pools,networks")
    parser.add_argument("--match", default="", metavar="TEXT", help="only cases whose name or words hold this: 1x40x40x640, 'kind=max', bf16")
    parser.add_argument("--peers", type=listed((*PEERS, "none"), "peers"), default=list(PEERS), help=",".join(PEERS) + ", or none")
    parser.add_argument("--threads", type=listed([str(n) for n in range(1, 257)], "numbers"), default=["1", "2"], help="1,2")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of every case; 3")
    parser.add_argument("--seconds", type=float, metavar="S", help="time of a case in one turn; 0.2")
    parser.add_argument("--quick", action="store_true", help="one round of 0.05 s")
    parser.add_argument("--compile", action="store_true", help="torch.compile as one more way of PyTorch's networks; needs a C++ compiler")
    parser.add_argument("--csv", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--python", metavar="PROGRAM", help="a Python that has the peers; build/peers-venv/bin/python")
    parser.add_argument("--driver", type=pathlib.Path, default=ROOT / "build/release/bench_vision", help="Tessera's driver; build/release/bench_vision")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/bench-vision", help="for weights and logs; build/bench-vision")
    options = parser.parse_args()
    options.threads = [int(n) for n in options.threads]
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.05 if options.quick else 0.2)
    options.peers = [] if "none" in options.peers else options.peers
    if options.rounds < 1 or not 0 < options.seconds <= 60:
        parser.error("expected --rounds from 1 and --seconds up to 60")
    usual = ROOT / "build/peers-venv/bin/python"
    if options.python is None and usual.exists():
        options.python = str(usual)
    if any(word.isspace() for word in str(options.folder.resolve())):
        parser.error(f"a case is a line of words: expected a --folder without spaces, got '{options.folder.resolve()}'")
    if not options.driver.exists():
        parser.error(f"{options.driver} is not built")
    if not all_cases.chosen(options.only, options.match, dict.fromkeys(networks.ROWS, "")):
        parser.error(f"no case holds '{options.match}'")
    return options


def main():
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    for old in options.folder.glob("*.log"):
        old.unlink()
    files = weights(options.folder.resolve(), options.python) if "networks" in options.only else {}
    before = os.getloadavg()[0]
    results = {}
    for threads in options.threads:
        try:
            results[threads] = run_threads(threads, options, files, options.folder)
        except Failure as e:
            sys.exit(f"bench-vision: {e}")
    loads = before, os.getloadavg()[0]
    text = report(results, options, loads, files)
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.csv:
        write_csv(options.csv, results)
    return 1 if failures(results) else 0


if __name__ == "__main__":
    sys.exit(main())

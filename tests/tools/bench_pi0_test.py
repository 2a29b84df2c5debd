"""tools/bench_pi0.py without LeRobot: cases, ratios and tables from made-up records, a made-up peer that serves, hangs or dies, and the built program.

Usage: bench_pi0_test.py ROOT [TESSERA]     TESSERA: the built program; without it the tests that need it are left out
"""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
TESSERA = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bench = load("bench_pi0", ROOT / "tools/bench_pi0.py")
peer = load("lerobot_pi0", ROOT / "tools/peers/lerobot_pi0.py")

# A made-up Python with a made-up LeRobot: answers as tools/peers/lerobot_pi0.py does, whatever program it is told to run.
FAKE = """#!{python}
import json, sys, time
words = sys.argv[2:]
at = {{word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}}
print("a library greets")
load = dict(versions=dict(lerobot="9.9", torch="8.8"), load_s=5.0, weight_bytes=10, peak_rss_bytes=20)
mode = "{mode}"
if mode == "missing":
    print(json.dumps(dict(missing="No module named lerobot")))
    sys.exit(0)
print(json.dumps(load), flush=True)
if "--construct" in words:
    sys.exit(0)
for n in at["--threads"].split(","):
    for case in at["--cases"].split(","):
        if mode == "hangs":
            time.sleep(60)
        if mode == "dies":
            print("it broke", file=sys.stderr)
            sys.exit(3)
        seconds = 12.0 / int(n) + (1 if "+" in case else 0)
        stages = dict(images=1.0, prefix=2.0, steps=3.0)
        print(json.dumps(dict(threads=int(n), case=case, min_s=seconds, cold=False, stages=stages, finite=mode != "nan", peak_rss_bytes=30)), flush=True)
"""


def tessera_record(seconds, ratio=1.1):
    stage = {"min_ms": seconds * 500, "share_of_matrix_ceiling": 0.92, "share_of_larger_bound": 0.8, "fastest_calls_ms": 525.0, "bound_ms": 500.0}
    ceilings = {"f32_gflops": 100, "bf16_gflops": 200, "int8_gflops": 400, "read_gbs": 20}
    return {"min_s": seconds, "ratio_to_bound": ratio, "stages": {"images": stage, "prefix": stage, "steps": stage, "chunk": stage}, "ceilings": ceilings}


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        driver = TESSERA or sys.executable
        self.words = ["--driver", driver, "--folder", str(self.folder), "--tiny", "--cases", "2x48,2+1x48"]

    def options(self, *words):
        return bench.arguments([*self.words, *words])

    def fake(self, mode):
        path = self.folder / f"fake_{mode}"
        path.write_text(FAKE.format(python=sys.executable, mode=mode))
        path.chmod(0o755)
        return str(path)


class Cases(unittest.TestCase):
    def test_words(self):
        self.assertEqual(bench.parse_case("2+1x48"), bench.Case(2, 1, 48))
        self.assertEqual(bench.parse_case("1x16"), bench.Case(1, 0, 16))
        self.assertEqual(bench.parse_case("2+1x48").text, "2 cameras + 1 masked, 48 tokens")
        self.assertEqual(bench.parse_case("1x16").text, "1 camera, 16 tokens")
        for word in ("2+1x48", "1x16"):
            self.assertEqual(bench.parse_case(word).word, word)
            case = bench.parse_case(word)
            self.assertEqual(peer.parse_case(word), (case.cameras, case.masked, case.tokens))
        for word in ("", "2", "x48", "2x", "0x48", "2x0", "2+x48", "2+-1x48", "17x48", "ax48", "2x48x1"):
            with self.assertRaises(bench.argparse.ArgumentTypeError, msg=word):
                bench.parse_case(word)


class Figures(Scratch):
    def results(self):
        results = bench.Results()
        case, masked = bench.Case(2, 0, 48), bench.Case(2, 1, 48)
        for precision, seconds in (("bf16", 12.0), ("f32", 30.0)):
            for threads in (1, 2):
                results.add(bench.Key("lerobot", precision, threads, case), {"min_s": seconds / threads, "stages": {"images": 1.0}})
        results.add(bench.Key("lerobot", "bf16", 2, masked), {"min_s": 9.0, "cold": True, "stages": {}})
        for precision, seconds in (("bf16", 4.0), ("int8", 2.0), ("f32", 16.0)):
            results.add(bench.Key("tessera", precision, 1, case), tessera_record(1.9 * seconds))
            results.add(bench.Key("tessera", precision, 2, case), tessera_record(seconds, 1.2))
        results.add(bench.Key("tessera", "bf16", 2, masked), tessera_record(4.0))
        results.cpu = {"cpu": "A CPU", "isa": "avx512"}
        return results

    def test_the_least_of_the_rounds_counts(self):
        results, key = bench.Results(), bench.Key("tessera", "f32", 1, bench.Case(2, 0, 48))
        for seconds in (3.0, 2.0, 4.0):
            results.add(key, {"min_s": seconds})
        self.assertEqual(results.best[key]["min_s"], 2.0)
        for load_s, rss in ((9, 1), (5, 7), (6, 3)):
            results.add_load("tessera", "f32", {"load_s": load_s, "peak_rss_bytes": rss, "weight_bytes": 1})
        self.assertEqual(results.loads["tessera", "f32"], {"load_s": 5, "peak_rss_bytes": 7, "weight_bytes": 1})

    def test_ratios_are_lerobot_over_tessera(self):
        results, case = self.results(), bench.Case(2, 0, 48)
        self.assertAlmostEqual(results.ratio("bf16", "bf16", 2, case), 6.0 / 4)
        self.assertAlmostEqual(results.ratio("bf16", "int8", 2, case), 6.0 / 2)
        self.assertAlmostEqual(results.ratio("f32", "f32", 1, case), 30 / 30.4)
        self.assertIsNone(results.ratio("f32", "f32", 2, bench.Case(2, 1, 48)))

    def test_bars(self):
        found = {bar.name: bar for bar in bench.bars(self.results(), self.options(), amx=False)}
        for name, value, limit, reached in (
            ("whole chunk / bound, bf16", 1.2, 1.15, "NO"),
            ("whole chunk / bound, int8", 1.2, 1.25, "yes"),
            ("images, share of the matrix ceiling, bf16", 0.92, 0.9, "yes"),
            ("steps, share of the larger bound, bf16", 0.8, 0.85, "NO"),
            ("1 to 2 threads, int8", 1.9, 1.85, "yes"),
            ("LeRobot bf16 / Tessera bf16", 1.5, 1.6, "NO"),
            ("the same with a masked camera", 2.25, 2, "yes"),
            ("LeRobot bf16 / Tessera int8", 3, 2.8, "yes"),
            ("LeRobot f32 / Tessera f32", 15 / 16, 1.8, "NO"),
        ):
            bar = found.pop(name)
            self.assertAlmostEqual(bar.value, value, msg=name)
            self.assertEqual((bar.limit, bar.reached), (limit, reached), name)
        amx = {bar.name: bar.limit for bar in bench.bars(self.results(), self.options(), amx=True)}
        self.assertEqual((amx["LeRobot bf16 / Tessera bf16"], amx["whole chunk / bound, bf16"]), (3, 1.35))
        self.assertEqual(bench.bars(bench.Results(), self.options(), False), [])

    def test_report(self):
        results, options = self.results(), self.options()
        options.version, options.tiny = "1.2", False
        results.failed[bench.Key("lerobot", "f32", 2, bench.Case(2, 1, 48))] = "gave no answer"
        text = bench.report(results, options, (0.5, 1.5))
        for words in (
            r"CPU: A CPU, \d+ cores", r"load average 0.50 before, 1.50 after", r"Tessera 1.2, avx512 at most",
            r"Ceilings, 2 threads: f32 100 GFLOP/s, bf16 200 GFLOP/s, int8 400 GOP/s, read from memory 20.0 GB/s",
            r"\| 2 cameras, 48 tokens +\| +2 \| +6.00 \| +4.00 \| +1.50 \| +1.20 \| +2.00 \| +3.00 \| +1.20 \| +15.00 \| +16.00 \| +0.94 \| +1.20 \|",
            r"\| 2 cameras \+ 1 masked, 48 tokens \| +2 \| 9.00 first call \| +4.00 \| +2.25 \|.* failed \|",
            r"LeRobot bf16 / Tessera bf16 +\| +1.50 \| +>= 1.6 \| +NO \|", r"- lerobot f32, 2 threads, 2 cameras \+ 1 masked, 48 tokens: gave no answer",
            r"tessera bf16 \|.*\| +92 % \| +92 % \| +80 % \| +1.05 \|",
        ):
            self.assertRegex(text, words)
        alone = bench.chunk_table(results, self.options("--precisions", "int8"))
        self.assertRegex(alone, r"\| case +\| threads \| +LeRobot bf16 \| Tessera int8 \| ratio \| / bound \|")
        for block in re.split(r"\n\n", text):
            widths = {len(line) for line in block.splitlines() if line.startswith("|")}
            self.assertLessEqual(len(widths), 1, block)
        told = bench.records_json(results, options)
        self.assertEqual(len(told["records"]), len(results.best))
        self.assertEqual(json.loads(json.dumps(told))["failed"][0]["case"], "2+1x48")


class Peers(Scratch):
    def run_fake(self, mode, *words):
        results = bench.Results()
        bench.run_lerobot("bf16", self.options("--python", self.fake(mode), "--threads", "1,2", *words), results)
        return results

    def test_one_that_serves(self):
        results = self.run_fake("well")
        self.assertEqual(results.seconds("lerobot", "bf16", 2, bench.Case(2, 1, 48)), 7.0)
        self.assertEqual(len(results.best), 4)
        self.assertEqual(results.loads["lerobot", "bf16"]["peak_rss_bytes"], 30)
        self.assertEqual(results.versions, {"lerobot": "9.9", "torch": "8.8"})
        self.assertFalse(results.failed or results.skipped)

    def test_its_constructor(self):
        results = bench.Results()
        bench.run_construct("bf16", self.options("--python", self.fake("well")), results)
        self.assertEqual(results.loads["lerobot, constructor", "bf16"]["load_s"], 5.0)

    def test_one_that_is_not_installed(self):
        results = self.run_fake("missing")
        self.assertRegex(results.skipped[0], "No module named lerobot.*--setup")
        self.assertFalse(results.failed)
        none = bench.Results()
        options = self.options()
        options.python = None
        bench.run_lerobot("bf16", options, none)
        self.assertIn("--setup", none.skipped[0])

    def test_one_that_hangs_or_dies(self):
        start = time.monotonic()
        for mode, said in (("hangs", "no answer in 1 s"), ("dies", "status 3: it broke")):
            results = self.run_fake(mode, "--patience", "1")
            whys = list(results.failed.values())
            self.assertIn(said, whys[0])
            self.assertEqual(whys[1:], ["not reached"] * 3)
        self.assertLess(time.monotonic() - start, 30)

    def test_actions_that_are_not_finite_fail(self):
        self.assertEqual(len(self.run_fake("nan").failed), 4)

    def test_too_little_memory_is_said(self):
        options, results = self.options("--python", self.fake("well")), bench.Results()
        options.tiny = False
        self.addCleanup(setattr, bench, "available_bytes", bench.available_bytes)
        bench.available_bytes = lambda: 4e9
        bench.run_lerobot("f32", options, results)
        self.assertIn("17.6 GB, 4.0 GB are free", results.skipped[0])

    def test_the_order_of_turns(self):
        """A peer's precision, then ours that are held against it."""
        turns = []
        for name in ("run_lerobot", "run_tessera", "run_construct"):
            self.addCleanup(setattr, bench, name, getattr(bench, name))
            setattr(bench, name, lambda precision, options, results, name=name: turns.append((name[4:], precision)))
        bench.run(self.options("--rounds", "2", "--quick"), bench.Results())
        once = [("lerobot", "bf16"), ("tessera", "bf16"), ("tessera", "int8"), ("lerobot", "f32"), ("tessera", "f32")]
        self.assertEqual(turns, once * 2)
        turns.clear()
        bench.run(self.options("--precisions", "int8"), bench.Results())
        self.assertEqual(turns, [("lerobot", "bf16"), ("tessera", "int8"), ("construct", "bf16")])


@unittest.skipUnless(TESSERA, "no built program was named")
class Tessera(Scratch):
    def test_the_whole_program(self):
        words = [*self.words, "--cases", "2x16,2+1x16", "--quick", "--steps", "2", "--precisions", "f32,bf16", "--threads", "1"]
        files = ["--json", str(self.folder / "t.json"), "--markdown", str(self.folder / "t.md"), "--python", self.fake("well")]
        command = [sys.executable, str(ROOT / "tools/bench_pi0.py"), *words, *files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, (self.folder / "t.md").read_text())
        for pattern in (r"CPU: \S+", r"Tessera \d+\.\d+\.\d+, \w+ at most", r"lerobot 9\.9, torch 8\.8", r"\| 2 cameras, 16 tokens +\| +1 \| +12.00 \|"):
            self.assertRegex(done.stdout, pattern)
        told = json.loads((self.folder / "t.json").read_text())
        self.assertEqual(len(told["records"]), 8)
        ours = [record for record in told["records"] if record["engine"] == "tessera"]
        for record in ours:
            self.assertEqual(record["masked_cameras"], 1 if "+" in record["case"] else 0)
            self.assertEqual(record["prefix_tokens"], 72 + 16)  # a masked camera has no tokens here
            self.assertGreater(record["min_s"], 0)

    def test_a_target_that_is_not_there_fails(self):
        command = [sys.executable, str(ROOT / "tools/bench_pi0.py"), *self.words, "--quick", "--engines", "tessera", "--precisions", "f32"]
        done = subprocess.run([*command, "--threads", "1", "--target", "nowhere"], capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"## Failed\n\n- tessera f32, 1 thread, .*nowhere")


class Options(Scratch):
    def test_bad_ones(self):
        for words in (
            ["--engines", "jax"], ["--precisions", "f64"], ["--threads", "0"], ["--cases", "2"], ["--cases", "2x48,"], ["--repeat", "0"], ["--rounds", "0"],
            ["--steps", "-1"], ["--patience", "0"], ["--model", "pi1"], ["--precisions", ","], ["--driver", "nowhere"],
        ):
            command = [sys.executable, str(ROOT / "tools/bench_pi0.py"), *self.words, *words]
            self.assertEqual(subprocess.run(command, capture_output=True, check=False).returncode, 2, words)

    def test_usual_ones(self):
        self.words = self.words[:4]
        options = self.options()
        self.assertEqual([case.word for case in options.cases], ["2x48", "2+1x48", "2x16"])
        self.assertEqual((options.repeat, options.threads, options.construct), (3, [1, 2], True))
        self.assertEqual((self.options("--quick").repeat, self.options("--quick", "--repeat", "5").repeat), (1, 5))
        self.assertEqual([case.word for case in self.options("--model", "pi05").cases], ["2x200", "2+1x200"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])

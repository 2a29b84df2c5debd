"""tools/bench_vision.py without a peer: ratios and tables from made-up times, drivers that die, hang or err, and Tessera's own driver.

Usage: bench_vision_test.py ROOT [DRIVER]     DRIVER: the built bench_vision; without it the tests that need it are left out
"""

import importlib.util
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(sys.argv[1]).resolve()
DRIVER = sys.argv[2] if len(sys.argv) > 2 else None
spec = importlib.util.spec_from_file_location("bench_vision", ROOT / "tools/bench_vision.py")
bench_vision = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench_vision)
cases, networks, table = bench_vision.all_cases, bench_vision.networks, bench_vision.table

FAKE = """
import json, sys, time
print(json.dumps({"name": "fake", "version": "1", "settings": "none"}), flush=True)
for line in sys.stdin:
    if "hang" in line: time.sleep(60)
    if "die" in line: sys.exit(3)
    print(json.dumps({"got": line.strip()}), flush=True)
"""


def row(group, label, dtype, order, floor, tessera, batch=1, **peers):
    section = "networks" if group == "networks" else "pools" if group == "pools" else "depthwise"
    case = cases.Case(section, group, label, dtype, order, "", batch=batch)
    entries = {name: value if isinstance(value, table.Entry) else table.Entry(value) for name, value in peers.items()}
    return table.Row(case, floor, floor, tessera, path="path", peers=entries)


def value_at(i, seed):
    """The formula of benchmarks/vision.cpp and tools/peers/serve.py, once more."""
    u = (i * 2654435761 + seed * 97531) & 0xFFFFFFFF
    u ^= u >> 15
    u = u * 0x2C1B3CE5 & 0xFFFFFFFF
    u ^= u >> 12
    return (u >> 8) / 2**23 - 1


class Ratios(unittest.TestCase):
    def test_least_of_rounds(self):
        rounds = [{"min_us": 3, "median_us": 9}, {"min_us": 2, "median_us": 5}, {"min_us": 4, "median_us": 7}]
        self.assertEqual(table.least(rounds), (2, 7))

    def test_chains_subtract_the_least_times(self):
        # The least difference would be 70 / 16: a disturbed short chain must not make a layer look faster.
        rounds = [{"short_us": 50, "long_us": 120, "links": 16, "median_us": 5}, {"short_us": 20, "long_us": 116, "links": 16, "median_us": 6}]
        self.assertEqual(table.least(rounds)[0], 6)

    def test_floor_is_the_larger_one(self):
        case = cases.Case("depthwise", "depthwise 3x3", "x", "f32", "nhwc", "", flops=3e6, bf16_flops=4e6)
        rates = {"f32_gflops": 100, "bf16_gflops": 200}
        self.assertAlmostEqual(table.floor_us(case, 10, rates), 30 + 20)
        self.assertEqual(table.floor_us(case, 51, rates), 51)

    def test_best_peer_is_fair_and_right(self):
        r = row("pools", "x", "f32", "nhwc", 5, 10, a=20.0, b=table.Entry(8, aside="why"), c=table.Entry(9, wrong=True), d=table.Entry(why="no"))
        self.assertEqual(r.best, ("a", 20.0))
        self.assertEqual((r.to_floor, r.to_best), (2, 0.5))
        self.assertIsNone(row("pools", "x", "f32", "nhwc", 5, 10).best)

    def test_same_results(self):
        case = cases.Case("depthwise", "depthwise 3x3", "x", "f32", "nhwc", "")
        self.assertTrue(table.same(case, [1.0, -2.0], [1.0001, -2.0]))
        self.assertFalse(table.same(case, [1.0, -2.0], [1.01, -2.0]))
        self.assertFalse(table.same(case, [1.0, -2.0], [1.0, math.nan]))
        self.assertFalse(table.same(case, [1.0], [1.0, 2.0]))
        self.assertFalse(table.same(case, [], []))

    def test_means_and_bars(self):
        rows = [
            row("depthwise 3x3", "a", "f32", "nhwc", 10, 11, torch=22.0),
            row("depthwise 3x3", "b", "f32", "nhwc", 10, 44, torch=22.0),
            row("depthwise 3x3", "a", "f32", "nchw", 10, 22),
            row("dense", "a", "f32", "nhwc", 10, 1100, torch=110.0),
            row("networks", "net batch 1", "bf16", "", 10, 12, ncnn=16.0),
            row("networks", "net batch 10", "bf16", "", 10, 132, batch=10),
        ]
        bars = {bar.name: bar for bar in table.bars(rows, amx=False)}
        floor = bars["depthwise 3x3 f32 NHWC / floor"]
        self.assertAlmostEqual(floor.mean, 2.2)  # sqrt(1.1 * 4.4)
        self.assertEqual((floor.limit, floor.reached, floor.worst), (1.15, "NO", (4.4, "b")))
        self.assertAlmostEqual(bars["depthwise 3x3 f32 NHWC / best peer"].mean, 1.0)
        self.assertAlmostEqual(bars["depthwise 3x3 f32 NCHW / own NHWC"].mean, 2)
        dense = bars["expanded dense, Tessera's / depthwise"]
        self.assertAlmostEqual(dense.mean, 100)
        self.assertEqual(dense.reached, "yes")
        self.assertEqual(bars["expanded dense, best peer's / depthwise"].reached, "NO")
        self.assertEqual(bars["networks bf16 batch 1 / best peer"].reached, "yes")
        self.assertAlmostEqual(bars["networks bf16 batch 10 a picture / batch 1"].mean, 1.1)
        self.assertNotIn("pools f32 NHWC / floor", bars)
        amx = {bar.name: bar.limit for bar in table.bars(rows, amx=True)}
        self.assertEqual(amx["depthwise 3x3 f32 NHWC / best peer"], 1.0)

    def test_tables(self):
        rows = [
            row("pools", "a", "f32", "nchw", 10, 1234.5, torch=3.14159, ort=table.Entry(why="has none")),
            row("pools", "b", "f32", "nchw", 10, 20, torch=table.Entry(50, wrong=True), ort=table.Entry(why="broke", failed=True)),
        ]
        text = table.cases_table(rows, ["torch", "ort"])
        for words in (r"\| a +\| +10.0 \| +1234 \| +123.45 \| +3.14 \| +- \|", r"\| b .*\| +50.0 WRONG \| failed \|", "ort: has none"):
            self.assertRegex(text, words)
        widths = {len(line) for line in text.splitlines() if line.startswith("|")}
        self.assertEqual(len(widths), 1)
        self.assertRegex(table.bars_table(table.bars(rows, False)), r"pools f32 NCHW / floor +\| +15.71 \| +<= 2 \| +NO \| +123.45 \| +a \| +2 \|")
        found = bench_vision.failures({1: (rows, {}, {}, {})})
        self.assertEqual(len(found), 2)


class Networks(unittest.TestCase):
    def test_sizes(self):
        # 0.30 and 0.385 G multiply-adds of a picture.
        self.assertEqual(sum(networks.flops("mobilenet_v2")), 601548544)
        self.assertEqual(sum(networks.flops("efficientnet_lite0")), 770375104)
        for net, count, residuals in (("mobilenet_v2", 52, 10), ("efficientnet_lite0", 49, 9)):
            layers = networks.layers(net)
            self.assertEqual((len(layers), sum(layer.adds for layer in layers), sum(layer.keeps for layer in layers)), (count, residuals, residuals))
            self.assertEqual((layers[-1].side, layers[-1].outputs), (7, 1280))

    def test_cases(self):
        found = cases.chosen(cases.SECTIONS, "", dict.fromkeys(networks.ROWS, "file"))
        self.assertEqual(len({case.words for case in found}), len(found))
        self.assertEqual({case.section for case in found}, set(cases.SECTIONS))
        self.assertEqual([c.label for c in cases.chosen(["depthwise"], "10x7x7x112 f32 NHWC", {})], ["10x7x7x112"] * 2)


class Drivers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "fake.py").write_text(FAKE)
        self.driver = bench_vision.Driver("fake", [sys.executable, str(self.folder / "fake.py")], self.folder / "log")
        self.addCleanup(self.driver.stop)

    def state(self):
        return pathlib.Path(f"/proc/{self.driver.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def test_rests_when_not_asked(self):
        self.assertEqual(self.driver.start()["name"], "fake")
        for words in ("one", "two"):
            end = time.monotonic() + 5
            while self.state() != "T" and time.monotonic() < end:
                time.sleep(0.01)
            self.assertEqual(self.state(), "T")
            self.assertEqual(self.driver.ask(words), {"got": words})

    def test_one_that_hangs_or_dies_is_started_again(self):
        for words, said in (("hang", "in time"), ("die", "ended")):
            with self.assertRaisesRegex(bench_vision.Failure, said):
                self.driver.ask(words, 1)
            self.assertEqual(self.driver.ask("well?"), {"got": "well?"})

    def test_a_row_of_turns(self):
        """A peer that fails and one that serves nothing, beside a made-up Tessera."""
        options = type("Options", (), {"rounds": 3, "seconds": 0, "compile": False})
        case = cases.chosen(["pools"], "op=pool", {})[0]

        def driver(name, answer):
            asked = []
            return type("Fake", (), {"name": name, "asked": asked, "ask": lambda _, words: asked.append(words) or answer(len(asked))})()

        def dies(_):
            raise bench_vision.Failure("it died")

        own = driver("tessera", lambda turn: {"min_us": 10 - turn, "median_us": 12, "copy_us": 5 + turn, "path": "p", "check": [1, 2]})
        right = driver("right", lambda turn: {"min_us": 20 + turn, "median_us": 30, "check": [1, 2]})
        wrong = driver("wrong", lambda turn: {"min_us": 1, "median_us": 30, "check": [1, 3]})
        none, dead = driver("none", lambda turn: {"unsupported": "no pools"}), driver("dead", dies)
        found = bench_vision.serve(case, [own, right, wrong, none, dead], options)
        self.assertEqual((found.tessera, found.copy, found.best), (7, 6, ("right", 21)))
        self.assertEqual([len(d.asked) for d in (own, right, wrong, none, dead)], [3, 3, 3, 1, 1])
        self.assertTrue(found.peers["wrong"].wrong and found.peers["dead"].failed and not found.peers["none"].failed)


@unittest.skipUnless(DRIVER, "no built bench_vision was named")
class Tessera(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.driver = bench_vision.Driver("tessera", [DRIVER, "--threads=2"], self.folder / "log")
        self.addCleanup(self.driver.stop)

    def test_depthwise_computes_what_it_says(self):
        n, c, h, w, k, stride = 2, 3, 5, 4, 3, 2
        taps = [(dy, dx) for dy in range(k) for dx in range(k)]
        out = []
        for i in range(n * c):
            for y in range(-1, h - 1, stride):
                for x in range(-1, w - 1, stride):
                    inside = [(t, y + dy, x + dx) for t, (dy, dx) in enumerate(taps) if 0 <= y + dy < h and 0 <= x + dx < w]
                    out.append(sum(value_at((i * h + yy) * w + xx, 1) * 0.5 * value_at(i % c * k * k + t, 2) for t, yy, xx in inside))
        expected = [out[j * 1000003 % len(out)] for j in range(16)]
        for order in ("nhwc", "nchw"):
            answer = self.driver.ask(f"op=depthwise n={n} h={h} w={w} c={c} k={k} stride={stride} dtype=f32 order={order} seconds=0")
            for got, want in zip(answer["check"], expected, strict=True):
                self.assertAlmostEqual(got, want, delta=1e-5)
            self.assertGreater(answer["min_us"], 0)
            self.assertGreater(answer["copy_us"], 0)
            self.assertTrue(answer["path"].startswith("depthwise:"))
        dense = self.driver.ask(f"op=dense n={n} h={h} w={w} c={c} k={k} stride={stride} dtype=f32 order=nhwc seconds=0")
        for got, want in zip(dense["check"], expected, strict=True):
            self.assertAlmostEqual(got, want, delta=1e-5)
        self.assertFalse(dense["path"].startswith("depthwise:"))

    def test_pools(self):
        plane = [value_at(i, 1) for i in range(4 * 6)]
        for kind, want in (("avg", sum(plane) / 24), ("max", max(plane))):
            answer = self.driver.ask(f"op=pool kind={kind} n=1 c=1 h=4 w=6 oh=1 ow=1 dtype=f32 order=nhwc seconds=0")
            self.assertAlmostEqual(answer["check"][0], want, delta=1e-6)
        plain = self.driver.ask("op=pool kind=max n=1 c=1 h=4 w=6 k=2 stride=2 pad=0 dtype=bf16 order=nchw seconds=0")
        self.assertAlmostEqual(plain["check"][0], max(plane[0], plane[1], plane[6], plane[7]), delta=0.01)

    def test_bad_lines_are_answered(self):
        good = "op=depthwise n=1 h=4 w=4 c=8 k=3 stride=1 dtype=f32 order=nhwc seconds=0"
        bad = {
            "nonsense": "key=value",
            "op=other seconds=0": "op as one of",
            good.replace("seconds=0", "seconds=-1"): "seconds",
            good.replace("n=1", "n=0"): "n from 1",
            good.replace("n=1", "n=1.5"): "whole number",
            good.replace("h=4", "h=4x"): "h from 1",
            good.replace("c=8", "c=8 c=8"): "twice",
            good.replace(" w=4", ""): "w=",
            good + " extra=1": "nothing is known of 'extra'",
            good.replace("dtype=f32", "dtype=f16"): "dtype as one of",
            good.replace("h=4 w=4 c=8", "h=65536 w=65536 c=65536"): "2^28",
            "op=pool kind=max n=1 h=2 w=2 c=8 k=9 stride=1 pad=0 dtype=f32 order=nhwc seconds=0": "max_pool2d",
            "op=network file=nowhere batch=1 dtype=f32 seconds=0": "nowhere",
        }
        for line, words in bad.items():
            self.assertIn(words, self.driver.ask(line).get("error", "no error"), line)
        self.assertIn("min_us", self.driver.ask(good))

    def test_networks_with_made_up_weights(self):
        for net in networks.ROWS:
            file = self.folder / f"{net}.safetensors"
            networks.write_random(net, file)
            answer = self.driver.ask(f"op=network file={file} batch=2 dtype=bf16 seconds=0")
            self.assertEqual(answer.get("path"), net, answer)
            self.assertTrue(all(map(math.isfinite, answer["check"])))

    def test_the_whole_program(self):
        command = [sys.executable, str(ROOT / "tools/bench_vision.py"), "--driver", DRIVER, "--folder", str(self.folder), "--python", "false"]
        command += ["--peers", "ncnn", "--threads", "1", "--quick", "--only", "depthwise", "--match", "10x7x7x112 f32 NHWC"]
        command += ["--csv", str(self.folder / "t.csv"), "--markdown", str(self.folder / "t.md")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, (self.folder / "t.md").read_text())
        for words in (r"SKIPPED ncnn: .*--setup", r"CPU: .+, family \d+", r"\| 10x7x7x112 \|", r"NHWC / floor .*<= 1.15", "dense, Tessera's .*>= 20"):
            self.assertTrue(re.search(words, done.stdout), words + " in\n" + done.stdout)
        self.assertEqual(len((self.folder / "t.csv").read_text().splitlines()), 3)

    def test_options(self):
        for words in (["--peers", "tflite"], ["--only", "pool"], ["--threads", "0"], ["--rounds", "-1"], ["--match", "nothing holds this"]):
            command = [sys.executable, str(ROOT / "tools/bench_vision.py"), "--driver", DRIVER, *words]
            self.assertEqual(subprocess.run(command, capture_output=True, check=False).returncode, 2, words)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])

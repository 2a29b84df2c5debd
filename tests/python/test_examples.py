"""The programs of examples/ run and agree with their references."""

import json
import pathlib
import subprocess
import sys

import pytest

from conftest import GOLDENS, ROOT

PROGRAMS = sorted(p.stem for p in (ROOT / "examples" / "ttnn").glob("*.py") if p.stem != "common")


def test_programs_are_seven():
    assert len(PROGRAMS) == 7


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program, dtype):
    made = subprocess.run([sys.executable, ROOT / "examples" / "ttnn" / f"{program}.py", dtype], capture_output=True, text=True, check=False, timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    assert ": ok" in made.stdout and "GFLOP/s" in made.stdout


def test_wrong_dtype():
    made = subprocess.run([sys.executable, ROOT / "examples" / "ttnn" / "clip_embedding.py", "float16"], capture_output=True, text=True, check=False)
    assert made.returncode == 1 and "expected bfloat16 or float32" in made.stderr


def test_policy_program():
    folder = GOLDENS / "policies" / "metaworld_pi0"
    first = json.loads((folder / "observations" / "index.json").read_text())["observations"][0]
    pictures = [f"{pathlib.PurePath(slot).suffix[1:]}={folder / 'observations' / file}" for slot, file in first["images"].items()]
    state = ",".join(map(str, first["state"]))
    made = subprocess.run([sys.executable, ROOT / "examples" / "policy.py", folder, *pictures, state, first["sentence"]], capture_output=True, text=True, check=False)
    assert made.returncode == 0 and "actions in" in made.stdout, made.stderr

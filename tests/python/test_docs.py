"""What is made from the package is up to date: docs/ttnn.md and the stub of the extension module."""

import subprocess
import sys

import pytest

from conftest import ROOT


def test_page_is_up_to_date():
    made = subprocess.run([sys.executable, ROOT / "tools" / "make_ttnn_docs.py", "--print"], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "docs" / "ttnn.md").read_text(), "run tools/make_ttnn_docs.py"


def test_stub_is_up_to_date(tmp_path):
    pytest.importorskip("nanobind", reason="nanobind is not installed here")
    subprocess.run([sys.executable, "-m", "nanobind.stubgen", "-m", "tessera._tessera", "-q", "-o", tmp_path / "_tessera.pyi"], check=True)
    assert (tmp_path / "_tessera.pyi").read_text() == (ROOT / "python" / "tessera" / "_tessera.pyi").read_text(), (
        "run python -m nanobind.stubgen -m tessera._tessera -o python/tessera/_tessera.pyi"
    )

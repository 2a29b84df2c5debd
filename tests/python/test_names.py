"""Every name that public TTNN programs use is there, and every op that computes has a golden function and a page."""

import pathlib

import pytest

import tessera.ttnn as ttnn
from tessera.ttnn import golden
from tessera.ttnn.registry import OPERATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = (pathlib.Path(__file__).parent / "names.txt").read_text().split()


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    value = ttnn
    for word in name.split(".")[1:]:
        value = getattr(value, word)
    assert value is not None


def test_names_are_many():
    assert len(NAMES) == 236


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_op_is_registered_whole(name):
    op = OPERATIONS[name]
    value = ttnn
    for word in name.split(".")[1:]:
        value = getattr(value, word)
    assert value is op.function
    assert op.function.__doc__ or op.deviation
    if op.page:
        assert (ROOT / "docs" / "ops" / f"{op.page}.md").is_file(), op.page
        exempt = ("prepare_conv", "slice_write", "tilize", "to_layout", "to_dtype")
        assert op.golden is not None or any(w in name for w in exempt), "no golden function"


def test_goldens_share_nothing_with_the_library():
    files = list(pathlib.Path(golden.__file__).parent.glob("*.py"))
    assert len(files) > 3
    for file in files:
        assert "_tessera" not in file.read_text(), file


def test_get_golden_function():
    assert ttnn.get_golden_function(ttnn.add)([1.0][0], 2.0) == 3.0
    assert ttnn.concat.golden_function is ttnn.get_golden_function(ttnn.concat)
    with pytest.raises(RuntimeError, match="golden"):
        ttnn.get_golden_function(ttnn.deallocate)

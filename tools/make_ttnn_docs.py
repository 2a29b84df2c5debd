#!/usr/bin/env python3
"""Writes docs/ttnn.md from the package's table of operations. Needs the package to be installed (pip install .).

    tools/make_ttnn_docs.py            writes docs/ttnn.md
    tools/make_ttnn_docs.py --print    prints the page
"""

import inspect
import pathlib
import sys

import tessera.ttnn as ttnn
from tessera.ttnn import registry

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = """# tessera.ttnn

TTNN's programming model on a plain processor: `import tessera.ttnn as ttnn`. This page is made from the package's table of operations by
`tools/make_ttnn_docs.py`; a test compares.

```python
import numpy as np
import tessera.ttnn as ttnn

device = ttnn.open_device(device_id=0)
x = ttnn.from_torch(np.random.randn(1, 1, 51, 1024), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
w = ttnn.from_torch(np.random.randn(1024, 4096), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
y = ttnn.linear(x, w, activation="gelu")
print(ttnn.to_torch(y))          # or ttnn.to_numpy(y), where torch is not installed
```

`from_torch` takes NumPy arrays as well as torch tensors. `ttnn.get_golden_function(op)` answers with a reference in NumPy that shares nothing with
the library. `with tessera.profile() as p: ...; print(p)` shows what every op did. `examples/ttnn/` has whole programs.

## What differs from a device

- **Memory.** Elements are kept row-major whatever the layout. Tile layout is a promise about the padded shape and about what ops accept; padding
  holds no elements, so no op can read it, and `to_layout` moves nothing.
- **Block floats** are kept as the bfloat16 numbers that they hold, exactly; every op that makes one quantises once, 16 neighbours to an exponent.
- **Arithmetic** is float32, rounded once to the result's dtype. Fidelity, approximate modes, program configs, core grids, slices and sub-devices are
  checked for their type, recorded, and change no number; `fused_activation` of a program config is applied.
- **Sharding** is checked as a device checks it and survives round trips. The shards of its input decide how a depthwise `conv2d` is split over
  threads (fewer shards than threads leave some idle, many small ones cost time); elsewhere the library splits the work itself. Results are the same bits for any number of threads and any sharding.
- **L1** is recorded. All memory is the process's own; `deallocate` gives it back at once.
- **Program cache.** One entry for each op, its attributes and the specs of its tensors. A device may need several programs where this counts one;
  a call that fails after its arguments were checked leaves its entry.
- **Host and device.** A host tensor shares its elements with the array it came from and goes to; a device has elements of its own. Ops that
  compute want device tensors, as on a device; movement also takes host tensors.
- **In place.** An op that works in place gives its tensor new elements. A tensor that shared the old ones (by `reshape`, `to_layout`, `to_memory_config`) keeps
  them.
- **Devices.** One (`TESSERA_TTNN_DEVICES` says more); a mesh of any shape up to 64 devices is simulated, each device computing on its own tensors.
- **Errors.** RuntimeError where a device refuses, TypeError for wrong arguments, ValueError and IndexError as Python has them.

## Operations
"""
KINDS = {
    "convert": "Host and device, dtypes, layouts, files",
    "creation": "Creation",
    "movement": "Movement",
    "elementwise": "One output per element, and along dimensions",
    "matmul": "Products and embedding",
    "normalization": "Norms and softmax",
    "transformer": "ttnn.transformer",
    "experimental": "ttnn.experimental",
    "pool": "Pools",
    "conv": "Convolution",
}


def signature(function):
    text = str(inspect.signature(function))
    for recorded in (", queue_id=0", ", sub_core_grids=None", ", cq_id=None", ", compute_kernel_config=None", ", program_config=None"):
        text = text.replace(recorded, "")
    return text


def page():
    lines = [HEAD]
    for kind, title in KINDS.items():
        ops = [op for op in registry.OPERATIONS.values() if op.function.__module__ == f"tessera.ttnn.{kind}"]
        lines.append(f"### {title}\n")
        lines.append("| op | what it gives | golden | page | deviation |\n|---|---|---|---|---|")
        for op in sorted(ops, key=lambda op: op.name):
            doc = " ".join((op.function.__doc__ or "").split()).replace("|", "\\|")
            golden = "yes" if op.golden is not None else ""
            link = f"[{op.page}](ops/{op.page}.md)" if op.page else ""
            lines.append(f"| `{op.name}` | {doc} | {golden} | {link} | {op.deviation} |")
        lines.append("")
    lines.append("## Signatures\n\nAs Python has them, without what is recorded only (`queue_id`, `cq_id`, `sub_core_grids`, `program_config`, `compute_kernel_config`).\n\n```")
    for op in sorted(registry.OPERATIONS.values(), key=lambda op: op.name):
        if registry.OPERATIONS[op.function.python_fully_qualified_name] is op:
            lines.append(f"{op.name}{signature(op.function)}")
    lines.append("```\n")
    names = sum(1 for n in dir(ttnn) if not n.startswith("_"))
    lines.append(f"{len(registry.OPERATIONS)} operations; {names} public names in `tessera.ttnn`, with dtypes, layouts, configs and devices.\n")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(page())
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        (ROOT / "docs" / "ttnn.md").write_text(page())
        print("wrote docs/ttnn.md")

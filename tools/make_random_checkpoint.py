#!/usr/bin/env python3
"""Writes a full-size pi0 or pi0.5 checkpoint with random weights, in openpi's converted format: 14 GB in f32, 7 GB in bf16.

For measuring loading and memory without the real weights. Needs only Python.

usage: make_random_checkpoint.py OUT_DIR [--family pi0|pi05] [--dtype f32|bf16] [--depth N]
"""

import argparse
import json
import math
import random
import struct
from array import array
from pathlib import Path

VLM, EXPERT, HEAD, HEADS = (2048, 16384), (1024, 4096), 256, 8
HIDDEN, VISION_MLP, VISION_LAYERS, VOCAB, ACTION = 1152, 4304, 27, 257152, 32


def tensors(family, depth):
    """(name, shape) of every tensor that openpi's converter writes."""
    root = "paligemma_with_expert."
    tower = root + "paligemma.model.vision_tower.vision_model."
    yield tower + "embeddings.patch_embedding.weight", [HIDDEN, 3, 14, 14]
    yield tower + "embeddings.patch_embedding.bias", [HIDDEN]
    yield tower + "embeddings.position_embedding.weight", [256, HIDDEN]
    pairs = [("layer_norm1", [HIDDEN]), ("layer_norm2", [HIDDEN])]
    pairs += [(f"self_attn.{p}_proj", [HIDDEN, HIDDEN]) for p in ("q", "k", "v", "out")]
    pairs += [("mlp.fc1", [VISION_MLP, HIDDEN]), ("mlp.fc2", [HIDDEN, VISION_MLP])]
    for i in range(min(depth or VISION_LAYERS, VISION_LAYERS)):
        for name, shape in pairs:
            yield f"{tower}encoder.layers.{i}.{name}.weight", shape
            yield f"{tower}encoder.layers.{i}.{name}.bias", shape[:1]
    yield tower + "post_layernorm.weight", [HIDDEN]
    yield tower + "post_layernorm.bias", [HIDDEN]
    yield root + "paligemma.model.multi_modal_projector.linear.weight", [VLM[0], HIDDEN]
    yield root + "paligemma.model.multi_modal_projector.linear.bias", [VLM[0]]
    yield root + "paligemma.lm_head.weight", [VOCAB, VLM[0]]
    yield root + "gemma_expert.lm_head.weight", [VOCAB, EXPERT[0]]
    adaptive = family == "pi05"
    for stack, (width, mlp), adarms in ((root + "paligemma.model.language_model.", VLM, False), (root + "gemma_expert.model.", EXPERT, adaptive)):
        norm = [(".dense.weight", [3 * width, width]), (".dense.bias", [3 * width])] if adarms else [(".weight", [width])]
        matrices = [("self_attn.q_proj", [HEADS * HEAD, width]), ("self_attn.k_proj", [HEAD, width]), ("self_attn.v_proj", [HEAD, width]),
                    ("self_attn.o_proj", [width, HEADS * HEAD]), ("mlp.gate_proj", [mlp, width]), ("mlp.up_proj", [mlp, width]),
                    ("mlp.down_proj", [width, mlp])]
        for i in range(depth or 18):
            for name, shape in matrices:
                yield f"{stack}layers.{i}.{name}.weight", shape
            for place in ("input_layernorm", "post_attention_layernorm"):
                for suffix, shape in norm:
                    yield f"{stack}layers.{i}.{place}{suffix}", shape
        for suffix, shape in norm:
            yield stack + "norm" + suffix, shape
    e = EXPERT[0]
    linears = [("action_in_proj", e, ACTION), ("action_out_proj", ACTION, e)]
    linears += [("time_mlp_in", e, e), ("time_mlp_out", e, e)] if adaptive else [
        ("state_proj", e, ACTION), ("action_time_mlp_in", e, 2 * e), ("action_time_mlp_out", e, e)]
    for name, n, k in linears:
        yield name + ".weight", [n, k]
        yield name + ".bias", [n]


def block(fan_in, size, count=1 << 18):
    """`count` normal values of variance 1 / fan_in as bytes; a tensor repeats them from an offset of its own."""
    rng = random.Random(fan_in)
    raw = array("f", (rng.gauss(0, fan_in**-0.5) for _ in range(count))).tobytes()
    # bf16: the upper halves of the floats
    return raw if size == 4 else b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--family", choices=["pi0", "pi05"], default="pi0")
    ap.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    ap.add_argument("--depth", type=int, default=0, help="layers of every tower, for a smaller file (default: the real depths)")
    a = ap.parse_args()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    size = 4 if a.dtype == "f32" else 2
    listed = list(tensors(a.family, a.depth))
    header, offset = {}, 0
    for name, shape in listed:
        end = offset + size * math.prod(shape)
        header[name] = {"dtype": "F32" if size == 4 else "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    blocks = {}
    with open(out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for i, (name, shape) in enumerate(listed):
            fan_in = max(math.prod(shape[1:]), 64)
            data = blocks.setdefault(fan_in, None) or block(fan_in, size)
            blocks[fan_in] = data
            left, start = size * math.prod(shape), (i * 8191 * size) % len(data)
            while left > 0:
                piece = data[start : start + left]
                f.write(piece)
                left, start = left - len(piece), 0
            if i % 50 == 0:
                print(f"{100 * i // len(listed):3d} %  {name}", flush=True)
    config = {"action_dim": ACTION, "action_horizon": 50, "paligemma_variant": "gemma_2b", "action_expert_variant": "gemma_300m",
              "precision": "float32" if size == 4 else "bfloat16"}
    (out / "config.json").write_text(json.dumps(config, indent=1))
    print(f"{out}: {len(listed)} tensors, {offset / 1e9:.2f} GB")


if __name__ == "__main__":
    main()

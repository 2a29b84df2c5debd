#!/usr/bin/env python3
"""Runs your LeRobot pi0 or pi0.5 policy on an observation and writes a recording that `tessera verify` compares stage by stage.

usage: record_reference.py CHECKPOINT OUT_DIR --image NAME=FILE [--image ...] --state 0.1,0.2,... --task "sentence" [--seed 0] [--bf16] [--steps N]

Writes OUT_DIR/policy_io.safetensors and policy_io.json (raw pictures, state and sentence -> processors -> network -> actions) and
OUT_DIR/io.safetensors (the network alone: its inputs, K/V of every layer, velocity of every step, actions). Then:

    tessera verify CHECKPOINT OUT_DIR

Needs Python 3.12 or newer with `lerobot[pi]` (which brings torch) and Pillow. NAME is a camera of the policy (observation.images.NAME, or NAME alone).
--bf16 also runs the same weights in bfloat16, which verify needs to judge bf16 precision.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.utils import prepare_observation_for_inference
from PIL import Image
from safetensors.torch import save_file


def load(checkpoint, dtype):
    config = PreTrainedConfig.from_pretrained(checkpoint)
    config.device = "cpu"
    config.dtype = dtype
    config.compile_model = False
    policy = get_policy_class(config.type).from_pretrained(checkpoint, config=config).eval()
    pre, post = make_pre_post_processors(config, pretrained_path=checkpoint, preprocessor_overrides={"device_processor": {"device": "cpu"}})
    return policy, pre, post


class Stages:
    """Notes what the network computes on the way, by wrapping the methods that compute it."""

    def __init__(self, model):
        self.values, self.model = {}, model
        self.steps = []
        tower = model.paligemma_with_expert
        self.undo = [(tower, "embed_image", tower.embed_image), (model, "embed_prefix", model.embed_prefix), (model, "denoise_step", model.denoise_step),
                     (tower, "forward", tower.forward)]
        count = 0

        def embed_image(image):
            nonlocal count
            out = self.undo[0][2](image)
            self.values[f"image_embs.{count}"] = out
            count += 1
            return out

        def embed_prefix(*args, **kwargs):
            out = self.undo[1][2](*args, **kwargs)
            self.values["prefix_embs"], self.values["prefix_pad_mask"] = out[0], out[1]
            self.values["prefix_position_ids"] = torch.cumsum(out[1], dim=1) - 1
            return out

        def forward(*args, **kwargs):
            out = self.undo[3][2](*args, **kwargs)
            if kwargs["inputs_embeds"][1] is None:
                cache = out[1]
                for i, layer in enumerate(cache.layers if hasattr(cache, "layers") else []):
                    self.values[f"cache.{i}.k"], self.values[f"cache.{i}.v"] = layer.keys, layer.values
            return out

        def denoise_step(*args, **kwargs):
            out = self.undo[2][2](*args, **kwargs)
            named = dict(zip(("state", "prefix_pad_masks", "past_key_values", "x_t", "timestep")[-len(args):] if args else (), args)) | kwargs
            self.steps.append((named["x_t"].clone(), named["timestep"].reshape(-1)[:1].clone(), out.clone()))
            return out

        tower.embed_image, model.embed_prefix, model.denoise_step, tower.forward = embed_image, embed_prefix, denoise_step, forward

    def close(self, actions):
        for owner, name, method in self.undo:
            setattr(owner, name, method)
        x, t, v = zip(*self.steps)
        return self.values | {"x_t": torch.cat(x), "time": torch.cat(t), "v_t": torch.cat(v), "actions": actions}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint")
    ap.add_argument("out")
    ap.add_argument("--image", action="append", required=True, metavar="NAME=FILE")
    ap.add_argument("--state", required=True, help="numbers separated by commas, or a .npy file")
    ap.add_argument("--task", required=True)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--steps", type=int)
    ap.add_argument("--bf16", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(1)
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)

    observation = {}
    for word in a.image:
        name, file = word.split("=", 1)
        key = name if name.startswith("observation.") else f"observation.images.{name}"
        observation[key] = np.asarray(Image.open(file).convert("RGB"))
    state = np.load(a.state) if a.state.endswith(".npy") else np.array([float(v) for v in a.state.split(",")])
    observation["observation.state"] = state.astype(np.float32)

    policy_io = {f"obs.{k}": torch.from_numpy(v.copy()) for k, v in observation.items()}
    model_io = {}
    for prefix, dtype in [("f32", "float32")] + ([("bf16", "bfloat16")] if a.bf16 else []):
        policy, pre, post = load(a.checkpoint, dtype)
        config = policy.config
        steps = a.steps or config.num_inference_steps
        noise = torch.randn(1, config.chunk_size, config.max_action_dim, generator=torch.Generator().manual_seed(a.seed))
        batch = pre(prepare_observation_for_inference({k: v.copy() for k, v in observation.items()}, torch.device("cpu"), task=a.task))
        images, masks = policy._preprocess_images(batch)
        stages = Stages(policy.model)
        with torch.no_grad():
            normalised = policy.predict_action_chunk(batch, noise=noise.clone(), num_steps=steps)
        padded = torch.nn.functional.pad(normalised, (0, config.max_action_dim - normalised.shape[-1]))
        recorded = stages.close(padded)
        # the chunk as the network left it, padded dimensions included: the last x plus the last step
        recorded["actions"] = recorded["x_t"][-1:] - recorded["v_t"][-1:] / steps
        model_io |= {f"{prefix}.{k}": v for k, v in recorded.items()}
        if prefix == "f32":
            model_io["in.noise"] = policy_io["noise"] = noise
            for i, (x, m) in enumerate(zip(images, masks)):
                model_io[f"in.images.{i}"] = policy_io[f"pre.images.{i}"] = x
                model_io[f"in.image_masks.{i}"] = policy_io[f"pre.image_masks.{i}"] = m
            tokens, token_mask = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
            model_io["in.tokens"] = policy_io["pre.tokens"] = tokens
            model_io["in.token_mask"] = policy_io["pre.token_mask"] = token_mask
            policy_io["pre.state"] = batch["observation.state"]
            if config.type == "pi0":
                model_io["in.state"] = policy.prepare_state(batch)
            visual = [k for k, f in config.input_features.items() if f.type.value == "VISUAL"]
            slots = [k for k in visual if k in observation] + [k for k in visual if k not in observation]
            info = dict(task=a.task, prompt_after_processing=list(batch["task"]) if "task" in batch else [a.task], camera_slots=slots,
                        camera_slots_present=[k in observation for k in slots], num_steps=steps, state_feature="observation.state")
            (out / "policy_io.json").write_text(json.dumps(info, indent=1))
        name = "out" if prefix == "f32" else "bf16"
        policy_io[f"{name}.actions_normalised"], policy_io[f"{name}.actions"] = normalised, post(normalised.clone())
    for file, tensors in (("policy_io.safetensors", policy_io), ("io.safetensors", model_io)):
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, str(out / file), metadata={"format": "pt"})
        print(f"{out / file}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()

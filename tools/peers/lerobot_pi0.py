#!/usr/bin/env python3
"""LeRobot's PyTorch pi0 or pi0.5 with random weights, full size: times of sample_actions, one line of JSON for each thing that is known.

    lerobot_pi0.py pi0 bf16 --threads 1,2 --cases 2x48,2+1x48 --repeat 3     the first line tells versions, load and weights; then a line per case
    lerobot_pi0.py pi0 bf16 --construct                                      only the constructor, as from_pretrained runs it before it reads weights

A case is CAMERAS[+MASKED]xTOKENS. Nothing is downloaded: the config is made here, token ids are given as tensors. bf16 is LeRobot's dtype="bfloat16", which
leaves SigLIP, the projector and the norms in f32. Needs Python 3.12 or newer with lerobot[pi]. Started by tools/bench_pi0.py.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time

os.environ.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


def tell(**what):
    print(json.dumps(what), flush=True)


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def modules(model):
    """(LeRobot's module, its config class, its network class)"""
    if model == "pi05":
        from lerobot.policies.pi05 import modeling_pi05 as module
        from lerobot.policies.pi05.configuration_pi05 import PI05Config

        return module, PI05Config, module.PI05Pytorch
    from lerobot.policies.pi0 import modeling_pi0 as module
    from lerobot.policies.pi0.configuration_pi0 import PI0Config

    return module, PI0Config, module.PI0Pytorch


def shrink(module):
    """Makes the next model tiny, for trying the programs."""
    sizes, paligemma = module.get_gemma_config, module.PaliGemmaForConditionalGenerationWithPiGemma

    def small(variant):
        full = sizes(variant)
        fields = {"width": full.width // 8, "mlp_dim": full.mlp_dim // 32, "depth": 2}
        return dataclasses.replace(full, **fields) if dataclasses.is_dataclass(full) else type(full)(**{**vars(full), **fields})

    def tower(config):
        config.vision_config.num_hidden_layers = 1
        config.vision_config.projection_dim = config.text_config.hidden_size
        return paligemma(config=config)

    module.get_gemma_config, module.PaliGemmaForConditionalGenerationWithPiGemma = small, tower


def build(model, dtype, chunk, steps, tiny):
    """The network with random weights, made without LeRobot's own initialisation, which takes minutes and twice the memory."""
    import torch

    module, config_class, network = modules(model)
    if tiny:
        shrink(module)
    words = {"bf16": "bfloat16", "f32": "float32"}
    config = config_class(device="cpu", dtype=words[dtype], chunk_size=chunk, n_action_steps=chunk, num_inference_steps=steps)
    with torch.device("meta"):
        net = network(config)
    net = net.to_empty(device="cpu")
    block = torch.empty(1 << 20).normal_(generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(1.0 if name.endswith("norm.weight") and "vision" in name or "layer_norm" in name and name.endswith("weight") else 0.01)
                continue
            fan_in = parameter[0].numel()
            some = (block * fan_in**-0.5).to(parameter.dtype)
            flat = parameter.view(-1)
            for start in range(0, flat.numel(), some.numel()):
                count = min(some.numel(), flat.numel() - start)
                flat[start : start + count] = some[:count]
    restore_buffers(net)
    return net.eval()


def restore_buffers(net):
    """Buffers that no checkpoint holds are rubbish after to_empty: made anew, or refused where it is not known how."""
    import torch

    for owner in net.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if name in ("inv_freq", "original_inv_freq"):
                size = 2 * buffer.numel()
                buffer.copy_(10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float32) / size))
            elif name == "position_ids":
                buffer.copy_(torch.arange(buffer.numel()).reshape(buffer.shape))
            elif name == "embed_scale":
                buffer.fill_(owner.embedding_dim**0.5)
            else:
                raise SystemExit(f"lerobot_pi0: this LeRobot has a buffer that is not known: {name} of {type(owner).__name__}")


def inputs(model, case, chunk, tiny_vocabulary=257152):
    import torch

    cameras, masked, tokens = case
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, 224, 224, generator=generator) * 2 - 1 for _ in range(cameras + masked)]
    masks = [torch.tensor([i < cameras]) for i in range(cameras + masked)]
    ids = torch.randint(3, tiny_vocabulary, (1, tokens), generator=generator)
    given = [images, masks, ids, torch.ones(1, tokens, dtype=torch.bool)]
    if model == "pi0":
        given.append(torch.randn(1, 32, generator=generator))
    return given, torch.randn(1, chunk, 32, generator=generator)


class Stages:
    """Seconds in SigLIP, prefix and steps, from around the methods that run them."""

    def __init__(self, net):
        self.seconds = {}
        tower = net.paligemma_with_expert
        tower.embed_image = self.timed(tower.embed_image, lambda kwargs: "images")
        tower.forward = self.timed(tower.forward, lambda kwargs: "prefix" if kwargs["inputs_embeds"][1] is None else None)
        net.denoise_step = self.timed(net.denoise_step, lambda kwargs: "steps")

    def timed(self, function, name_of):
        def around(*args, **kwargs):
            name, start = name_of(kwargs), time.perf_counter()
            result = function(*args, **kwargs)
            if name:
                self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start
            return result

        return around


def measure(net, stages, model, case, options):
    """One warm-up, then the least of `repeat` calls; a warm-up that took longer than --most is itself the figure."""
    import torch

    given, noise = inputs(model, case, options.chunk)
    seconds, parts, warm_up = [], [], 0
    for turn in range(1 + options.repeat):
        stages.seconds = {}
        start = time.perf_counter()
        actions = net.sample_actions(*given, noise=noise, num_steps=options.steps)
        took = time.perf_counter() - start
        if turn == 0:
            warm_up = took
            if took <= options.most:
                continue
        seconds.append(took)
        parts.append(stages.seconds)
        if warm_up + sum(seconds) > options.most:
            break
    best = seconds.index(min(seconds))
    return {
        "min_s": seconds[best],
        "seconds": seconds,
        "warm_up_s": warm_up,
        "cold": warm_up in seconds,
        "stages": parts[best],
        "finite": bool(torch.isfinite(actions).all()),
        "peak_rss_bytes": peak_rss(),
    }


def parse_case(word):
    """2+1x48 -> (2, 1, 48)"""
    cameras, tokens = word.split("x")
    present, _, masked = cameras.partition("+")
    return int(present), int(masked or 0), int(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["pi0", "pi05"])
    parser.add_argument("dtype", choices=["bf16", "f32"])
    parser.add_argument("--threads", default="1")
    parser.add_argument("--cases", default="2x48")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--most", type=float, default=240, help="seconds after which a case is not repeated any more")
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--construct", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    threads = [int(word) for word in options.threads.split(",")]
    try:
        import torch
        import lerobot  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as e:
        tell(missing=str(e))
        return
    versions = {name: importlib.metadata.version(name) for name in ("lerobot", "torch", "transformers")}
    torch.set_num_threads(max(threads))
    start = time.perf_counter()
    if options.construct:
        module, config_class, network = modules(options.model)
        if options.tiny:
            shrink(module)
        net = network(config_class(device="cpu", dtype={"bf16": "bfloat16", "f32": "float32"}[options.dtype]))
    else:
        net = build(options.model, options.dtype, options.chunk, options.steps, options.tiny)
    tell(
        versions={**versions, "python": platform.python_version()},
        load_s=time.perf_counter() - start,
        parameters=sum(p.numel() for p in net.parameters()),
        weight_bytes=sum(p.numel() * p.element_size() for p in net.parameters()),
        peak_rss_bytes=peak_rss(),
    )
    if options.construct:
        return
    stages = Stages(net)
    for n in threads:
        torch.set_num_threads(n)
        for word in options.cases.split(","):
            tell(threads=n, case=word, **measure(net, stages, options.model, parse_case(word), options))


if __name__ == "__main__":
    sys.exit(main())

"""Writes tests/fuzz/seeds/tokenizer: tiny tokenizer files to start the fuzzer from. Needs the PyPI package `sentencepiece`.

    python tools/make_fuzz_seeds.py

A seed is one byte (bit 0: is it tokenizer.json, the rest: length of the text), the file, and the text to encode. The image fuzzer starts
from copies of the smallest files of tests/goldens/images.
"""

import io
import json
import pathlib
import shutil
import tempfile

import sentencepiece

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
IMAGES = ["rgb_420.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg", "exif_6.jpg", "exif_6.png", "palette_2_interlaced.png", "palette_transparency.png",
          "grey_16.png", "grey_1_interlaced.png", "rgba_16_interlaced.png", "profile_and_text.png", "one_pixel.png"]


def model(rules, **settings):
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        if rules:
            path = pathlib.Path(folder) / "rules.tsv"
            path.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in rules.items()))
            settings["normalization_rule_tsv"] = str(path)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["pick up the cup", "put the cup on the tray", "pick up 12 cups"] * 5),
            model_writer=out, num_threads=1, minloglevel=2, hard_vocab_limit=False, **settings)
    return out.getvalue()


def main():
    folder = SEEDS / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    rules = {"A": "a", "\u00e9": "e", "e\u0301": "e", "\ufb01": "fi", "\u3000": " "}
    text = "pick up Ae\u0301 3 cups\n".encode()
    models = {
        "unigram.model": model(rules, model_type="unigram", vocab_size=30),
        "unigram_symbols.model": model(None, model_type="unigram", vocab_size=30, user_defined_symbols=["the", "pick up"], self_test_sample_size=2,
                                       normalization_rule_name="identity"),
        "bpe.model": model(rules, model_type="bpe", vocab_size=30, user_defined_symbols=["the"]),
        "bpe_bytes.model": model(None, model_type="bpe", vocab_size=290, byte_fallback=True, normalization_rule_name="identity"),
        "word.model": model(None, model_type="word", vocab_size=12, normalization_rule_name="identity"),
        "char.model": model(rules, model_type="char", vocab_size=20),
    }
    base = {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": 5, "content": "<s>", "lstrip": True, "rstrip": True, "normalized": False, "special": True},
                             {"id": 6, "content": "up", "single_word": False, "normalized": True, "special": False}],
            "model": {"type": "BPE", "unk_token": "<0x41>", "fuse_unk": True, "byte_fallback": True, "ignore_merges": True,
                      "vocab": {"p": 0, "\u2581": 1, "i": 2, "pi": 3, "<0x41>": 4}, "merges": ["p i"]}}
    part = {
        "gemma": {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                  "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
                  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                     "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}},
                  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                               {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}},
        "metaspace": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": ""}]},
                      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
                                                                              {"type": "Split", "pattern": {"Regex": "p+"}, "behavior": "Contiguous", "invert": True}]},
                      "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}},
    }
    for name, more in part.items():
        models[f"{name}.json"] = json.dumps({**base, **more}, ensure_ascii=False, separators=(",", ":")).encode()
    for name, data in models.items():
        (folder / name).write_bytes(bytes([len(text) << 1 | name.endswith(".json")]) + data + text)
    (SEEDS / "image").mkdir(exist_ok=True)
    for name in IMAGES:
        shutil.copyfile(ROOT / "tests" / "goldens" / "images" / name, SEEDS / "image" / name)


if __name__ == "__main__":
    main()

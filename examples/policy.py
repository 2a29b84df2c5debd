"""A policy in three lines, from Python: python policy.py CHECKPOINT SLOT=PICTURE... STATE "SENTENCE"

    python examples/policy.py tests/goldens/policies/metaworld_pi0 scene=scene.png wrist=wrist.png 0.0,0.4,0.2,1.0 "open the faucet"
"""

import sys

import tessera


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    checkpoint, *pictures, state, sentence = sys.argv[1:]
    policy = tessera.Policy(checkpoint)
    chunk = policy.act(images=dict(p.split("=", 1) for p in pictures), state=[float(s) for s in state.split(",")], prompt=sentence)
    print(" ".join(f"{name:>9}" for name in chunk.names))
    for row in chunk.actions:
        print(" ".join(f"{value:9.4f}" for value in row))
    print(f"{len(chunk)} actions in {chunk.milliseconds['total']:.1f} ms, {policy.precision}")


if __name__ == "__main__":
    main()

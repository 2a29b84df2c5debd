"""Tessera: robot policies and TTNN programs on plain CPUs.

    import tessera

    policy = tessera.Policy("my_checkpoint")
    chunk = policy.act(images={"front": picture}, state=[0.1, 0.2], prompt="open the faucet")
    chunk.actions                       # NumPy [steps of the chunk, action dimensions], in the robot's units

    import tessera.ttnn as ttnn         # TTNN's programming model on this machine's processor
"""

from tessera._profile import profile
from tessera._tessera import Error, isa, num_threads, robot_presets, set_num_threads
from tessera.policy import Actions, Policy

__version__ = "0.1.0"
__all__ = ["Actions", "Error", "Policy", "isa", "num_threads", "profile", "robot_presets", "set_num_threads"]

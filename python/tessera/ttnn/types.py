"""The values of TTNN's programming model, as programs name them: ttnn.types.BufferType.L1."""

from tessera.ttnn.configs import *  # noqa: F403
from tessera.ttnn.enums import *  # noqa: F403
from tessera.ttnn.memory import *  # noqa: F403

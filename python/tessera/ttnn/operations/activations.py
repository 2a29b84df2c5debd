"""ttnn.operations.activations"""

from tessera.ttnn.golden import get_golden_function_for_activation  # noqa: F401

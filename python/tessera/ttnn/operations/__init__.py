"""ttnn.operations: where programs look for golden functions."""

from tessera.ttnn.operations import activations, pool  # noqa: F401

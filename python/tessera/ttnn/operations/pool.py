"""ttnn.operations.pool"""

from tessera.ttnn.golden import golden_maxpool2d  # noqa: F401
from tessera.ttnn.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d, upsample  # noqa: F401

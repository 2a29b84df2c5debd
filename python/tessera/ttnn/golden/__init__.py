"""Golden functions: what every op should give, in plain NumPy and double precision. They share nothing with the library."""

from tessera.ttnn.golden.base import pearson_correlation_coefficient  # noqa: F401
from tessera.ttnn.golden.elementwise import *  # noqa: F403
from tessera.ttnn.golden.movement import *  # noqa: F403
from tessera.ttnn.golden.pictures import *  # noqa: F403
from tessera.ttnn.golden.transformer import *  # noqa: F403

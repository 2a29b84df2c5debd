"""What every op did: a table for people."""

import contextlib

from tessera import _tessera


class Profile:
    """Filled when the block ends: `zones` (op, path, seconds, flops, bytes, depth), and a table."""

    def __init__(self):
        self.zones = []

    def table(self, ceilings: bool = False) -> str:
        """Ops by time. With `ceilings` the machine's limits are measured (two seconds), and the share of them is shown."""
        return _tessera.profile_table(ceilings)

    __str__ = table


@contextlib.contextmanager
def profile():
    """Records every op of the process in this block.

    with tessera.profile() as p:
        y = ttnn.linear(x, w)
    print(p)
    """
    record = Profile()
    _tessera.profile_start()
    try:
        yield record
    finally:
        _tessera.profile_stop()
        record.zones = _tessera.profile_zones()

"""ttnn._ttnn.reports: which buffers are alive."""

from __future__ import annotations

import dataclasses
import gc

from tessera.ttnn.enums import BufferType, Layout, plane


@dataclasses.dataclass(frozen=True)
class BufferPage:
    """A tile, or a row of a row-major tensor."""

    device_id: int
    address: int
    core_y: int
    core_x: int
    bank_id: int
    page_index: int
    page_address: int
    page_size: int
    buffer_type: BufferType


class reports:
    @staticmethod
    def get_buffer_pages(devices=None) -> list[BufferPage]:
        """The pages of every tensor that is alive on a device; shared elements count once. Looks through all objects: for tests."""
        from tessera.ttnn.tensor import Tensor

        seen, pages = set(), []
        for t in gc.get_objects():
            if type(t) is not Tensor or t._parts is None or t._device is None or t._device._closed:
                continue
            wanted = devices if isinstance(devices, (list, tuple)) else None if devices is None else [devices]
            if wanted is not None and t._device not in wanted:
                continue
            height, width = plane(t.shape, t._layout)
            count, size = (height * width // 1024, 1024) if t._layout is Layout.TILE else (height, width)
            size *= t.element_size()
            for number, part in zip(t._device.get_device_ids(), t._parts):
                if (number, part.address) in seen:
                    continue
                seen.add((number, part.address))
                for i in range(count):
                    pages.append(BufferPage(number, part.address, 0, 0, i % 12, i, part.address + i * size, size, t._memory_config.buffer_type))
        return pages

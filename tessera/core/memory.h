// Memory for elements: aligned, and in large pages where there is much of it. May not say what lies in it.
// Test: tests/core/memory_test.cpp.
#pragma once

#include <cstddef>
#include <memory>

namespace tessera {

/// `bytes` of memory that is not set, aligned to 64 bytes; never null for 0 bytes. Null when the memory cannot be had. From 4 MiB on it is aligned to
/// 2 MiB and asked of the system in pages of that size: what memory costs is the first touch of a page (memset of 256 MiB: 250 ms in pages of 4 KiB,
/// 47 ms in these, in a virtual machine).
std::shared_ptr<std::byte> allocate_bytes(std::size_t bytes) noexcept;

}  // namespace tessera

#include "tessera/core/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace tessera {
namespace {

TEST(Memory, IsAlignedAndWhole) {
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{100}, (std::size_t{4} << 20) - 1, std::size_t{4} << 20, (std::size_t{9} << 20) + 5}) {
    const std::shared_ptr<std::byte> p = allocate_bytes(bytes);
    ASSERT_NE(p, nullptr);
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(p.get());
    EXPECT_EQ(at % 64, 0u);
    if (bytes >= std::size_t{4} << 20) EXPECT_EQ(at % (std::size_t{2} << 20), 0u);
    std::memset(p.get(), 7, bytes);
    if (bytes > 0) EXPECT_EQ(p.get()[bytes - 1], std::byte{7});
  }
}

TEST(Memory, WhatCannotBeHadIsNull) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer ends the program that asks for so much";
#endif
  EXPECT_EQ(allocate_bytes(std::size_t{1} << 61), nullptr);
}

}  // namespace
}  // namespace tessera

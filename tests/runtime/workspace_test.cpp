#include "tessera/runtime/workspace.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tessera::runtime {
namespace {

TEST(Workspace, ScopesNestAndGiveBack) {
  Workspace w;
  void* first = nullptr;
  {
    Workspace::Scope outer(w);
    first = outer.bytes(100);
    void* inner_pointer = nullptr;
    {
      Workspace::Scope inner(w);
      inner_pointer = inner.bytes(50);
      EXPECT_NE(inner_pointer, first);
      std::memset(inner_pointer, 1, 50);
    }
    EXPECT_EQ(outer.bytes(50), inner_pointer);
    std::memset(first, 2, 100);
  }
  Workspace::Scope again(w);
  EXPECT_EQ(again.bytes(100), first);
}

TEST(Workspace, AlignsAndMakesTensors) {
  Workspace w;
  Workspace::Scope scope(w);
  for (const std::size_t n : {1u, 3u, 64u, 65u, 1000u}) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(scope.bytes(n)) % 64, 0u);
  Tensor t = scope.tensor(Shape{3, 5}, DType::bf16);
  EXPECT_EQ(t.shape(), (Shape{3, 5}));
  EXPECT_TRUE(t.is_contiguous());
}

TEST(Workspace, GrowsOnceThenServesFromOneBlock) {
  Workspace w;
  const auto call = [&] {
    Workspace::Scope scope(w);
    // Stretches that do not overlap, larger together than any one block before.
    std::byte* last = nullptr;
    for (int i = 1; i <= 12; ++i) {
      auto* p = static_cast<std::byte*>(scope.bytes(static_cast<std::size_t>(i) << 18));
      std::memset(p, i, static_cast<std::size_t>(i) << 18);
      if (last != nullptr) {
        EXPECT_EQ(static_cast<int>(*last), i - 1);
      }
      last = p;
    }
  };
  call();
  const std::size_t reserved = w.reserved();
  EXPECT_GE(reserved, w.high_water());
  for (int i = 0; i < 5; ++i) call();
  EXPECT_EQ(w.reserved(), reserved);
}

}  // namespace
}  // namespace tessera::runtime

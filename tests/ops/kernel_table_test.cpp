#include "tessera/ops/kernel_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/ops/norm.h"

namespace tessera {
namespace {

std::string path_of_a_norm(Context& ctx) {
  const Tensor x = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor y = Tensor::empty(Shape{2, 8}, DType::f32);
  ctx.profiler().clear();
  ctx.profiler().start();
  ops::rms_norm(ctx, x, {Tensor::zeros(Shape{8}, DType::f32)}, y);
  ctx.profiler().stop();
  return ctx.profiler().records().at(0).path;
}

TEST(KernelTable, ForcingTakes) {
  Context ctx({.threads = 1, .isa = {}});
  const auto rows = ops::runnable_rows(ctx, "norm");
  ASSERT_FALSE(rows.empty());
  EXPECT_EQ(path_of_a_norm(ctx), rows.front());
  for (const std::string& row : rows) {
    ctx.force("norm", row);
    EXPECT_EQ(path_of_a_norm(ctx), row);
  }
}

TEST(KernelTable, WhatCannotBeForcedIsAnError) {
  Context ctx({.threads = 1, .isa = {}});
  ctx.force("norm", "abacus");
  EXPECT_THROW(path_of_a_norm(ctx), Error);
  std::size_t tried = 0;
  for (const ops::RowStatus& row : ops::kernel_rows(Context({.threads = 1, .isa = "scalar"}))) {
    if (row.family != "norm" || row.row == "scalar") continue;
    Context scalar({.threads = 1, .isa = "scalar"});
    scalar.force("norm", row.row);
    EXPECT_THROW(path_of_a_norm(scalar), Error) << row.row;
    ++tried;
  }
#if !defined(TESSERA_SCALAR_ONLY)
  EXPECT_GT(tried, 0u);
#endif
  EXPECT_THROW(ops::runnable_rows(ctx, "no_such_family"), Error);
}

TEST(KernelTable, ScalarCapTakesScalarRowsOnly) {
  Context ctx({.threads = 1, .isa = "scalar"});
  EXPECT_EQ(path_of_a_norm(ctx), "scalar");
  for (const ops::RowStatus& row : ops::kernel_rows(ctx)) {
    if (row.used) EXPECT_TRUE(std::string_view(row.row).starts_with("scalar")) << row.family << " " << row.row;
    EXPECT_EQ(row.reason.empty(), row.used);
  }
}

TEST(KernelTable, EveryFamilyHasAUsedRow) {
  const Context ctx({.threads = 1, .isa = {}});
  std::map<std::string, int> used;
  for (const ops::RowStatus& row : ops::kernel_rows(ctx)) used[row.family] += row.used ? 1 : 0;
  const auto families = ops::kernel_families();
  EXPECT_TRUE(std::ranges::is_sorted(families));
  EXPECT_EQ(used.size(), families.size());
  for (const auto& [family, count] : used) EXPECT_EQ(count, family == "linear" ? 3 : 1) << family;  // linear: one for each type of weights
}

}  // namespace
}  // namespace tessera

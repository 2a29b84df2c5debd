#include "tessera/kernels/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tessera/kernels/gemm/tile_walk.h"
#include "tests/kernels/gemm_product.h"
#include "tests/reference/linear.h"

namespace tessera::kernels {
namespace {

constexpr double kEps = 0x1p-23;

std::vector<float> bf16_values(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = to_f32(to_bf16(distribution(random)));
  return values;
}

TEST(GemmKernels, TableIsOrderedAndComplete) {
  std::set<std::string> names;
  bool scalar = false;
  for (const auto rows : {gemm_rows(), gemm_emulated_rows()})
    for (const auto& row : rows) {
      const GemmFunctions& f = row.functions;
      EXPECT_TRUE(names.insert(row.info.name).second) << row.info.name;
      EXPECT_NE(f.epilogue, nullptr);
      EXPECT_EQ(f.item_columns % f.block_columns, 0);
      EXPECT_GE(f.block_columns, 2 * f.panel_columns);
      EXPECT_GE(f.block_rows, f.tile_rows);
      // No vector row behind a scalar one: it would never be used.
      EXPECT_TRUE(!scalar || row.info.isa == device::Isa::scalar) << row.info.name;
      scalar = scalar || row.info.isa == device::Isa::scalar;
    }
  const auto rows = gemm_rows();
  ASSERT_GE(rows.size(), 3u);
  EXPECT_STREQ(rows[rows.size() - 3].info.name, "scalar");
  EXPECT_STREQ(rows[rows.size() - 2].info.name, "scalar_f32");
  EXPECT_STREQ(rows[rows.size() - 1].info.name, "scalar_i8");
}

TEST(GemmKernels, TilesShareRowsEvenly) {
  for (std::int64_t m = 1; m < 200; ++m)
    for (const std::int64_t most : {2, 6, 12, 14, 32}) {
      const std::int64_t tiles = (m + most - 1) / most;
      EXPECT_EQ(gemm_tile_row(0, m, tiles), 0);
      EXPECT_EQ(gemm_tile_row(tiles, m, tiles), m);
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t height = gemm_tile_row(t + 1, m, tiles) - gemm_tile_row(t, m, tiles);
        EXPECT_TRUE(height == m / tiles || height == (m + tiles - 1) / tiles) << m << " " << most;
        EXPECT_LE(height, most);
      }
      for (const std::int64_t first : {std::int64_t{0}, tiles / 3, tiles - 1}) {
        gemm::TileHeights heights(first, m, tiles);
        for (std::int64_t t = first; t < tiles; ++t)
          EXPECT_EQ(heights.next(), gemm_tile_row(t + 1, m, tiles) - gemm_tile_row(t, m, tiles)) << m << " " << t;
      }
    }
}

TEST(GemmKernels, EveryHeightAndEdgeMatchesTheReference) {
  for_every_row({DType::f32, DType::bf16}, [](const GemmFunctions& f) {
    struct Sizes {
      std::int64_t n, k;
    };
    for (const Sizes s : {Sizes{1, 1}, Sizes{31, 33}, Sizes{33, 2}, Sizes{65, 63}, Sizes{40, 290}}) {
      const auto w = bf16_values(s.n * s.k, 1);
      for (std::int64_t m = 1; m <= 70; ++m) {
        if (s.k > 100 && m % 9 != 6) continue;  // the long one with some heights only
        const auto x = bf16_values(m * s.k, static_cast<unsigned>(m));
        const auto c = product(f, x, w, m, s.n, s.k, 1000, 1000);
        const std::vector<double> xd(x.begin(), x.end());
        const std::vector<double> wd(w.begin(), w.end());
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < s.n; ++j) {
            const auto sum = reference::linear_sum(xd, wd, {}, s.k, i, j);
            // k roundings of at most half an eps of a running sum below the magnitude, as a random walk: four deviations of it.
            const double bound = kEps * 2 * std::sqrt(static_cast<double>(s.k)) * sum.magnitude;
            ASSERT_LE(std::fabs(c[static_cast<std::size_t>(i * s.n + j)] - sum.value), bound)
                << m << " " << s.n << " " << s.k << ": " << i << ", " << j;
          }
      }
    }
  });
}

TEST(GemmKernels, BlockingDoesNotChangeABit) {
  for_every_row({DType::f32, DType::bf16, DType::i8}, [](const GemmFunctions& f) {
    const std::int64_t m = 75, n = 100, k = 600;
    const auto x = bf16_values(m * k, 1);
    const auto w = bf16_values(n * k, 2);
    const auto all = product(f, x, w, m, n, k, 1000, 1000);
    for (const std::int64_t tiles : {1, 2, 3})
      for (const std::int64_t panels : {1, 2, 3}) EXPECT_EQ(product(f, x, w, m, n, k, tiles, panels), all) << tiles << " " << panels;
    // A row's sums are the same whatever stands around it.
    for (const std::int64_t i : {0, 17, 74}) {
      const auto one = product(f, {x.begin() + i * k, x.begin() + (i + 1) * k}, w, 1, n, k, 1, 1000);
      EXPECT_EQ(one, std::vector<float>(all.begin() + i * n, all.begin() + (i + 1) * n)) << i;
    }
  });
}

TEST(GemmKernels, PackedWeightsAreRoundedAndColumnsOutsideUntouched) {
  for_every_row({DType::f32, DType::bf16}, [](const GemmFunctions& f) {
    const std::int64_t k = 37;
    const std::size_t bytes = f.panel_bytes(k);
    std::vector<f16> w(static_cast<std::size_t>(2 * k));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = to_f16(1.0f / static_cast<float>(i + 3));
    const Memory panel = poisoned(bytes);
    f.pack_w(w.data(), DType::f16, 3, 2, k, panel.get());
    std::size_t written = 0;
    const std::size_t size = size_of(f.weights);
    std::multiset<float> found;
    for (std::size_t i = 0; i < bytes / size; ++i)
      if (!untouched(panel.get() + i * size, size)) {
        ++written;
        float value;
        bf16 half;
        if (size == 4) std::memcpy(&value, panel.get() + i * 4, 4);
        if (size == 2) {
          std::memcpy(&half, panel.get() + i * 2, 2);
          value = to_f32(half);
        }
        found.insert(value);
      }
    EXPECT_EQ(written, w.size());
    std::multiset<float> expected;
    for (const f16 v : w) expected.insert(size == 4 ? to_f32(v) : to_f32(to_bf16(to_f32(v))));
    EXPECT_EQ(found, expected);
  });
}

TEST(GemmKernels, AWeightThatLiesTheOtherWayGivesTheSamePanel) {
  for_every_row({DType::f32, DType::bf16}, [](const GemmFunctions& f) {
    for (const std::int64_t k : {1, 2, 31, 32, 33, 290})
      for (const std::int64_t columns : {std::int64_t{1}, f.panel_columns / 2, f.panel_columns - 1, f.panel_columns}) {
        const std::int64_t stride = columns + 3;
        std::vector<float> w = bf16_values(columns * k, 5);
        for (float& v : w) v *= 1.0001f;  // not exact in bf16: rounding is compared too
        std::vector<float> rows(static_cast<std::size_t>(k * stride), std::numeric_limits<float>::quiet_NaN());
        std::vector<bf16> halves(rows.size());
        for (std::int64_t i = 0; i < k; ++i)
          for (std::int64_t c = 0; c < columns; ++c) rows[static_cast<std::size_t>(i * stride + c)] = w[static_cast<std::size_t>(c * k + i)];
        for (std::size_t i = 0; i < rows.size(); ++i) halves[i] = to_bf16(rows[i]);
        std::vector<bf16> w16(w.size());
        for (std::size_t i = 0; i < w.size(); ++i) w16[i] = to_bf16(w[i]);
        const std::size_t bytes = f.panel_bytes(k);
        const std::size_t values = static_cast<std::size_t>(k * f.panel_columns) * size_of(f.weights);
        for (const bool half : {false, true}) {
          const Memory expected = poisoned(bytes);
          std::memset(expected.get(), 0, bytes);
          const Memory panel = poisoned(bytes);
          if (half) {
            f.pack_w(w16.data(), DType::bf16, 0, columns, k, expected.get());
            f.pack_rows(halves.data(), DType::bf16, stride, columns, k, panel.get());
          } else {
            f.pack_w(w.data(), DType::f32, 0, columns, k, expected.get());
            f.pack_rows(rows.data(), DType::f32, stride, columns, k, panel.get());
          }
          if (k > 32) {  // the same in two calls
            std::memset(panel.get(), 0xff, bytes);
            std::byte* const rest = panel.get() + f.panel_bytes(32);
            const auto* from = half ? static_cast<const void*>(halves.data()) : rows.data();
            const auto* behind = half ? static_cast<const void*>(halves.data() + 32 * stride) : rows.data() + 32 * stride;
            f.pack_rows(from, half ? DType::bf16 : DType::f32, stride, columns, 32, panel.get());
            f.pack_rows(behind, half ? DType::bf16 : DType::f32, stride, columns, k - 32, rest);
          }
          // What rounds the panel up to lines is nobody's.
          const std::size_t whole = bytes - values < 64 ? values : bytes;
          ASSERT_EQ(std::memcmp(panel.get(), expected.get(), whole), 0) << k << " " << columns << " " << half;
          EXPECT_TRUE(untouched(panel.get() + bytes, 64));
        }
      }
  });
}

// What the manual says of both instructions, and plain f32 arithmetic does not do: subnormal bf16 operands count as zero.
TEST(GemmKernels, EmulatedInstructionsFlushSubnormals) {
  ASSERT_EQ(std::ranges::count(gemm_emulated_rows(), DType::bf16, [](const auto& row) { return row.functions.weights; }), 2);
  for (const auto& row : gemm_emulated_rows()) {
    if (row.functions.weights != DType::bf16) continue;
    SCOPED_TRACE(row.info.name);
    const std::vector<float> x{0x1p-130f, 1.0f};
    EXPECT_EQ(product(row.functions, x, {0x1p100f, 0x1p-20f}, 1, 1, 2, 1, 1)[0], 0x1p-20f);
    EXPECT_EQ(product(row.functions, {0x1p-70f, 0.0f}, {0x1p-70f, 1.0f}, 1, 1, 2, 1, 1)[0], 0.0f);
  }
  for (const auto& row : gemm_rows())
    if (std::string(row.info.name).starts_with("scalar") && row.functions.weights != DType::i8) {
      EXPECT_EQ(product(row.functions, {0x1p-130f}, {0x1p100f}, 1, 1, 1, 1, 1)[0], 0x1p-30f);
    }
}

// The order of additions of one dot product, told by sums that round: 2^24 + 1 + 1 is 2^24 one by one and 2^24 + 2 with the pair first.
TEST(GemmKernels, EmulatedInstructionsAddAsTheManualSays) {
  for (const auto& row : gemm_emulated_rows()) {
    if (row.functions.weights != DType::bf16) continue;
    SCOPED_TRACE(row.info.name);
    const bool tiles = std::string(row.info.name).starts_with("amx");
    std::vector<float> x(34, 0.0f);
    const std::vector<float> ones(34, 1.0f);
    x[0] = 0x1p24f;  // in the first step of 32, and in a pair of its own
    x[32] = x[33] = 1;
    EXPECT_EQ(product(row.functions, x, ones, 1, 1, 34, 1, 1)[0], tiles ? 0x1p24f + 2 : 0x1p24f);
    // Odd before even: -2^24 (odd) then + 1 (even) on 2^24 leaves 1; the other order loses the 1. (In a tile the pair, -2^24 + 1, is exact.)
    x[33] = -0x1p24f;
    EXPECT_EQ(product(row.functions, x, ones, 1, 1, 34, 1, 1)[0], 1.0f);
  }
}

}  // namespace
}  // namespace tessera::kernels

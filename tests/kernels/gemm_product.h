// What the tests of the matrix kernels share: memory that shows reads before writes, every row, and a whole product through one row.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "tessera/kernels/gemm/gemm.h"

namespace tessera::kernels {

struct Free {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Memory = std::unique_ptr<std::byte[], Free>;

// Filled with NaN, of f32 and of bf16: whatever is read without having been written shows.
inline Memory poisoned(std::size_t bytes) {
  Memory m(static_cast<std::byte*>(::operator new[](bytes + 64, std::align_val_t{64})));
  std::memset(m.get(), 0xff, bytes + 64);
  return m;
}
inline bool untouched(const std::byte* p, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    if (p[i] != std::byte{0xff}) return false;
  return true;
}

/// fn(row) for all rows that this machine runs and for the emulated ones, of the types of weights that are wanted.
template <class Fn>
void for_every_row(std::initializer_list<DType> weights, Fn fn) {
  int count = 0;
  for (const auto rows : {gemm_rows(), gemm_emulated_rows()})
    for (const auto& row : rows) {
      if (!device::usable(row.info.isa) || std::ranges::find(weights, row.functions.weights) == weights.end()) continue;
      SCOPED_TRACE(row.info.name);
      fn(row.functions);
      ++count;
    }
  EXPECT_GE(count, 2 + (weights.size() > 1 ? 2 : 0));
}

/// C [m][n] through pack_a, pack_w and block(), `tiles_at_once` x `panels_at_once` per call.
inline std::vector<float> product(const GemmFunctions& f, const std::vector<float>& x, const std::vector<float>& w, std::int64_t m, std::int64_t n,
                                  std::int64_t k, std::int64_t tiles_at_once, std::int64_t panels_at_once) {
  const std::int64_t tiles = (m + f.tile_rows - 1) / f.tile_rows;
  const std::int64_t panels = (n + f.panel_columns - 1) / f.panel_columns;
  const std::size_t tile_bytes = f.tile_bytes(k);
  const std::size_t panel_bytes = f.panel_bytes(k);
  EXPECT_EQ(tile_bytes % 64, 0u);
  EXPECT_EQ(panel_bytes % 64, 0u);
  const Memory a = poisoned(static_cast<std::size_t>(tiles) * tile_bytes);
  const Memory b = poisoned(static_cast<std::size_t>(panels) * panel_bytes);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t row = gemm_tile_row(t, m, tiles);
    f.pack_a(x.data() + row * k, DType::f32, k, gemm_tile_row(t + 1, m, tiles) - row, k, a.get() + static_cast<std::size_t>(t) * tile_bytes);
  }
  std::memset(b.get(), 0, static_cast<std::size_t>(panels) * panel_bytes);
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t first = p * f.panel_columns;
    const std::int64_t columns = std::min(f.panel_columns, n - first);
    // In two pieces, as where two stacked weights meet inside a panel.
    std::byte* panel = b.get() + static_cast<std::size_t>(p) * panel_bytes;
    f.pack_w(w.data() + first * k, DType::f32, 0, columns / 2, k, panel);
    f.pack_w(w.data() + (first + columns / 2) * k, DType::f32, columns / 2, columns - columns / 2, k, panel);
  }
  EXPECT_TRUE(untouched(a.get() + static_cast<std::size_t>(tiles) * tile_bytes, 64));
  EXPECT_TRUE(untouched(b.get() + static_cast<std::size_t>(panels) * panel_bytes, 64));
  std::vector<float> c(static_cast<std::size_t>(m * n));
  for (std::int64_t t0 = 0; t0 < tiles; t0 += tiles_at_once)
    for (std::int64_t p0 = 0; p0 < panels; p0 += panels_at_once) {
      const std::int64_t t1 = std::min(tiles, t0 + tiles_at_once);
      const std::int64_t p1 = std::min(panels, p0 + panels_at_once);
      const std::int64_t tile_floats = f.tile_rows * f.panel_columns;
      const std::size_t c_bytes = static_cast<std::size_t>((t1 - t0) * (p1 - p0) * tile_floats) * sizeof(float);
      const Memory sums = poisoned(c_bytes);
      const Memory scratch = poisoned(f.scratch_bytes);
      f.block({.a = a.get() + static_cast<std::size_t>(t0) * tile_bytes,
               .w = b.get() + static_cast<std::size_t>(p0) * panel_bytes,
               .m = m,
               .tiles = tiles,
               .first_tile = t0,
               .last_tile = t1,
               .panels = p1 - p0,
               .k = k,
               .c = reinterpret_cast<float*>(sums.get()),
               .scratch = scratch.get()});
      EXPECT_TRUE(untouched(sums.get() + c_bytes, 64));
      EXPECT_TRUE(untouched(scratch.get() + f.scratch_bytes, 64));
      for (std::int64_t p = p0; p < p1; ++p)
        for (std::int64_t t = t0; t < t1; ++t) {
          const auto* from = reinterpret_cast<const float*>(sums.get()) + ((p - p0) * (t1 - t0) + t - t0) * tile_floats;
          const std::int64_t row = gemm_tile_row(t, m, tiles);
          for (std::int64_t i = row; i < gemm_tile_row(t + 1, m, tiles); ++i)
            for (std::int64_t j = 0; j < f.panel_columns && p * f.panel_columns + j < n; ++j)
              c[static_cast<std::size_t>(i * n + p * f.panel_columns + j)] = from[(i - row) * f.panel_columns + j];
        }
    }
  return c;
}

}  // namespace tessera::kernels

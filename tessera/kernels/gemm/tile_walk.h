// What block() needs to know at every tile, without a division or a branch: its height, and the lines of the next panel that it fetches. A loop over
// lines inside the loop over k took 3 to 9 % of a product on a Zen 3 (docs/PERFORMANCE.md). Include it before a target region. Private to
// kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::kernels::gemm {

constexpr std::int64_t kLine = 64;

/// Heights of tile `first` and those after it, of m rows dealt to `tiles`: gemm_tile_row(t + 1) - gemm_tile_row(t).
class TileHeights {
 public:
  [[gnu::always_inline]] TileHeights(std::int64_t first, std::int64_t m, std::int64_t tiles) noexcept
      : tiles_(tiles), least_(m / tiles), more_(m % tiles), remainder_(first * m % tiles) {}
  [[gnu::always_inline]] std::int64_t next() noexcept {
    remainder_ += more_;
    const bool one_more = remainder_ >= tiles_;
    remainder_ -= one_more ? tiles_ : 0;
    return least_ + (one_more ? 1 : 0);
  }

 private:
  std::int64_t tiles_, least_, more_, remainder_;
};

/// One line at a time from `at`, each `step` bytes behind the last: less than a line where there are more fetches than lines.
struct Fetch {
  const std::byte* at;
  std::int64_t step;
};

/// The step of `fetches` that share `bytes`.
[[gnu::always_inline]] inline std::int64_t fetch_step(std::int64_t bytes, std::int64_t fetches) noexcept {
  const std::int64_t step = fetches == 0 ? 0 : (bytes + fetches - 1) / fetches;
  return step < kLine ? step : kLine;
}

template <int kCount>
[[gnu::always_inline]] inline void fetch_lines(Fetch& fetch) noexcept {
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    __builtin_prefetch(fetch.at, 0, 2);
    fetch.at += fetch.step;
  }
}

}  // namespace tessera::kernels::gemm

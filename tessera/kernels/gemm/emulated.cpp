// The matrix rows over units written in plain C++, after the instruction-set manual.
#include <cmath>
#include <vector>

#include "tessera/kernels/gemm/dot_block.h"
#include "tessera/kernels/gemm/epilogue.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/gemm/tile_block.h"

namespace tessera::kernels {
namespace gemm {
namespace {

float flushed(float x) noexcept { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
// Subnormal operands and results count as zero; one rounding, to nearest even.
float fused(bf16 a, bf16 b, float sum) noexcept { return flushed(std::fma(flushed(to_f32(a)), flushed(to_f32(b)), flushed(sum))); }

// VDPBF16PS: the odd elements' product is added first, then the even ones'.
struct DotUnit {
  struct Sums {
    float lane[16];
  };
  struct Pairs {
    bf16 lane[32];
  };
  static Sums zero() noexcept { return Sums{}; }
  static Sums load(const float* p) noexcept {
    Sums s;
    std::memcpy(s.lane, p, sizeof s.lane);
    return s;
  }
  static void store(float* p, const Sums& s) noexcept { std::memcpy(p, s.lane, sizeof s.lane); }
  static Pairs load_pairs(const bf16* p) noexcept {
    Pairs b;
    std::memcpy(b.lane, p, sizeof b.lane);
    return b;
  }
  static Pairs broadcast_pair(const bf16* p) noexcept {
    Pairs b;
    for (int i = 0; i < 32; ++i) b.lane[i] = p[i % 2];
    return b;
  }
  static Sums dot(const Sums& sum, const Pairs& a, const Pairs& b) noexcept {
    Sums s;
    for (int i = 0; i < 16; ++i) {
      const float odd = fused(a.lane[2 * i + 1], b.lane[2 * i + 1], sum.lane[i]);
      s.lane[i] = fused(a.lane[2 * i], b.lane[2 * i], odd);
    }
    return s;
  }
};

// TDPBF16PS: even and odd elements are summed apart, from zero; the two sums are added, and then added to the tile.
struct TileUnit {
  struct Register {
    std::byte row[16][64];
  };
  TileConfig config;
  Register tile[8] = {};

  void configure(const TileConfig& c) noexcept {
    config = c;
    for (Register& t : tile) t = {};
  }
  void release() noexcept { config.palette = 0; }
  template <int kTile>
  void zero() noexcept {
    tile[kTile] = {};
  }
  template <int kTile>
  void load(const void* from, std::int64_t stride) noexcept {
    tile[kTile] = {};
    for (int r = 0; r < config.rows[kTile]; ++r)
      std::memcpy(tile[kTile].row[r], static_cast<const std::byte*>(from) + r * stride, config.row_bytes[kTile]);
  }
  template <int kTile>
  void store(void* to, std::int64_t stride) noexcept {
    for (int r = 0; r < config.rows[kTile]; ++r) std::memcpy(static_cast<std::byte*>(to) + r * stride, tile[kTile].row[r], config.row_bytes[kTile]);
  }
  static bf16 element(const Register& t, int row, int i) noexcept {
    bf16 x;
    std::memcpy(&x, t.row[row] + i * 2, sizeof x);
    return x;
  }
  template <int kSum, int kA, int kB>
  void dot() noexcept {
    for (int m = 0; m < config.rows[kSum]; ++m)
      for (int n = 0; n < config.row_bytes[kSum] / 4; ++n) {
        float even = 0;
        float odd = 0;
        for (int k = 0; k < config.row_bytes[kA] / 4; ++k) {
          even = fused(element(tile[kA], m, 2 * k), element(tile[kB], k, 2 * n), even);
          odd = fused(element(tile[kA], m, 2 * k + 1), element(tile[kB], k, 2 * n + 1), odd);
        }
        float sum;
        std::memcpy(&sum, tile[kSum].row[m] + n * 4, sizeof sum);
        sum = flushed(flushed(sum) + flushed(even + odd));
        std::memcpy(tile[kSum].row[m] + n * 4, &sum, sizeof sum);
      }
  }
};

}  // namespace
}  // namespace gemm

std::span<const Row<GemmFunctions>> gemm_emulated_rows() {
  static const std::vector<Row<GemmFunctions>> kTable = [] {
    std::vector<Row<GemmFunctions>> table;
    constexpr const char* kServes = "tests: bf16 weights, instructions emulated";
    table.push_back({{"amx_bf16_emulated", device::Isa::scalar, kServes}, gemm::TileGemm<gemm::TileUnit>::kFunctions});
    table.push_back({{"avx512_bf16_emulated", device::Isa::scalar, kServes}, gemm::DotGemm<gemm::DotUnit>::kFunctions});
    for (Row<GemmFunctions>& row : table) row.functions.epilogue = gemm::epilogue_for(row.info.isa);
    return table;
  }();
  return kTable;
}

}  // namespace tessera::kernels

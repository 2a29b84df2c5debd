// The matrix rows over units written in plain C++, after the instruction-set manual.
#include <cmath>
#include <vector>

#include "tessera/kernels/gemm/byte_block.h"
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

// VPDPBUSD: unsigned times signed bytes, four products and the sum without saturation.
struct ByteUnit {
  using Operand = std::uint8_t;
  struct Sums {
    std::int32_t lane[16];
  };
  struct Weights {
    std::int8_t lane[64];
  };
  struct Values {
    std::uint8_t four[4];
  };
  static constexpr std::int64_t kLanes = 16;
  static constexpr std::int64_t kGroup = 4;
  static constexpr int kRows = 14;
  static constexpr std::int32_t kOffset = 128;
  static Sums zero() noexcept { return Sums{}; }
  static Sums load(const float* p) noexcept {
    Sums s;
    std::memcpy(s.lane, p, sizeof s.lane);
    return s;
  }
  static void store(float* p, const Sums& s) noexcept { std::memcpy(p, s.lane, sizeof s.lane); }
  static Weights load_weights(const std::int8_t* p) noexcept {
    Weights w;
    std::memcpy(w.lane, p, sizeof w.lane);
    return w;
  }
  static Values broadcast(const Operand* p) noexcept { return {{p[0], p[1], p[2], p[3]}}; }
  static Sums dot(const Sums& sum, const Values& x, const Weights& w) noexcept {
    Sums s = sum;
    for (int i = 0; i < 64; ++i) s.lane[i / 4] += x.four[i % 4] * w.lane[i];
    return s;
  }
};

// TDPBF16PS: even and odd elements are summed apart, from zero; the two sums are added, and then added to the tile. TDPBSSD: four products of signed
// bytes at a time, whole sums.
template <class Number>
struct TileUnit {
  using Element = Number;
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
  static Number element(const Register& t, int row, int i) noexcept {
    Number x;
    std::memcpy(&x, t.row[row] + i * static_cast<int>(sizeof x), sizeof x);
    return x;
  }
  template <int kSum, int kA, int kB>
  void dot() noexcept {
    if constexpr (sizeof(Number) == 1)
      dot_bytes<kSum, kA, kB>();
    else
      dot_pairs<kSum, kA, kB>();
  }
  template <int kSum, int kA, int kB>
  void dot_bytes() noexcept {
    for (int m = 0; m < config.rows[kSum]; ++m)
      for (int n = 0; n < config.row_bytes[kSum] / 4; ++n) {
        std::int32_t sum;
        std::memcpy(&sum, tile[kSum].row[m] + n * 4, sizeof sum);
        for (int k = 0; k < config.row_bytes[kA] / 4; ++k)
          for (int i = 0; i < 4; ++i) sum += element(tile[kA], m, 4 * k + i) * element(tile[kB], k, 4 * n + i);
        std::memcpy(tile[kSum].row[m] + n * 4, &sum, sizeof sum);
      }
  }
  template <int kSum, int kA, int kB>
  void dot_pairs() noexcept {
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
    constexpr const char* kBf16 = "tests: bf16 weights, instructions emulated";
    constexpr const char* kInt8 = "tests: int8 weights, instructions emulated";
    table.push_back({{"amx_bf16_emulated", device::Isa::scalar, kBf16}, gemm::TileGemm<gemm::TileUnit<bf16>>::kFunctions});
    table.push_back({{"avx512_bf16_emulated", device::Isa::scalar, kBf16}, gemm::DotGemm<gemm::DotUnit>::kFunctions});
    table.push_back({{"amx_i8_emulated", device::Isa::scalar, kInt8}, gemm::TileGemm<gemm::TileUnit<std::int8_t>>::kFunctions});
    table.push_back({{"avx512_vnni_i8_emulated", device::Isa::scalar, kInt8}, gemm::ByteGemm<gemm::ByteUnit>::kFunctions});
    for (Row<GemmFunctions>& row : table) row.functions.epilogue = gemm::epilogue_for(row.info.isa);
    return table;
  }();
  return kTable;
}

}  // namespace tessera::kernels

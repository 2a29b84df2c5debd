// Packing of weights, one template for all rows: reads each source row once, writes it where the row's layout wants it.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tessera/core/dtype.h"

namespace tessera::kernels::gemm {

inline float widened(float x) { return x; }
inline float widened(bf16 x) { return to_f32(x); }
inline float widened(f16 x) { return to_f32(x); }
inline void store(float x, float* to) { *to = x; }
inline void store(float x, bf16* to) { *to = to_bf16(x); }

/// Panels of f32 in rows of k.
template <std::int64_t kColumns>
struct F32Panel {
  using Element = float;
  static constexpr std::int64_t offset(std::int64_t k) { return k * kColumns; }
  static constexpr std::int64_t column(std::int64_t c) { return c; }
};

/// Panels of bf16 in rows of k. Two vectors of kLanes columns share one vector of 32-bit words, the first in the low halves, the second in
/// the high halves, so that one shift and one mask widen both.
template <std::int64_t kColumns, std::int64_t kLanes>
struct WidenPanel {
  using Element = bf16;
  static constexpr std::int64_t offset(std::int64_t k) { return k * kColumns; }
  static constexpr std::int64_t column(std::int64_t c) { return c / kLanes / 2 * 2 * kLanes + c % kLanes * 2 + c / kLanes % 2; }
};

/// Pairs of k side by side: [k / 2][kColumns][2].
template <std::int64_t kColumns>
struct PairPanel {
  using Element = bf16;
  static constexpr std::int64_t offset(std::int64_t k) { return k / 2 * 2 * kColumns + k % 2; }
  static constexpr std::int64_t column(std::int64_t c) { return c * 2; }
};

/// Tiles of AMX: [k / 32][2 halves of 16 columns][16 pairs of k][16 columns][2], 1 KB each.
struct TilePanel {
  using Element = bf16;
  static constexpr std::int64_t offset(std::int64_t k) { return k / 32 * 1024 + k % 32 / 2 * 32 + k % 2; }
  static constexpr std::int64_t column(std::int64_t c) { return c / 16 * 512 + c % 16 * 2; }
};

/// Element (k, c) goes to Panel::offset(k) + Panel::column(c).
template <class Panel, class Source>
void pack_weight(const Source* w, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  auto* out = reinterpret_cast<typename Panel::Element*>(panel);
  // Stretches of k, so that the lines written stay in L1 while the panel's columns pass over them.
  constexpr std::int64_t kStretch = 64;
  for (std::int64_t k0 = 0; k0 < k; k0 += kStretch) {
    const std::int64_t k1 = k0 + kStretch < k ? k0 + kStretch : k;
    for (std::int64_t c = 0; c < columns; ++c) {
      const Source* row = w + c * k;
      auto* to = out + Panel::column(first + c);
      for (std::int64_t i = k0; i < k1; ++i) store(widened(row[i]), to + Panel::offset(i));
    }
  }
}

template <class Panel>
void pack_weight(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  if (dtype == DType::f32) pack_weight<Panel>(static_cast<const float*>(w), first, columns, k, panel);
  if (dtype == DType::bf16) pack_weight<Panel>(static_cast<const bf16*>(w), first, columns, k, panel);
  if (dtype == DType::f16) pack_weight<Panel>(static_cast<const f16*>(w), first, columns, k, panel);
}

/// n values of f32 or bf16, rounded to bf16; the rest up to `padded` is zero.
inline void round_row(const void* x, DType dtype, std::int64_t n, std::int64_t padded, bf16* to) noexcept {
  if (dtype == DType::bf16) {
    std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(bf16));
  } else {
    const auto* values = static_cast<const float*>(x);
    for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16(values[i]);
  }
  for (std::int64_t i = n; i < padded; ++i) to[i] = bf16{};
}

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace tessera::kernels::gemm

// Packing of weights, one template for all rows: reads each source row once, writes it where the row's layout wants it.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tessera/core/dtype.h"

namespace tessera::kernels::gemm {

/// Words of two elements, the first in the low half: what the panels of bf16 are made of.
template <std::int64_t kCount>
inline void interleave(const bf16* low, const bf16* high, bf16* to) noexcept {
  for (std::int64_t i = 0; i < kCount; ++i) {
    const std::uint32_t word = std::uint32_t{low[i].bits} | std::uint32_t{high[i].bits} << 16;
    std::memcpy(static_cast<void*>(to + 2 * i), &word, sizeof word);
  }
}

// A panel has kWidth columns; k is padded to whole kDepths. write() takes a row of k for all columns, or with kPairs two rows, one behind the other.

/// Panels of f32 in rows of k.
template <std::int64_t kColumns>
struct F32Panel {
  using Element = float;
  static constexpr bool kPairs = false;
  static constexpr std::int64_t kWidth = kColumns;
  static constexpr std::int64_t kDepth = 1;
  static constexpr std::int64_t offset(std::int64_t k) { return k * kColumns; }
  static constexpr std::int64_t column(std::int64_t c) { return c; }
  static void write(const float* row, float* to) noexcept { std::memcpy(to, row, kColumns * sizeof(float)); }
};

/// Panels of bf16 in rows of k. Two vectors of kLanes columns share one vector of 32-bit words, the first in the low halves, the second in
/// the high halves, so that one shift and one mask widen both.
template <std::int64_t kColumns, std::int64_t kLanes>
struct WidenPanel {
  using Element = bf16;
  static constexpr bool kPairs = false;
  static constexpr std::int64_t kWidth = kColumns;
  static constexpr std::int64_t kDepth = 1;
  static constexpr std::int64_t offset(std::int64_t k) { return k * kColumns; }
  static constexpr std::int64_t column(std::int64_t c) { return c / kLanes / 2 * 2 * kLanes + c % kLanes * 2 + c / kLanes % 2; }
  static void write(const bf16* row, bf16* to) noexcept {
    for (std::int64_t c = 0; c < kColumns; c += 2 * kLanes) interleave<kLanes>(row + c, row + c + kLanes, to + c);
  }
};

/// Pairs of k side by side: [k / 2][kColumns][2].
template <std::int64_t kColumns>
struct PairPanel {
  using Element = bf16;
  static constexpr bool kPairs = true;
  static constexpr std::int64_t kWidth = kColumns;
  static constexpr std::int64_t kDepth = 2;
  static constexpr std::int64_t offset(std::int64_t k) { return k / 2 * 2 * kColumns + k % 2; }
  static constexpr std::int64_t column(std::int64_t c) { return c * 2; }
  static void write(const bf16* rows, bf16* to) noexcept { interleave<kColumns>(rows, rows + kColumns, to); }
};

/// Tiles of AMX: [k / 32][2 halves of 16 columns][16 pairs of k][16 columns][2], 1 KB each.
struct TilePanel {
  using Element = bf16;
  static constexpr bool kPairs = true;
  static constexpr std::int64_t kWidth = 32;
  static constexpr std::int64_t kDepth = 32;
  static constexpr std::int64_t offset(std::int64_t k) { return k / 32 * 1024 + k % 32 / 2 * 32 + k % 2; }
  static constexpr std::int64_t column(std::int64_t c) { return c / 16 * 512 + c % 16 * 2; }
  static void write(const bf16* rows, bf16* to) noexcept {
    interleave<16>(rows, rows + kWidth, to);
    interleave<16>(rows + 16, rows + kWidth + 16, to + 512);
  }
};

inline void convert(const float* x, std::int64_t n, float* to) noexcept { std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(float)); }
inline void convert(const bf16* x, std::int64_t n, bf16* to) noexcept { std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(bf16)); }
inline void convert(const float* x, std::int64_t n, bf16* to) noexcept {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16(x[i]);
}
inline void convert(const bf16* x, std::int64_t n, float* to) noexcept {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_f32(x[i]);
}
inline void convert(const f16* x, std::int64_t n, float* to) noexcept {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_f32(x[i]);
}
inline void convert(const f16* x, std::int64_t n, bf16* to) noexcept {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16(to_f32(x[i]));
}

/// Element (k, c) goes to Panel::offset(k) + Panel::column(c). kPairs: an even k and the next stand side by side.
template <class Panel, class Source>
void pack_weight(const Source* w, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  using Element = typename Panel::Element;
  auto* out = reinterpret_cast<Element*>(panel);
  // Stretches of k, so that the lines written stay in L1 while the panel's columns pass over them.
  constexpr std::int64_t kStretch = 64;
  Element values[kStretch];
  for (std::int64_t k0 = 0; k0 < k; k0 += kStretch) {
    const std::int64_t n = k - k0 < kStretch ? k - k0 : kStretch;
    for (std::int64_t c = 0; c < columns; ++c) {
      convert(w + c * k + k0, n, values);
      Element* to = out + Panel::column(first + c);
      std::int64_t i = 0;
      if constexpr (Panel::kPairs)
        for (; i + 2 <= n; i += 2) std::memcpy(to + Panel::offset(k0 + i), values + i, 2 * sizeof(Element));
      for (; i < n; ++i) to[Panel::offset(k0 + i)] = values[i];
    }
  }
}

template <class Panel>
void pack_weight(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  if (dtype == DType::f32) pack_weight<Panel>(static_cast<const float*>(w), first, columns, k, panel);
  if (dtype == DType::bf16) pack_weight<Panel>(static_cast<const bf16*>(w), first, columns, k, panel);
  if (dtype == DType::f16) pack_weight<Panel>(static_cast<const f16*>(w), first, columns, k, panel);
}

/// The same of a weight that lies the other way, k rows `stride` apart: every line of the panel is written once, in order, zeros where there is
/// neither column nor k.
template <class Panel, class Source>
void pack_rows(const Source* w, std::int64_t stride, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  using Element = typename Panel::Element;
  constexpr std::int64_t kWidth = Panel::kWidth;
  constexpr std::int64_t kTurn = Panel::kPairs ? 2 : 1;
  auto* out = reinterpret_cast<Element*>(panel);
  const std::int64_t whole = (k + Panel::kDepth - 1) / Panel::kDepth * Panel::kDepth;
  Element rows[kTurn][kWidth] = {};
  for (std::int64_t i = 0; i < whole; i += kTurn) {
    for (std::int64_t t = 0; t < kTurn; ++t) {
      const Source* from = w + (i + t) * stride;
      if (i + t >= k)
        for (Element& value : rows[t]) value = Element{};
      else if (columns == kWidth)  // a length that the compiler knows
        convert(from, kWidth, rows[t]);
      else
        convert(from, columns, rows[t]);
    }
    Panel::write(rows[0], out + Panel::offset(i));
  }
}

template <class Panel>
void pack_rows(const void* w, DType dtype, std::int64_t stride, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  if (dtype == DType::f32) pack_rows<Panel>(static_cast<const float*>(w), stride, columns, k, panel);
  if (dtype == DType::bf16) pack_rows<Panel>(static_cast<const bf16*>(w), stride, columns, k, panel);
  if (dtype == DType::f16) pack_rows<Panel>(static_cast<const f16*>(w), stride, columns, k, panel);
}

/// n values of f32 or bf16, rounded to bf16; the rest up to `padded` is zero.
inline void round_row(const void* x, DType dtype, std::int64_t n, std::int64_t padded, bf16* to) noexcept {
  if (dtype == DType::bf16)
    convert(static_cast<const bf16*>(x), n, to);
  else
    convert(static_cast<const float*>(x), n, to);
  for (std::int64_t i = n; i < padded; ++i) to[i] = bf16{};
}

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace tessera::kernels::gemm

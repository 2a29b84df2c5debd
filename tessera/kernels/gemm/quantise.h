// From floats to int8 and back, shared by the int8 rows: symmetric, to nearest (ties to even), the largest magnitude becomes 127. Included inside a
// target region, so everything is a template over the unit of its caller, and nothing is included that could be compiled for more than the baseline;
// include gemm.h and pack.h before. Private to kernels/gemm. Test: tests/kernels/gemm_int8_test.cpp.
#pragma once

#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/gemm/pack.h"

namespace tessera::kernels::gemm {

template <class Unit>
struct Quantise {
  static constexpr std::int64_t kChunk = 256;

  /// What x is divided by, and its inverse. Rows without a magnitude of 2^-100 or more are zero; a row with NaN or Inf has no values, its scale is
  /// NaN.
  struct Scale {
    float scale;
    float inverse;  // 0: all values are zero
  };
  static Scale scale_of(std::uint32_t largest) noexcept {
    constexpr std::uint32_t kInfinity = 0x7f800000u;
    constexpr std::uint32_t kSmallest = (127u - 100u) << 23;
    if (largest >= kInfinity) return {std::bit_cast<float>(0x7fc00000u), 0};
    if (largest < kSmallest) return {0, 0};
    const float magnitude = std::bit_cast<float>(largest);
    return {magnitude / 127, 127 / magnitude};
  }

  /// Of n values, as bits: floats without their sign are in the order of their bits, NaN above all.
  template <class X>
  static std::uint32_t largest(const X* x, std::int64_t n) noexcept {
    std::uint32_t most = 0;
    float values[kChunk];
    for (std::int64_t i0 = 0; i0 < n; i0 += kChunk) {
      const std::int64_t count = n - i0 < kChunk ? n - i0 : kChunk;
      convert(x + i0, count, values);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu;
        most = most < bits ? bits : most;
      }
    }
    return most;
  }

  /// n <= kChunk values times `inverse`, rounded, plus `offset`.
  template <class X, class Q>
  static void values(const X* x, std::int64_t n, float inverse, std::int32_t offset, Q* to) noexcept {
    if (inverse == 0) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<Q>(offset);
      return;
    }
    // Added to a number of at most 2^22, 1.5 * 2^23 rounds it to a whole one, which then stands in the low bits.
    constexpr float kRound = 12582912.0f;
    const std::int32_t base = std::bit_cast<std::int32_t>(kRound) - offset;
    float chunk[kChunk];
    convert(x, n, chunk);
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<Q>(std::bit_cast<std::int32_t>(chunk[i] * inverse + kRound) - base);
  }

  static std::uint32_t largest(const void* x, DType dtype, std::int64_t n) noexcept {
    if (dtype == DType::bf16) return largest(static_cast<const bf16*>(x), n);
    if (dtype == DType::f16) return largest(static_cast<const f16*>(x), n);
    return largest(static_cast<const float*>(x), n);
  }
  template <class Q>
  static void values(const void* x, DType dtype, std::int64_t n, float inverse, std::int32_t offset, Q* to) noexcept {
    if (dtype == DType::bf16) return values(static_cast<const bf16*>(x), n, inverse, offset, to);
    if (dtype == DType::f16) return values(static_cast<const f16*>(x), n, inverse, offset, to);
    values(static_cast<const float*>(x), n, inverse, offset, to);
  }

  /// The trailer of a panel: per column the scale, and `offset` times the sum of the column's values.
  template <std::int64_t kColumns>
  struct Columns {
    float scale[kColumns];
    std::int32_t excess[kColumns];
  };

  /// `columns` rows of a weight into columns [first, ..) of a panel; place(k, column) is where a value stands.
  template <std::int64_t kColumns, class Place>
  static void pack_weight(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::int32_t offset,
                          std::int8_t* panel, Columns<kColumns>& ends, Place place) noexcept {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    std::int8_t chunk[kChunk];
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto* row = static_cast<const std::byte*>(w) + c * k * size;
      const Scale s = scale_of(largest(row, dtype, k));
      std::int32_t sum = 0;
      for (std::int64_t k0 = 0; k0 < k; k0 += kChunk) {
        const std::int64_t n = k - k0 < kChunk ? k - k0 : kChunk;
        values(row + k0 * size, dtype, n, s.inverse, 0, chunk);
        for (std::int64_t i = 0; i < n; ++i) {
          sum += chunk[i];
          panel[place(k0 + i, first + c)] = chunk[i];
        }
      }
      ends.scale[first + c] = s.scale;
      ends.excess[first + c] = sum * offset;
    }
  }

  /// Whole sums, stored over `c`, to what they stand for.
  template <std::int64_t kColumns>
  static void finish(float* __restrict c, std::int64_t rows, const float* __restrict row_scale, const Columns<kColumns>& ends) noexcept {
    const float* __restrict const scale = ends.scale;
    const std::int32_t* __restrict const excess = ends.excess;
    for (std::int64_t r = 0; r < rows; ++r, c += kColumns) {
      const float of_row = row_scale[r];
#pragma GCC unroll 1  // else GCC unrolls it before it looks for vectors, and finds none
      for (std::int64_t i = 0; i < kColumns; ++i) {
        // Weights from a file may say any excess: unsigned, it wraps.
        const auto sum = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(c[i]) - static_cast<std::uint32_t>(excess[i]));
        c[i] = static_cast<float>(sum) * scale[i] * of_row;
      }
    }
  }
};

}  // namespace tessera::kernels::gemm

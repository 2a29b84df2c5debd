// Block floats, TTNN's bfloat8_b and bfloat4_b: 16 values side by side share an 8-bit exponent, each keeps its sign and 7 or 3 bits of mantissa.
// One tile to floats and back, bit for bit as TTNN's host code. Values only. Test: tests/core/block_float_test.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "tessera/core/dtype.h"

namespace tessera {

/// Values that share an exponent: one row of a face.
inline constexpr int kBlockSize = 16;

/// The shared exponent of a block: the largest of its exponents, as float32 holds them (biased by 127; 255 with NaN or infinity in the block).
constexpr std::uint8_t block_exponent(const float* values) {
  std::uint32_t most = 0;
  for (int i = 0; i < kBlockSize; ++i) most = std::max(most, std::bit_cast<std::uint32_t>(values[i]) >> 23 & 0xffu);
  return static_cast<std::uint8_t>(most);
}

/// Sign and mantissa of x under a shared exponent that is not below its own: `bits` (7 or 3) of mantissa whose leading one is written out, the
/// sign above them. The mantissa is shifted into place (what falls off there is forgotten), rounded to nearest with ties to even, and
/// at most all ones. Zero, subnormals and what rounds to zero are 0, without a sign.
constexpr std::uint32_t to_block_float(float x, std::uint32_t shared, int bits) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t exponent = u >> 23 & 0xffu;
  if (exponent == 0 || shared - exponent > 23) return 0;
  const int cut = 24 - bits;
  const std::uint32_t aligned = ((u & 0x7fffffu) | 0x800000u) >> (shared - exponent);
  const std::uint32_t kept = aligned >> cut;
  const std::uint32_t rounded = (aligned + (1u << (cut - 1)) - 1 + (kept & 1u)) >> cut;
  const std::uint32_t mantissa = std::min(rounded, (1u << bits) - 1);
  return mantissa == 0 ? 0 : (u >> 31) << bits | mantissa;
}

/// What sign and mantissa mean under a shared exponent: mantissa * 2^(shared - 126 - bits), as a float32 that bfloat16 holds exactly. A zero
/// mantissa is a zero with its sign; one that needs an exponent below 0 is +0. Under exponents of 6 and less a leading one that lands on
/// exponent 0 is dropped, as TTNN does; to_block_float() makes no such mantissa.
constexpr float from_block_float(std::uint32_t x, std::uint32_t shared, int bits) {
  const std::uint32_t sign = (x >> bits & 1u) << 31;
  const std::uint32_t mantissa = x & ((1u << bits) - 1);
  if (mantissa == 0) return std::bit_cast<float>(sign);
  const auto shift = static_cast<std::uint32_t>(bits - std::bit_width(mantissa));  // to bring the leading one to the top
  if (shift > shared) return 0;
  const std::uint32_t fraction = mantissa << (shift + 1) & ((1u << bits) - 1);
  return std::bit_cast<float>(sign | (shared - shift) << 23 | fraction << (23 - bits));
}

/// 1024 values in the order of a stored tile (core/layout.h: face by face, row by row) to tile_size_of(dtype) bytes: the 64 exponents, then the
/// 1024 values, of bfloat4_b two in a byte with the first in the low half. `dtype` is a block float.
void pack_tile(DType dtype, const float* values, std::byte* tile) noexcept;
/// The inverse; exact.
void unpack_tile(DType dtype, const std::byte* tile, float* values) noexcept;

}  // namespace tessera

// What one element of a tensor is: its type, its size, its name, and the exact conversions between 16-bit and 32-bit floats.
// Values only; no arithmetic beyond rounding. Test: tests/core/dtype_test.cpp.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tessera {

/// bfloat8_b and bfloat4_b are block floats: 16 neighbours in a row of a tile share an exponent, so they exist in tile layout only
/// (core/block_float.h).
enum class DType : std::uint8_t { f32, bf16, f16, i8, u8, i32, u32, bfloat8_b, bfloat4_b, u16 };

constexpr bool is_block_float(DType dtype) { return dtype == DType::bfloat8_b || dtype == DType::bfloat4_b; }

/// Bytes of one element; 0 for the block floats, whose elements have no bytes of their own.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
    case DType::u32: return 4;
    case DType::bf16:
    case DType::f16:
    case DType::u16: return 2;
    case DType::i8:
    case DType::u8: return 1;
    case DType::bfloat8_b:
    case DType::bfloat4_b: break;
  }
  return 0;
}

/// Bytes of a tile of 32 x 32 elements. Block floats: 64 exponents, then 1024 signs and mantissas of 8 or of 4 bits.
constexpr std::size_t tile_size_of(DType dtype) {
  if (dtype == DType::bfloat8_b) return 64 + 1024;
  if (dtype == DType::bfloat4_b) return 64 + 512;
  return 1024 * size_of(dtype);
}

/// TTNN's names: "float32", "bfloat16", "float16", "int8", "uint8", "int32", "uint32", "uint16", "bfloat8_b", "bfloat4_b".
constexpr std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
    case DType::i8: return "int8";
    case DType::u8: return "uint8";
    case DType::i32: return "int32";
    case DType::u32: return "uint32";
    case DType::bfloat8_b: return "bfloat8_b";
    case DType::bfloat4_b: return "bfloat4_b";
    case DType::u16: return "uint16";
  }
  return "?";
}

/// The upper half of a float32: 8 exponent bits, 7 mantissa bits.
struct bf16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(bf16, bf16) = default;
};

/// IEEE 754 binary16: 5 exponent bits, 10 mantissa bits.
struct f16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(f16, f16) = default;
};

constexpr float to_f32(bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

/// Round to nearest, ties to even. NaN stays NaN (quiet, sign kept); overflow becomes infinity.
constexpr bf16 to_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

constexpr float to_f32(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = x.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero, exact in f32
  return sign != 0 ? -magnitude : magnitude;
}

/// Round to nearest, ties to even; NaN stays NaN; overflow becomes infinity.
constexpr f16 to_f16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (a >= 0x47800000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // >= 65536
  if (a < 0x38800000u) {                                                      // subnormal in f16: round |x| * 2^24 to an integer
    const std::uint32_t exponent = a >> 23;
    if (exponent < 101) return {sign};  // below half of the smallest subnormal
    const std::uint32_t mantissa = (a & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126 - exponent;
    const std::uint32_t half = 1u << (shift - 1);
    const std::uint32_t kept = mantissa >> shift;
    const std::uint32_t rest = mantissa & ((1u << shift) - 1);
    const std::uint32_t up = rest > half || (rest == half && (kept & 1u)) ? 1u : 0u;
    return {static_cast<std::uint16_t>(sign | (kept + up))};
  }
  const std::uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of<std::int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct dtype_of<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct dtype_of<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<std::uint32_t> {
  static constexpr DType value = DType::u32;
};
template <>
struct dtype_of<std::uint16_t> {
  static constexpr DType value = DType::u16;
};

}  // namespace tessera

// Conversions of dtype from their definitions, in double: rounding to a block float, and floats to integers as TTNN's devices round them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

/// Biased exponent that a float32 holds for a finite x: 0 for zero and subnormals.
inline int float_exponent(double x) { return std::fabs(x) < 0x1p-126 ? 0 : std::ilogb(x) + 127; }

/// A finite x under a block's exponent, with `bits` of mantissa (7 or 3) whose leading one is written out: the 24 bits of a float32 shifted down by
/// the difference of exponents, the rest forgotten; then rounded to nearest even; then at most all ones. As a number: mantissa with sign.
inline int block_mantissa(double x, int shared, int bits) {
  if (float_exponent(x) == 0) return 0;
  const double aligned = std::trunc(std::ldexp(std::fabs(x), 150 - shared));
  const double rounded = std::min(std::nearbyint(std::ldexp(aligned, bits - 24)), std::ldexp(1.0, bits) - 1);
  return static_cast<int>(x < 0 ? -rounded : rounded);
}

/// 16 finite values as a block stores them.
inline std::vector<double> quantised_block(const std::vector<double>& x, int bits) {
  int shared = 0;
  for (const double v : x) shared = std::max(shared, float_exponent(v));
  std::vector<double> y;
  for (const double v : x) y.push_back(std::ldexp(block_mantissa(v, shared, bits), shared - 126 - bits));
  return y;
}

/// A matrix whose rows are cut into blocks of 16, the last one filled up with zeros.
inline std::vector<double> quantised(const std::vector<double>& x, std::size_t cols, int bits) {
  std::vector<double> y;
  for (std::size_t row = 0; row + cols <= x.size() && cols > 0; row += cols)
    for (std::size_t c = 0; c < cols; c += 16) {
      std::vector<double> block(16, 0.0);
      const std::size_t n = std::min<std::size_t>(16, cols - c);
      for (std::size_t i = 0; i < n; ++i) block[i] = x[row + c + i];
      block = quantised_block(block, bits);
      y.insert(y.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
    }
  return y;
}

/// The low 8 bits of a whole number toward zero from x; as int8 when `is_signed`. 0 from 2^31 on.
inline double low_byte(double x, bool is_signed) {
  if (!(std::fabs(x) < 0x1p31)) return 0;
  double v = std::fmod(std::trunc(x), 256.0);
  if (v < 0) v += 256;
  return is_signed && v >= 128 ? v - 256 : v;
}

inline double to_uint32(double x, bool negative) {
  if (negative) return 0;
  return x < 0x1p32 ? std::trunc(x) : 0x1p32 - 1;
}

/// Nearest, halves up, then the nearest that uint16 has; NaN is 0.
inline double to_uint16(double x) { return x > 0 ? std::min(std::floor(x + 0.5), 65535.0) : 0; }

inline double to_int32(double x) { return x >= -0x1p31 && x < 0x1p31 ? std::trunc(x) : -0x1p31; }

}  // namespace tessera::reference

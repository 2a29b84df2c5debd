#include <bit>
#include <cmath>
#include <numbers>

#include "tessera/models/pi0/pi0.h"

namespace tessera::models {
namespace {

/// PCG64 (XSL-RR 128/64) of O'Neill's PCG family, one fixed stream. 128-bit numbers as two halves, so that any compiler gives the same.
class Pcg64 {
 public:
  explicit Pcg64(std::uint64_t seed) {
    advance();
    add(0, seed);
    advance();
  }

  std::uint64_t next() {
    advance();
    return std::rotr(high_ ^ low_, static_cast<int>(high_ >> 58));
  }
  /// In (0, 1]: 53 bits.
  double uniform() { return static_cast<double>((next() >> 11) + 1) * 0x1p-53; }

 private:
  static constexpr std::uint64_t kMultiplierHigh = 0x2360ed051fc65da4u;
  static constexpr std::uint64_t kMultiplierLow = 0x4385df649fccf645u;
  static constexpr std::uint64_t kStreamHigh = 0x5851f42d4c957f2du;
  static constexpr std::uint64_t kStreamLow = 0x14057b7ef767814fu;

  static std::uint64_t high_product(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
    const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
    const std::uint64_t other = a0 * b1 + (middle & 0xffffffffu);
    return a1 * b1 + (middle >> 32) + (other >> 32);
  }
  void add(std::uint64_t high, std::uint64_t low) {
    low_ += low;
    high_ += high + (low_ < low ? 1 : 0);
  }
  void advance() {
    const std::uint64_t high = high_product(low_, kMultiplierLow) + high_ * kMultiplierLow + low_ * kMultiplierHigh;
    low_ *= kMultiplierLow;
    high_ = high;
    add(kStreamHigh, kStreamLow);
  }

  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

}  // namespace

Tensor make_noise(const Pi0Config& config, std::uint64_t seed) {
  Tensor noise = Tensor::empty({config.chunk, config.action_dim}, DType::f32);
  const std::span<float> values = noise.span<float>();
  Pcg64 random(seed);
  // Box-Muller in double, rounded once: another C library's last bit of log or cos does not survive the rounding but in one of 2^29 values.
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(random.uniform()));
    const double angle = 2.0 * std::numbers::pi * random.uniform();
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return noise;
}

}  // namespace tessera::models

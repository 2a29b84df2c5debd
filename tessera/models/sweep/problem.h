// One size of a sweep with its options and values, from a list or a generator. May not run an op. Private to models (not installed).
// Test: tests/models/sweep_test.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/models/sweep/sweep.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/images.h"

namespace tessera::models {

enum class SweepValues : std::uint8_t {
  noise,    // even in [-2, 2), all bits in use
  offset,   // the same around 3: averages far from zero
  grid,     // quarters from -12 to 4, zeros of both signs: equal maxima
  special,  // noise with NaN and infinities
};

struct SweepProblem {
  SweepOp op = SweepOp::max_pool2d;
  std::int64_t index = 0;
  std::uint64_t seed = 0;  // of the values
  ops::ImageSize x{1, 1, 1, 1};
  SweepValues values = SweepValues::noise;
  // adaptive pools
  std::array<std::int64_t, 2> output{1, 1};
  // windows
  std::array<std::int64_t, 2> kernel{1, 1};
  std::array<std::int64_t, 2> stride{1, 1};
  std::array<std::int64_t, 2> dilation{1, 1};
  std::array<std::int64_t, 4> padding{};  // top, bottom, left, right
  bool ceil_mode = false;
  bool count_include_pad = true;
  std::int64_t divisor = 0;
  // depthwise convolutions
  std::int64_t multiplier = 1;
  bool bias = true;
  bool residual = false;
  ops::ConvActivation activation = ops::ConvActivation::none;

  bool adaptive() const { return op == SweepOp::adaptive_avg_pool2d || op == SweepOp::adaptive_max_pool2d; }
  bool maximum() const { return op == SweepOp::adaptive_max_pool2d || op == SweepOp::max_pool2d; }
  bool convolution() const { return op == SweepOp::depthwise_conv2d; }
};

/// Sizes of known networks, of requests by users, and small odd ones.
std::vector<SweepProblem> brief_problems(SweepOp op, std::uint64_t seed);
/// Depends on nothing but its arguments. Adaptive pools: the first 16384 hold every pair of 1 to 256 inputs and 1 to 64 outputs, on both axes.
SweepProblem generated_problem(SweepOp op, std::uint64_t seed, std::int64_t index);

/// "1x256x56x56": n x c x h x w.
std::string shape_text(const ops::ImageSize& size);
/// All that is not the shape: "k3x3 s2x2 p1,1,1,1 d1x1 ceil grid".
std::string options_text(const SweepProblem& problem);

/// Random numbers that are the same everywhere (splitmix64).
class SweepRandom {
 public:
  explicit SweepRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In [lo, hi].
  std::int64_t between(std::int64_t lo, std::int64_t hi) noexcept {
    return lo + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(hi - lo + 1));
  }
  bool chance(int percent) noexcept { return between(0, 99) < percent; }
  template <std::size_t N>
  std::int64_t one_of(const std::array<std::int64_t, N>& all) noexcept {
    return all[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(N) - 1))];
  }

 private:
  std::uint64_t state_;
};

}  // namespace tessera::models

#include <algorithm>

#include "tessera/models/sweep/problem.h"

namespace tessera::models {
namespace {

using I = std::int64_t;
using Pair = std::array<I, 2>;

constexpr I kInputs = 120000;   // elements of an ordinary input
constexpr I kLarge = 12000000;  // of one in two thousand: splits and stores of what no cache holds
constexpr I kTaps = 1500000;    // inputs that all windows together read

/// Around the widths of vectors (4, 8, 16) and of blocks of them.
constexpr std::array<I, 30> kChannels = {1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 15, 16,  17,  23,  24,
                                         31, 32, 33, 40, 47, 63, 64, 65, 72, 96, 97, 128, 130, 144, 300};

I channels(SweepRandom& random, I plane, I most) {
  I c = random.one_of(kChannels);
  while (c > 1 && c * plane > most) c = random.between(1, c - 1);
  return c;
}

/// A side of a picture: small ones often, since they hold the edges.
I side(SweepRandom& random) {
  const I kind = random.between(0, 9);
  return kind < 3 ? random.between(1, 8) : kind < 8 ? random.between(5, 40) : random.between(30, 120);
}

SweepValues values_of(SweepRandom& random, bool maximum) {
  const I kind = random.between(0, 9);
  if (maximum) return kind < 6 ? SweepValues::grid : kind < 8 ? SweepValues::noise : SweepValues::special;
  return kind < 5 ? SweepValues::noise : kind < 7 ? SweepValues::offset : kind < 9 ? SweepValues::grid : SweepValues::special;
}

/// Element i of a permutation of [0, 2^14).
I shuffled(std::uint64_t seed, I i) {
  SweepRandom random(seed);
  const std::uint64_t factor = random.next() | 1, shift = random.next();
  return static_cast<I>((factor * static_cast<std::uint64_t>(i) + shift) & 16383);
}

void adaptive(SweepRandom& random, std::uint64_t seed, SweepProblem& p) {
  constexpr I kPairs = 256 * 64;
  std::array<I, 2> in{};
  for (std::size_t axis : {std::size_t{0}, std::size_t{1}}) {
    if (p.index < kPairs) {
      // Squares at even places; at odd ones the width takes the pair of another odd place.
      const I place = axis == 0 || p.index % 2 == 0 ? p.index : (p.index + 1554) % kPairs;
      const I pair = shuffled(seed, place);
      in[axis] = 1 + pair / 64;
      p.output[axis] = 1 + pair % 64;
      continue;
    }
    in[axis] = random.chance(10) ? 1 : random.chance(20) ? random.between(200, 600) : side(random);
    const I kind = random.between(0, 3);  // anything, above the input, the input divided, a grid of detection
    if (kind == 0) p.output[axis] = random.between(1, in[axis]);
    if (kind == 1) p.output[axis] = random.between(in[axis], 2 * in[axis] + 2);
    if (kind == 2) p.output[axis] = std::max<I>(1, in[axis] / random.between(2, 8));
    if (kind == 3) p.output[axis] = random.between(1, 7);
  }
  p.x.h = in[0], p.x.w = in[1];
  const I plane = std::max(in[0], p.output[0]) * std::max(in[1], p.output[1]);
  p.x.c = channels(random, plane, p.index % 2000 == 1999 ? kLarge : kInputs);
  p.x.n = random.chance(15) && p.x.c * plane < kInputs / 3 ? random.between(2, 3) : 1;
}

/// Squares, even and odd ones, rows, columns, wide and whole windows.
Pair kernel_of(SweepRandom& random, I most) {
  const I k = random.between(2, 5);
  switch (random.between(0, 7)) {
    case 0: return {2, 2};
    case 1:
    case 2: return {3, 3};
    case 3: return {k, k};
    case 4: return {1, random.between(1, most)};
    case 5: return {random.between(1, most), 1};
    case 6: return {random.between(1, most / 2 + 1), random.between(1, most / 2 + 1)};
    default: return {random.between(1, 7), random.between(1, 7)};
  }
}

void pool(SweepRandom& random, bool maximum, SweepProblem& p) {
  p.kernel = kernel_of(random, 33);
  const bool whole = random.chance(5);
  p.ceil_mode = random.chance(40);
  p.count_include_pad = random.chance(50);
  if (!maximum && random.chance(15)) p.divisor = random.chance(20) ? -3 : random.between(1, 20);
  std::array<I, 2> in{};
  for (std::size_t a : {std::size_t{0}, std::size_t{1}}) {
    p.stride[a] = random.chance(25) ? p.kernel[a] : random.chance(75) ? random.between(1, 3) : random.between(1, p.kernel[a] + 3);
    for (std::size_t i : {2 * a, 2 * a + 1}) p.padding[i] = random.chance(50) ? random.between(0, p.kernel[a] / 2) : 0;
    if (random.chance(40)) p.padding[2 * a] = p.padding[2 * a + 1] = p.kernel[a] / 2;
    if (maximum && random.chance(25)) p.dilation[a] = random.between(2, 4);
    in[a] = side(random);
    const I reach = p.dilation[a] * (p.kernel[a] - 1) + 1 - p.padding[2 * a] - p.padding[2 * a + 1];
    // A window may leave the input on the far side in ceil_mode alone, by less than a stride.
    in[a] = std::max({I{1}, in[a], p.ceil_mode && random.chance(30) ? reach - p.stride[a] + 1 : reach});
    if (whole && p.dilation[a] == 1) in[a] = p.kernel[a], p.padding[2 * a] = p.padding[2 * a + 1] = 0;
  }
  p.x.h = in[0], p.x.w = in[1];
  p.x.n = random.chance(15) ? random.between(2, 3) : 1;
  const bool large = p.index % 2000 == 1999;
  p.x.c = channels(random, p.x.n * in[0] * in[1], large ? kLarge : kInputs);
  const ops::ImageSize x = p.x;
  const I taps = (x.h / p.stride[0] + 1) * (x.w / p.stride[1] + 1) * p.kernel[0] * p.kernel[1];
  p.x.c = std::clamp<I>(p.x.c, 1, std::max<I>(1, (large ? 40 * kTaps : kTaps) / (taps * p.x.n)));
}

void depthwise(SweepRandom& random, SweepProblem& p) {
  const I kind = random.between(0, 9);
  if (kind < 4) p.kernel = {3, 3};
  if (kind == 4 || kind == 5) p.kernel = {5, 5};
  if (kind > 5) p.kernel = kernel_of(random, 15);
  const I stride = random.chance(60) ? 1 : random.chance(75) ? 2 : random.between(3, 5);
  p.stride = {stride, random.chance(85) ? stride : random.between(1, 4)};
  if (random.chance(20)) p.dilation = {random.between(1, 3), random.between(1, 3)};
  std::array<I, 2> in{};
  for (std::size_t a : {std::size_t{0}, std::size_t{1}}) {
    const I reach = p.dilation[a] * (p.kernel[a] - 1);
    const I how = random.between(0, 9);  // 'same', none, any, wider than the window
    for (std::size_t i : {2 * a, 2 * a + 1})
      p.padding[i] = how < 6 ? reach / 2 : how == 6 ? 0 : how < 9 ? random.between(0, p.kernel[a]) : random.between(0, reach + 3);
    in[a] = std::max({I{1}, side(random), reach + 1 - p.padding[2 * a] - p.padding[2 * a + 1]});
  }
  p.x.h = in[0], p.x.w = in[1];
  p.x.n = random.chance(20) ? random.between(2, 3) : 1;
  p.multiplier = random.chance(80) ? 1 : random.between(2, 5);
  const bool large = p.index % 2000 == 1999;
  if (large) p.kernel = {3, 3}, p.padding = {1, 1, 1, 1}, p.dilation = {1, 1}, p.stride = {1, 1}, p.multiplier = 1;
  p.x.c = channels(random, p.x.n * in[0] * in[1] * p.multiplier, large ? kLarge : kInputs);
  if (large && p.x.c > 16) p.x.c -= p.x.c % 16;
  // One channel with several outputs is an ordinary convolution: every path that those may take.
  if (random.chance(6) && !large) {
    p.x.c = 1, p.multiplier = random.between(2, 9);
    const I path = random.between(0, 2);
    if (path < 2) p.padding = {}, p.dilation = {1, 1};
    if (path == 0) p.kernel = {1, 1}, p.stride = {1, 1};
    if (path == 1) p.stride = p.kernel, p.x.h = std::max(p.x.h, p.kernel[0]), p.x.w = std::max(p.x.w, p.kernel[1]);
    p.x.h = std::max(p.x.h, p.dilation[0] * (p.kernel[0] - 1) + 1), p.x.w = std::max(p.x.w, p.dilation[1] * (p.kernel[1] - 1) + 1);
  }
  const I outputs = ((p.x.h + p.padding[0] + p.padding[1]) / p.stride[0] + 1) * ((p.x.w + p.padding[2] + p.padding[3]) / p.stride[1] + 1);
  const I taps = p.x.n * outputs * p.kernel[0] * p.kernel[1] * p.multiplier;
  p.x.c = std::clamp<I>(p.x.c, 1, std::max<I>(1, (large ? 60 * kTaps : kTaps) / taps));
  p.bias = random.chance(75);
  p.residual = random.chance(20);
  p.activation = random.chance(40) ? ops::ConvActivation::none : static_cast<ops::ConvActivation>(random.between(1, 5));
  if (p.activation != ops::ConvActivation::none && p.values == SweepValues::special) p.values = SweepValues::noise;
}

}  // namespace

SweepProblem generated_problem(SweepOp op, std::uint64_t seed, std::int64_t index) {
  SweepRandom mix(seed * 8 + static_cast<std::uint64_t>(op));
  const std::uint64_t of_op = mix.next();
  SweepRandom random(of_op ^ (static_cast<std::uint64_t>(index) * 0xd1342543de82ef95u));
  SweepProblem p;
  p.op = op;
  p.index = index;
  p.seed = random.next();
  p.values = values_of(random, p.maximum());
  if (p.adaptive())
    adaptive(random, of_op, p);
  else if (p.convolution())
    depthwise(random, p);
  else
    pool(random, p.maximum(), p);
  return p;
}

}  // namespace tessera::models

#include "tessera/kernels/depthwise/depthwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/reference/conv2d.h"

namespace tessera::kernels {
namespace {

constexpr float kGuard = 12345;

TEST(DepthwiseKernels, ScalarStandsLast) {
  ASSERT_FALSE(depthwise_rows().empty());
  EXPECT_STREQ(depthwise_rows().back().info.name, "scalar");
  EXPECT_EQ(depthwise_rows().back().functions.lanes, 1);
}

TEST(DepthwiseKernels, PackingPutsEveryWeightWhereTheHeaderSays) {
  DepthwiseShape s{};
  s.c = 19, s.m = 1, s.kh = 1, s.kw = 2;
  std::vector<float> weights, bias;
  for (int i = 0; i < 38; ++i) weights.push_back(static_cast<float>(i));
  for (int i = 0; i < 19; ++i) bias.push_back(static_cast<float>(100 + i));
  std::vector<float> packed(static_cast<std::size_t>(depthwise_packed(s, 4, true)), kGuard);
  ASSERT_EQ(packed.size(), std::size_t{(5 + 2 * 2) * 3 * 4});
  depthwise_pack(s, 4, true, weights.data(), bias.data(), packed.data());
  for (const float v : packed) EXPECT_NE(v, kGuard);
  const auto at = [&](std::size_t panel, std::size_t tap, std::size_t lane) { return packed[(panel * 3 + tap) * 4 + lane]; };
  EXPECT_EQ(at(4, 0, 2), 118);  // channel 18
  EXPECT_EQ(at(4, 2, 2), 37);
  EXPECT_EQ(at(4, 2, 3), 0);       // behind the last channel
  EXPECT_EQ(at(5, 0, 1), 102);     // the first pair: even channels
  EXPECT_EQ(at(6, 0, 1), 103);     // odd ones
  EXPECT_EQ(at(8, 1, 3), 2 * 15);  // channel 15, tap 0
  std::vector<float> plain(static_cast<std::size_t>(depthwise_packed(s, 4, false)), kGuard);
  ASSERT_EQ(plain.size(), std::size_t{57 + 5 * 3 * 4});
  depthwise_pack(s, 4, false, weights.data(), nullptr, plain.data());
  EXPECT_EQ(plain[3 * 18], 0);
  EXPECT_EQ(plain[3 * 18 + 2], 37);
  EXPECT_EQ(plain[57 + (4 * 3 + 2) * 4 + 2], 37);
}

struct Given {
  reference::ConvSizes s;
  bool bf16_values;
  bool nhwc;
};

/// One picture through one row: everything that may be written is right, and guards on all sides of it stay.
void run(const Row<DepthwiseFunctions>& row, const Given& g, std::int64_t row_first, std::int64_t row_last, std::int64_t part_first,
         std::int64_t part_last, bool stream) {
  const reference::ConvSizes& s = g.s;
  const std::int64_t m = s.out / s.c;
  const DepthwiseShape shape{s.h, s.w, s.ho(), s.wo(), s.c, m, s.kh, s.kw, s.sh, s.sw, s.dh, s.dw, s.top, s.left};
  const auto number = [](std::int64_t i, int salt) { return static_cast<float>((i * 7919 + salt * 31) % 41 - 20) / 16; };
  std::vector<float> x, weight, bias;
  std::vector<double> xd, wd, bd;
  for (std::int64_t i = 0; i < s.h * s.w * s.c; ++i) xd.push_back(static_cast<double>(number(i, 1)));
  for (std::int64_t i = 0; i < s.out * s.kh * s.kw; ++i) weight.push_back(number(i, 2)), wd.push_back(static_cast<double>(weight.back()));
  for (std::int64_t i = 0; i < s.out; ++i) bias.push_back(number(i, 3)), bd.push_back(static_cast<double>(bias.back()));
  x.resize(xd.size());
  for (std::int64_t y = 0; y < s.h; ++y)
    for (std::int64_t col = 0; col < s.w; ++col)
      for (std::int64_t c = 0; c < s.c; ++c) {
        const std::int64_t from = (y * s.w + col) * s.c + c;
        x[static_cast<std::size_t>(g.nhwc ? from : (c * s.h + y) * s.w + col)] = static_cast<float>(xd[static_cast<std::size_t>(from)]);
      }
  const std::int64_t lanes = row.functions.lanes;
  std::vector<float> packed(static_cast<std::size_t>(depthwise_packed(shape, lanes, g.nhwc)));
  depthwise_pack(shape, lanes, g.nhwc, weight.data(), bias.data(), packed.data());

  const auto count = static_cast<std::size_t>(s.ho() * s.wo() * s.out);
  constexpr std::size_t kBefore = 16;  // keeps the alignment that streaming needs
  alignas(64) static float y32[1 << 16];
  alignas(64) static bf16 y16[1 << 16];
  ASSERT_LE(count + 2 * kBefore, std::size_t{1} << 16);
  std::vector<bf16> x16;
  for (const float v : x) x16.push_back(to_bf16(v));
  for (std::size_t i = 0; i < count + 2 * kBefore; ++i) y32[i] = kGuard, y16[i] = to_bf16(kGuard);

  DepthwiseCall call{};
  call.s = shape;
  call.x = g.bf16_values ? static_cast<const void*>(x16.data()) : x.data();
  call.y = g.bf16_values ? static_cast<void*>(y16 + kBefore) : y32 + kBefore;
  call.x_bf16 = call.y_bf16 = g.bf16_values;
  call.stream = stream;
  call.weights = packed.data();
  call.row_first = row_first, call.row_last = row_last, call.part_first = part_first, call.part_last = part_last;
  std::vector<float> scratch(static_cast<std::size_t>(row.functions.nchw_scratch(shape, row_last - row_first)), kGuard);
  call.scratch = scratch.data();
  g.nhwc ? row.functions.nhwc(call) : row.functions.nchw(call);

  for (std::int64_t y = 0; y < s.ho(); ++y)
    for (std::int64_t col = 0; col < s.wo(); ++col)
      for (std::int64_t o = 0; o < s.out; ++o) {
        const std::int64_t place = g.nhwc ? (y * s.wo() + col) * s.out + o : (o * s.ho() + y) * s.wo() + col;
        const auto i = kBefore + static_cast<std::size_t>(place);
        const float got = g.bf16_values ? to_f32(y16[i]) : y32[i];
        if (y < row_first || y >= row_last || o / m < part_first || o / m >= part_last) {
          ASSERT_EQ(got, g.bf16_values ? to_f32(to_bf16(kGuard)) : kGuard) << y << " " << col << " " << o;
          continue;
        }
        const auto sum = reference::conv2d_at(s, xd, wd, bd, 0, y, col, o);
        // Sums of multiples of 2^-8 below 2^10: exact in f32; bf16 rounds them once, by at most 2^-8.
        ASSERT_NEAR(static_cast<double>(got), sum.value, g.bf16_values ? 0x1p-8 * std::fabs(sum.value) : 0) << y << " " << col << " " << o;
      }
  for (std::size_t i = 0; i < kBefore; ++i) {
    ASSERT_EQ(y32[i], kGuard);
    ASSERT_EQ(y32[kBefore + count + i], kGuard);
    ASSERT_EQ(to_f32(y16[i]), to_f32(to_bf16(kGuard)));
    ASSERT_EQ(to_f32(y16[kBefore + count + i]), to_f32(to_bf16(kGuard)));
  }
}

std::vector<reference::ConvSizes> sizes() {
  std::vector<reference::ConvSizes> all;
  // Every width around the tiles and vectors, for each window that has loops of its own and one that has not.
  for (std::int64_t w = 1; w <= 20; ++w)
    for (const std::int64_t k : {3, 5, 4})
      for (const std::int64_t stride : {1, 2}) all.push_back({1, 6, w, 37, 37, 37, k, k, stride, stride, 2, 2, 2, 2, 1, 1});
  // Every count of channels around the vectors.
  for (std::int64_t c = 1; c <= 70; ++c) all.push_back({1, 3, 5, c, c, c, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1});
  for (std::int64_t c = 1; c <= 20; ++c) all.push_back({1, 4, 9, c, 3 * c, c, 2, 3, 1, 2, 1, 0, 1, 1, 2, 1});
  return all;
}

TEST(DepthwiseKernels, EveryRowServesEverySizeAndTouchesNothingElse) {
  for (const auto& row : depthwise_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (const reference::ConvSizes& s : sizes())
      for (const bool nhwc : {false, true})
        for (const bool bf16_values : {false, true}) {
          SCOPED_TRACE(std::string(row.info.name) + (nhwc ? " nhwc " : " nchw ") + std::to_string(s.w) + " wide, channels " + std::to_string(s.c) +
                       ", window " + std::to_string(s.kh) + ", stride " + std::to_string(s.sh));
          const Given g{s, bf16_values, nhwc};
          run(row, g, 0, s.ho(), 0, s.c, false);
          const std::int64_t unit = nhwc ? 2 * row.functions.lanes : 1;
          if (s.ho() > 2 && s.c > unit) run(row, g, 1, s.ho() - 1, unit, s.c, false);
          if (s.ho() > 2 && s.c > unit) run(row, g, 0, 2, 0, unit, false);
          if (!nhwc && s.c > 30) run(row, g, 0, s.ho(), 5, s.c - 2, false);
          if (HasFatalFailure()) return;
        }
  }
}

TEST(DepthwiseKernels, StreamingStoresTheSame) {
  for (const auto& row : depthwise_rows()) {
    if (!device::usable(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    run(row, {{1, 7, 9, 48, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, false, true}, 0, 7, 0, 48, true);
    run(row, {{1, 7, 9, 48, 48, 48, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1}, false, true}, 0, 4, 0, 48, true);
    run(row, {{1, 7, 9, 48, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, false, true}, 2, 6, 16, 48, true);
    run(row, {{1, 7, 9, 48, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, false, true}, 0, 7, 16, 32, true);
  }
}

}  // namespace
}  // namespace tessera::kernels

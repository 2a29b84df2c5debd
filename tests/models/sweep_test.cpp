#include "tessera/models/sweep/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "tessera/core/error.h"
#include "tessera/models/sweep/judge.h"
#include "tessera/models/sweep/problem.h"
#include "tessera/models/sweep/reference.h"
#include "tests/reference/conv2d.h"
#include "tests/reference/pool.h"

namespace tessera::models {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Slow builds leave the largest sizes out and make fewer: what is read there is read by the release build.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
constexpr std::int64_t kLargest = 150000;
constexpr std::int64_t kGenerated = 120;
#else
constexpr std::int64_t kLargest = 0;
constexpr std::int64_t kGenerated = 400;
#endif

std::string first_failure(const SweepReport& report) {
  if (report.failures.empty()) return report.summary;
  const SweepRow& r = report.failures.front();
  return report.summary + "; " + r.shape + " " + r.dtype + " " + r.layout + " " + r.options + ": " + r.error;
}

class SweepOf : public testing::TestWithParam<SweepOp> {};
INSTANTIATE_TEST_SUITE_P(Ops, SweepOf, testing::ValuesIn(all_sweep_ops().begin(), all_sweep_ops().end()),
                         [](const auto& op) { return std::string(name(op.param)); });

TEST_P(SweepOf, ShortSuitePassesInEveryDtypeAndLayout) {
  Context ctx({.threads = 2, .isa = {}});
  std::set<std::string> variants;
  std::int64_t cases = 0, last = -1;
  const SweepReport report = sweep(ctx, {.ops = {GetParam()}, .largest = kLargest}, [&](const SweepRow& row) {
    variants.insert(row.dtype + " " + row.layout);
    EXPECT_GE(row.size, last);  // in order
    last = row.size;
    ++cases;
    EXPECT_GE(row.runs, 4) << row.shape << " " << row.layout;
    EXPECT_FALSE(row.row.empty());
    EXPECT_GT(row.time_us, 0);
  });
  EXPECT_TRUE(report.pass) << first_failure(report);
  ASSERT_EQ(report.ops.size(), 1u);
  EXPECT_EQ(report.ops[0].cases, cases);
  EXPECT_EQ(report.ops[0].failures, 0);
  EXPECT_GE(report.ops[0].sizes, 10);
  // bf16 rounds: without a difference nothing was compared.
  if (GetParam() != SweepOp::max_pool2d && GetParam() != SweepOp::adaptive_max_pool2d) EXPECT_GT(report.ops[0].worst_bf16, 0.9);
  std::set<std::string> all = {"f32 nhwc", "f32 flat", "f32 nchw", "bf16 nhwc", "bf16 flat", "bf16 nchw"};
  if (GetParam() != SweepOp::depthwise_conv2d) all.insert({"f32 tile", "bf16 tile"});
  EXPECT_EQ(variants, all);
}

TEST_P(SweepOf, GeneratedSizesPassAndHoldEveryKind) {
  Context ctx({.threads = 2, .isa = {}});
  const SweepReport report = sweep(ctx, {.ops = {GetParam()}, .suite = SweepSuite::full, .seed = 5, .sizes = kGenerated, .largest = kLargest});
  EXPECT_TRUE(report.pass) << first_failure(report);
  std::set<std::string> kinds;
  for (const auto& [kind, count] : report.ops.at(0).kinds) kinds.insert(kind);
  std::set<std::string> wanted = {"padding", "unequal padding", "1-D", "even kernel"};
  switch (GetParam()) {
    case SweepOp::adaptive_avg_pool2d:
    case SweepOp::adaptive_max_pool2d:
      wanted = {"best DIRECT",      "best PURE_UNIFORM",       "PURE_UNIFORM", "PADDING_DOMINANT", "DILATION_DOMINANT",
                "COMBINED_OPTIMAL", "output larger than input"};
      break;
    case SweepOp::max_pool2d: wanted.insert({"dilation", "ceil_mode"}); break;
    case SweepOp::avg_pool2d: wanted.insert({"ceil_mode", "without padding", "divisor"}); break;
    case SweepOp::depthwise_conv2d: wanted.insert({"dilation", "multiplier", "residual", "depthwise", "product", "fold", "window"}); break;
  }
  if (kGenerated < 400) return;  // too few to hold every kind
  for (const std::string& kind : wanted) EXPECT_TRUE(kinds.count(kind) == 1) << kind;
}

TEST_P(SweepOf, SameSeedSameSizesAndOneOfThemAgain) {
  const SweepProblem a = generated_problem(GetParam(), 3, 17), b = generated_problem(GetParam(), 3, 17), c = generated_problem(GetParam(), 4, 17);
  EXPECT_EQ(shape_text(a.x) + options_text(a), shape_text(b.x) + options_text(b));
  EXPECT_NE(shape_text(a.x) + options_text(a), shape_text(c.x) + options_text(c));
  Context ctx({.threads = 1, .isa = {}});
  std::string shape;
  sweep(ctx, {.ops = {GetParam()}, .suite = SweepSuite::full, .seed = 3, .only = 17}, [&](const SweepRow& row) {
    EXPECT_EQ(row.size, 17);
    shape = row.shape + row.options;
  });
  EXPECT_EQ(shape, shape_text(a.x) + options_text(a));
}

TEST(SweepSizes, AdaptivePoolsHoldEveryPairOnBothAxes) {
  for (const SweepOp op : {SweepOp::adaptive_avg_pool2d, SweepOp::adaptive_max_pool2d}) {
    std::set<std::pair<std::int64_t, std::int64_t>> rows, columns;
    for (std::int64_t i = 0; i < 256 * 64; ++i) {
      const SweepProblem p = generated_problem(op, 1, i);
      rows.insert({p.x.h, p.output[0]});
      columns.insert({p.x.w, p.output[1]});
      ASSERT_TRUE(p.x.h <= 256 && p.x.w <= 256 && p.output[0] <= 64 && p.output[1] <= 64);
    }
    EXPECT_EQ(rows.size(), 256u * 64u);
    EXPECT_EQ(columns.size(), 256u * 64u);
  }
}

TEST(SweepSizes, AllAreValid) {
  for (const SweepOp op : all_sweep_ops())
    for (std::int64_t i = 0; i < 20000; ++i) {
      const SweepProblem p = generated_problem(op, 2, i);
      const ops::ImageSize y = expected_size(p);
      ASSERT_TRUE(p.x.n > 0 && p.x.h > 0 && p.x.w > 0 && p.x.c > 0 && y.h > 0 && y.w > 0) << shape_text(p.x) << " " << options_text(p);
      ASSERT_LE(p.x.n * p.x.h * p.x.w * p.x.c, 12000000);
    }
}

/// The sweep's reference against the tests' own, which was written apart from it.
TEST(SweepReference, EqualsTheReferenceOfTheTests) {
  for (const SweepOp op : all_sweep_ops())
    for (std::int64_t i = 16384; i < 16484; ++i) {
      SweepProblem p = generated_problem(op, 9, i);
      p.x.c = std::min<std::int64_t>(p.x.c, 3), p.x.n = 1;
      p.values = p.maximum() ? SweepValues::grid : SweepValues::noise;
      const SweepData data = make_data(p, DType::f32);
      const SweepExpected got = expected(p, data);
      const std::string what = shape_text(p.x) + " " + options_text(p);
      for (std::int64_t c = 0; c < p.x.c && !p.convolution(); ++c) {
        std::vector<double> plane;
        for (std::int64_t j = 0; j < p.x.h * p.x.w; ++j) plane.push_back(static_cast<double>(data.x[static_cast<std::size_t>(j * p.x.c + c)]));
        reference::PoolParams params{.kernel = {p.kernel[0], p.kernel[1]}, .stride = {p.stride[0], p.stride[1]}};
        std::ranges::copy(p.padding, params.padding);
        std::ranges::copy(p.dilation, params.dilation);
        params.ceil_mode = p.ceil_mode, params.count_include_pad = p.count_include_pad, params.divisor_override = p.divisor;
        const auto want = p.adaptive() ? reference::adaptive_pool_plane(plane, p.x.h, p.x.w, p.output[0], p.output[1], p.maximum())
                                       : reference::pool_plane(plane, p.x.h, p.x.w, params, p.maximum());
        ASSERT_EQ(want.h, got.y.h) << what;
        ASSERT_EQ(want.w, got.y.w) << what;
        for (std::size_t j = 0; j < want.values.size(); ++j) {
          const std::size_t at = j * static_cast<std::size_t>(p.x.c) + static_cast<std::size_t>(c);
          const double e = want.values[j], g = got.value[at];
          // Two sums in double, perhaps in different orders.
          ASSERT_TRUE(e == g || std::fabs(e - g) <= 1e-12 * std::fabs(e) + 1e-12) << what << ": " << g << " for " << e;
          // A window without an input (its taps step over it) has no maximum: PyTorch then gives the place where it would start.
          if (p.maximum() && e != -std::numeric_limits<double>::infinity()) ASSERT_EQ(want.indices[j], got.index[at]) << what;
        }
      }
      if (!p.convolution()) continue;
      const std::int64_t out = p.x.c * p.multiplier;
      const reference::ConvSizes s{1,           p.x.h,       p.x.w,        p.x.c,        out,          p.x.c,        p.kernel[0],   p.kernel[1],
                                   p.stride[0], p.stride[1], p.padding[0], p.padding[1], p.padding[2], p.padding[3], p.dilation[0], p.dilation[1]};
      const auto doubles = [](const std::vector<float>& v) { return std::vector<double>(v.begin(), v.end()); };
      ASSERT_EQ(s.ho(), got.y.h) << what;
      ASSERT_EQ(s.wo(), got.y.w) << what;
      for (std::size_t j = 0; j < got.value.size(); j += 7) {
        const auto at = static_cast<std::int64_t>(j);
        const auto sum =
            reference::conv2d_at(s, doubles(data.x), doubles(data.weight), doubles(data.bias), 0, at / out / s.wo(), at / out % s.wo(), at % out);
        double e = reference::activate(sum.value, static_cast<reference::ConvActivation>(p.activation));
        if (p.residual) e += static_cast<double>(data.residual[j]);
        ASSERT_NEAR(got.value[j], e, 1e-12 * (1 + sum.magnitude)) << what;
        if (j > 700) break;
      }
    }
}

SweepExpected averages() {
  SweepExpected e;
  e.y = {1, 1, 2, 2};
  e.value = {1.0, -2.0, 3.5, 0.25};
  e.limit = {1e-6, 1e-6, 1e-6, 1e-6};
  return e;
}

TEST(SweepJudge, SeesEveryKindOfWrongValue) {
  SweepExpected e = averages();
  std::vector<float> got = {1.0f, -2.0f, 3.5f, 0.25f};
  EXPECT_TRUE(judge(e, got, DType::f32).pass);
  EXPECT_EQ(judge(e, got, DType::f32).max_abs, 0);
  got[2] = 3.5f + 1e-5f;
  const SweepVerdict v = judge(e, got, DType::f32);
  EXPECT_FALSE(v.pass);
  EXPECT_NEAR(v.max_abs, 1e-5, 1e-6);
  EXPECT_GT(v.of_limit, 1);
  EXPECT_NE(v.first.find("row 0, column 1, channel 0"), std::string::npos) << v.first;
  for (const float wrong : {kNan, kInf, -kInf, -3.5f, 0.0f}) {
    got[2] = wrong;
    EXPECT_FALSE(judge(e, got, DType::f32).pass) << wrong;
    EXPECT_FALSE(judge(e, got, DType::bf16).pass) << wrong;
  }
  got[2] = 3.5f;
  for (const double special : {static_cast<double>(kNan), static_cast<double>(kInf)}) {
    e.value[2] = special;
    EXPECT_FALSE(judge(e, got, DType::f32).pass) << special;
  }
  got[2] = kInf;
  EXPECT_TRUE(judge(e, got, DType::f32).pass);
  got.pop_back();
  EXPECT_FALSE(judge(e, got, DType::f32).pass);
}

TEST(SweepJudge, Bf16IsRoundedOnceToTheNearest) {
  SweepExpected e = averages();
  e.value[0] = 1.0 + 0x1p-8 - 0x1p-20;  // just below the middle of 1 and the next value, 1 + 2^-7
  e.limit.assign(4, 0x1p-24);
  std::vector<float> got = {1.0f, -2.0f, 3.5f, 0.25f};
  EXPECT_TRUE(judge(e, got, DType::bf16).pass);
  got[0] = 1.0f + 0x1p-7f;  // a whole step off, though less than a step from the exact value
  EXPECT_FALSE(judge(e, got, DType::bf16).pass);
  got[0] = 1.0f - 0x1p-8f;
  EXPECT_FALSE(judge(e, got, DType::bf16).pass);
}

TEST(SweepJudge, MaximaAndIndicesBitForBit) {
  SweepExpected e;
  e.y = {1, 1, 1, 3};
  e.value = {0.0, 2.0, std::numeric_limits<double>::quiet_NaN()};
  e.index = {0, 5, 7};
  EXPECT_TRUE(judge(e, std::vector<float>{0.0f, 2.0f, kNan}, DType::f32).pass);
  EXPECT_FALSE(judge(e, std::vector<float>{-0.0f, 2.0f, kNan}, DType::f32).pass);
  EXPECT_FALSE(judge(e, std::vector<float>{0.0f, std::nextafter(2.0f, 3.0f), kNan}, DType::f32).pass);
  EXPECT_FALSE(judge(e, std::vector<float>{0.0f, 2.0f, 1.0f}, DType::f32).pass);
  EXPECT_TRUE(judge_indices(e, std::vector<std::int32_t>{0, 5, 7}).pass);
  EXPECT_FALSE(judge_indices(e, std::vector<std::int32_t>{0, 6, 7}).pass);
  EXPECT_FALSE(judge_indices(e, std::vector<std::int32_t>{0, 5}).pass);
}

TEST(SweepJudge, CorrelationIsThatOfTheValues) {
  const SweepExpected e = averages();
  const auto pcc = [&](const std::vector<float>& got) { return judge(e, got, DType::f32).pcc; };
  EXPECT_NEAR(pcc({1.0f, -2.0f, 3.5f, 0.25f}).value(), 1, 1e-12);
  EXPECT_NEAR(pcc({-1.0f, 2.0f, -3.5f, -0.25f}).value(), -1, 1e-12);
  EXPECT_NEAR(pcc({1.0f, 2.0f, 3.0f, 4.0f}).value(), 0.1850546, 1e-6);
  EXPECT_FALSE(pcc({1.0f, 1.0f, 1.0f, 1.0f}).has_value());
}

TEST(Sweep, LimitsThatAreTooNarrowFailAndSayWhatToRepeat) {
  Context ctx({.threads = 2, .isa = {}});
  const SweepReport report =
      sweep(ctx, {.ops = {SweepOp::avg_pool2d, SweepOp::depthwise_conv2d}, .suite = SweepSuite::full, .sizes = 20, .limits = 0});
  EXPECT_FALSE(report.pass);
  EXPECT_GT(report.ops[0].failures, 0);
  EXPECT_GT(report.ops[1].failures, 0);
  ASSERT_GE(report.failures.size(), 2u);
  EXPECT_EQ(report.failures.front().op, SweepOp::avg_pool2d);
  EXPECT_EQ(report.failures.back().op, SweepOp::depthwise_conv2d);
  for (const SweepRow& row : report.failures) {
    EXPECT_FALSE(row.pass);
    EXPECT_GT(row.of_limit, 1);
    EXPECT_NE(row.error.find("may differ by"), std::string::npos) << row.error;
    EXPECT_NE(row.options.find("seed"), std::string::npos);
  }
}

TEST(Sweep, WithoutASizeIsRefused) {
  Context ctx({.threads = 1, .isa = {}});
  EXPECT_THROW(sweep(ctx, {.ops = {SweepOp::max_pool2d}, .only = 100000}), Error);
  EXPECT_THROW(sweep(ctx, {.ops = {}}), Error);
  EXPECT_THROW(sweep(ctx, {.ops = {SweepOp::max_pool2d}, .suite = SweepSuite::full, .sizes = 0}), Error);
}

}  // namespace
}  // namespace tessera::models

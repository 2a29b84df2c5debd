// int8 weights through linear(): against plain sums of what int8 holds exactly, every row, the same bits for all rows and all numbers of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/linear.h"
#include "tests/reference/linear.h"

namespace tessera {
namespace {

/// fn(ctx) once for every int8 row that this machine runs, and for the emulated ones.
template <class Fn>
void for_every_row(Fn fn, int threads = 2) {
  int count = 0;
  for (const auto rows : {kernels::gemm_rows(), kernels::gemm_emulated_rows()})
    for (const auto& row : rows) {
      Context ctx({.threads = threads, .isa = {}});
      if (row.functions.weights != DType::i8 || !ctx.allows(row.info.isa)) continue;
      SCOPED_TRACE(row.info.name);
      ctx.force("linear", row.info.name);
      fn(ctx);
      ++count;
    }
  EXPECT_GE(count, 3);
}

/// Whole numbers of -127 to 127 over 64, a 127 in every row: held without rounding, and their sums are floats.
std::vector<float> whole(std::int64_t rows, std::int64_t k, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(rows * k));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i % static_cast<std::size_t>(k) == 0 ? 127 : static_cast<int>(random() % 255) - 127) / 64;
  return values;
}

Tensor tensor(const std::vector<float>& values, const Shape& shape, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(shape, dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::f32) t.data<float>()[i] = values[i];
    if (dtype == DType::bf16) t.data<bf16>()[i] = to_bf16(values[i]);
    if (dtype == DType::f16) t.data<f16>()[i] = to_f16(values[i]);
  }
  return t;
}

std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

TEST(LinearInt8, MatchesTheReferenceWithEverythingAround) {
  const std::int64_t m = 29, n = 75, k = 530;
  const auto x = whole(m, k, 1), w = whole(n, k, 2), up = whole(n, k, 3), bias = whole(1, n, 4), residual = whole(m, n, 5), gate = whole(1, n, 6);
  for_every_row([&](Context& ctx) {
    for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {  // all hold the values exactly
      const ops::LinearPart part{tensor(w, {n, k}, stored), tensor(bias, {n})};
      const auto prepared = ops::prepare_linear(ctx, part, DType::i8);
      EXPECT_EQ(prepared.dtype(), DType::i8);
      EXPECT_EQ(prepared.input_dtype(), DType::bf16);
      EXPECT_LT(prepared.bytes(), static_cast<std::size_t>(2 * n * k));
      const Tensor in = tensor(x, {m, k}, stored == DType::bf16 ? DType::bf16 : DType::f32);
      const Tensor y =
          ops::linear(ctx, in, prepared, {.activation = ops::Activation::relu, .residual = tensor(residual, {m, n}), .gate = tensor(gate, {n})});
      const auto pair = ops::prepare_gated_linear(ctx, part, {tensor(up, {n, k}, stored), tensor(bias, {n})}, DType::i8);
      const Tensor z = ops::linear(ctx, in, pair, {.activation = ops::Activation::relu, .residual = {}, .gate = {}});
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
          const auto at = static_cast<std::size_t>(j);
          const double sum = reference::linear_sum(doubles(x), doubles(w), doubles(bias), k, i, j).value;
          const double wanted =
              static_cast<double>(residual[static_cast<std::size_t>(i * n + j)]) + static_cast<double>(gate[at]) * std::max(sum, 0.0);
          // The product of gate and sum, and the sum with the residual, round once each.
          ASSERT_NEAR(static_cast<double>(y.data<float>()[i * n + j]), wanted,
                      0x1p-23 * (std::fabs(wanted) + 2 * std::fabs(static_cast<double>(gate[at]) * sum)));
          const double both = std::max(sum, 0.0) * reference::linear_sum(doubles(x), doubles(up), doubles(bias), k, i, j).value;
          ASSERT_NEAR(static_cast<double>(z.data<float>()[i * n + j]), both, 0x1p-23 * std::fabs(both));
        }
      if (stored == DType::f16) break;
    }
  });
}

TEST(LinearInt8, RowsAndThreadsAgreeToTheBit) {
  const std::int64_t n = 200, k = 1300;
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  std::vector<float> w(static_cast<std::size_t>(n * k));
  for (float& v : w) v = distribution(random);
  for (const std::int64_t m : {1, 7, 51, 300}) {
    std::vector<float> x(static_cast<std::size_t>(m * k));
    for (float& v : x) v = distribution(random);
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 8})
      for_every_row(
          [&](Context& ctx) {
            if (threads > 1 && ctx.forced("linear").find("emulated") != std::string_view::npos) return;
            const auto prepared = ops::prepare_linear(ctx, {tensor(w, {n, k}), {}}, DType::i8);
            const Tensor y = ops::linear(ctx, tensor(x, {m, k}), prepared);
            const std::vector<float> got(y.data<float>(), y.data<float>() + y.numel());
            if (first.empty()) first = got;
            EXPECT_EQ(got, first) << m << " rows, " << threads << " threads";
          },
          threads);
  }
}

TEST(LinearInt8, StridedRowsAndNaN) {
  for_every_row([](Context& ctx) {
    const std::int64_t n = 20, k = 40;
    const auto prepared = ops::prepare_linear(ctx, {tensor(whole(n, k, 1), {n, k}), {}}, DType::i8);
    Tensor wide = tensor(whole(4, 64, 2), {4, 64});
    const Tensor x = wide.columns(8, k);
    Tensor packed = Tensor::empty({4, k}, DType::f32);
    for (std::int64_t r = 0; r < 4; ++r)
      std::memcpy(packed.data<float>() + r * k, wide.data<float>() + r * 64 + 8, static_cast<std::size_t>(k) * sizeof(float));
    const Tensor a = ops::linear(ctx, x, prepared);
    const Tensor b = ops::linear(ctx, packed, prepared);
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0);
    packed.data<float>()[k] = std::numeric_limits<float>::quiet_NaN();
    const Tensor c = ops::linear(ctx, packed, prepared);
    for (std::int64_t j = 0; j < n; ++j) {
      EXPECT_TRUE(std::isnan(c.data<float>()[n + j]));
      EXPECT_EQ(c.data<float>()[j], b.data<float>()[j]);
      EXPECT_EQ(c.data<float>()[2 * n + j], b.data<float>()[2 * n + j]);
    }
  });
}

TEST(LinearInt8, ErrorIsThatOfRounding) {
  Context ctx({.threads = 2, .isa = {}});
  const std::int64_t n = 300, k = 200;
  std::mt19937 random(7);
  std::normal_distribution<float> distribution;
  std::vector<float> w(static_cast<std::size_t>(n * k));
  for (float& v : w) v = distribution(random);
  double off = 0, all = 0;
  for (std::int64_t r = 0; r < n; ++r) {
    double most = 0;
    for (std::int64_t i = 0; i < k; ++i) most = std::max(most, std::fabs(static_cast<double>(w[static_cast<std::size_t>(r * k + i)])));
    for (std::int64_t i = 0; i < k; ++i) {
      const double v = w[static_cast<std::size_t>(r * k + i)];
      const double back = std::floor(v * 127 / most + 0.5) * most / 127;
      off += (v - back) * (v - back) / static_cast<double>(n * k);
      all += std::fabs(v) / static_cast<double>(n * k);
    }
  }
  EXPECT_NEAR(ops::int8_error(ctx, tensor(w, {n, k})), std::sqrt(off) / all, 1e-9);
  EXPECT_EQ(ops::int8_error(ctx, tensor(whole(n, k, 1), {n, k})), 0);
  EXPECT_EQ(ops::int8_error(ctx, Tensor::zeros({3, 4}, DType::bf16)), 0);
  w[5] = 1000;  // one outlier: its row is all but lost
  EXPECT_GT(ops::int8_error(ctx, tensor(w, {n, k})), 0.05);
  w[5] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(ops::int8_error(ctx, tensor(w, {n, k}))));
  EXPECT_THROW(ops::int8_error(ctx, Tensor::zeros({3}, DType::f32)), Error);
  EXPECT_THROW(ops::int8_error(ctx, Tensor::zeros({3, 4}, DType::i8)), Error);
}

TEST(LinearInt8, RefusesSumsThatCouldOverflow) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor w = Tensor::zeros({1, kernels::kGemmMostInt8Depth + 1}, DType::bf16);
  try {
    ops::prepare_linear(ctx, {w, {}}, DType::i8);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("k of at most 65536"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tessera

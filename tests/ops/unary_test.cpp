#include "tessera/ops/unary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/shapes.h"
#include "tests/reference/unary.h"

namespace tessera {
namespace {

using ops::Unary;
using ops::UnaryOp;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Every op, those with parameters with several.
std::vector<Unary> all_calls() {
  std::vector<Unary> calls;
  for (std::size_t i = 0; i <= static_cast<std::size_t>(UnaryOp::xielu); ++i) {
    const auto op = static_cast<UnaryOp>(i);
    if (op < UnaryOp::leaky_relu || op == UnaryOp::selu) calls.push_back({op});
  }
  for (const float slope : {0.01f, -0.5f, 2.0f}) calls.push_back({UnaryOp::leaky_relu, slope});
  for (const float alpha : {1.0f, 0.3f, 2.5f}) {
    calls.push_back({UnaryOp::elu, alpha});
    calls.push_back({UnaryOp::celu, alpha});
    calls.push_back({UnaryOp::hardshrink, alpha});
    calls.push_back({UnaryOp::softshrink, alpha});
    calls.push_back({UnaryOp::heaviside, alpha});
  }
  for (const UnaryOp op : {UnaryOp::hardtanh, UnaryOp::clip}) {
    calls.push_back({op, -1, 1});
    calls.push_back({op, 0.25f, 6});
    calls.push_back({op, -kInf, 3});
    calls.push_back({op, 2, 1});  // crossed: the upper one everywhere
    calls.push_back({op, kNan, 1.5f});
  }
  calls.push_back({UnaryOp::softplus, 1, 20});
  calls.push_back({UnaryOp::softplus, 0.5f, 4});
  calls.push_back({UnaryOp::softplus, 3, 1000});
  calls.push_back({UnaryOp::threshold, 0.1f, 20});
  calls.push_back({UnaryOp::threshold, -3, -kInf});
  calls.push_back({UnaryOp::xielu, 0.8f, 0.8f});
  calls.push_back({UnaryOp::xielu, 0.3f, 0.1f});
  return calls;
}

/// How far a result may be from the exact one, in units in the last place of f32. 0.5 is one rounding.
double bound_of(UnaryOp op) {
  switch (op) {
    // One rounding of the polynomial's sum, one of the scaling, and what the coefficients leave.
    case UnaryOp::exp:
    case UnaryOp::exp2: return 1.5;
    case UnaryOp::expm1: return 2;  // the same at half size, and the difference of two such numbers
    case UnaryOp::log: return 1;
    case UnaryOp::log2:
    case UnaryOp::log10: return 2;  // the logarithm of the mantissa times a rounded constant
    case UnaryOp::log1p: return 2.0;
    // Highway promises 3 for sine and cosine, 2 or 3 for the inverse functions; a tangent is a quotient of two.
    case UnaryOp::sin:
    case UnaryOp::cos:
    case UnaryOp::asin:
    case UnaryOp::acos:
    case UnaryOp::atan: return 3;
    case UnaryOp::tan: return 5;
    case UnaryOp::sinh:
    case UnaryOp::cosh:
    case UnaryOp::tanh: return 3;  // an exponential of which a sum and a quotient are taken
    case UnaryOp::erf: return 3;
    case UnaryOp::rsqrt: return 1.5;  // two roundings
    case UnaryOp::sigmoid:
    case UnaryOp::silu:
    case UnaryOp::mish: return 4;  // an exponential, sums, a quotient, a product
    case UnaryOp::log_sigmoid:
    case UnaryOp::softplus: return 2.5;
    // The rounding of an exponent that reaches x^2 / 2 = 100, or 80 z: elementwise_test has the reason.
    case UnaryOp::gelu:
    case UnaryOp::gelu_tanh: return 200;
    case UnaryOp::hardsigmoid: return 1.5;
    case UnaryOp::hardswish: return 2;
    case UnaryOp::elu: return 3;
    case UnaryOp::selu: return 4;  // times two rounded constants
    case UnaryOp::celu: return 4;  // and the rounding of x / alpha
    case UnaryOp::softsign: return 1.5;
    case UnaryOp::xielu: return 3;
    default: return 0.5;
  }
}

/// What counts as the size of the result: that of its largest part, where parts cancel.
double magnitude(const Unary& call, double x, double y) {
  const double a = std::fabs(static_cast<double>(call.a)), b = std::fabs(static_cast<double>(call.b));
  if (call.op == UnaryOp::tanhshrink) return std::max(std::fabs(y), 4 * std::fabs(x));  // tanh(x) with its own four units
  if (call.op == UnaryOp::hardsigmoid || call.op == UnaryOp::hardswish) return std::max(std::fabs(y), std::fabs(x));  // x + 3
  if (call.op == UnaryOp::xielu) return std::max(std::fabs(y), std::fabs(x) * (0.5 + (x > 0 ? a * std::fabs(x) : b)));
  if (call.op == UnaryOp::softplus) return std::max(std::fabs(y), std::fabs(x) * std::min(1.0, std::exp(a * x)));  // beta x is rounded
  return std::fabs(y);
}

/// The smallest unit: that of subnormal numbers, and of those times x where the result is x times one.
double smallest_unit(UnaryOp op, double x) {
  const bool product = op == UnaryOp::silu || op == UnaryOp::mish || op == UnaryOp::gelu || op == UnaryOp::gelu_tanh;
  return product ? std::max(1.0, std::min(std::fabs(x), 200.0)) * 0x1p-149 : 0x1p-149;
}

double ulp_of(double y) {
  const double size = std::fabs(y);
  if (size < 0x1p-126) return 0x1p-149;
  return std::ldexp(1.0, std::ilogb(size) - 23);
}

/// Distance in units in the last place; 0 for equal numbers, NaN for NaN, and infinity where the exact result rounds to it.
double distance(float got, double exact, double size, double smallest) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9;
  if (static_cast<double>(got) == exact) return 0;
  if (std::isnan(got)) return 1e9;
  // The exponential's last places decide where infinity begins.
  const double most = static_cast<double>(std::numeric_limits<float>::max());
  if (std::isinf(got)) return std::fabs(exact) > most * (1 - 0x1p-20) && std::signbit(got) == std::signbit(exact) ? 0 : 1e9;
  if (std::fabs(exact) > most) return std::fabs(static_cast<double>(got)) > most * (1 - 0x1p-20) ? 0 : 1e9;
  return std::fabs(static_cast<double>(got) - exact) / std::max(ulp_of(size), smallest);
}

/// Every bf16 number, and f32 numbers of all exponents, most of them near 1.
const std::vector<float>& numbers() {
  static const std::vector<float> all = [] {
    std::vector<float> v;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) v.push_back(to_f32(bf16{static_cast<std::uint16_t>(bits)}));
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (int i = 0; i < 20000; ++i) v.push_back(std::ldexp(normal(random), static_cast<int>(random() % 24) - 8));
    for (int i = 0; i < 20000; ++i) {
      const auto bits = static_cast<std::uint32_t>(random());
      float f = 0;
      std::memcpy(&f, &bits, 4);
      v.push_back(f);
    }
    // Where exponentials change their power of two, and where angles pass through zero.
    for (int n = -150; n <= 130; ++n)
      for (const double half : {0.0, 0.5}) v.push_back(static_cast<float>((n + half) * std::log(2.0)));
    for (int n = -3000; n <= 3000; ++n) v.push_back(static_cast<float>(n * std::acos(0.0)));
    for (const float x : {29999.0f, 30000.0f, 30001.0f, 39000.0f, 1e6f, 1e10f, 3e38f, 88.72283f, 88.72284f, 89.4159f, -87.4f, -103.9f, -104.1f})
      for (const float sign : {1.0f, -1.0f}) v.push_back(sign * x);
    return v;
  }();
  return all;
}

TEST(Unary, EveryOpOfEveryKindOfNumber) {
  Context ctx({.threads = 2, .isa = {}});
  const std::vector<float>& in = numbers();
  const Tensor x = Tensor::from<float>(in, Shape{static_cast<std::int64_t>(in.size())});
  for (const std::string& row : ops::runnable_rows(ctx, "unary")) {
    ctx.force("unary", row);
    for (const Unary& call : all_calls()) {
      Tensor y = Tensor::empty(x.shape(), DType::f32);
      ops::unary(ctx, x, call, y);
      double worst = 0;
      std::size_t at = 0;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const auto v = static_cast<double>(in[i]);
        const double exact = reference::unary(ops::name(call.op), v, static_cast<double>(call.a), static_cast<double>(call.b));
        const double off = distance(y.data<float>()[i], exact, magnitude(call, v, exact), smallest_unit(call.op, v));
        if (off > worst) {
          worst = off;
          at = i;
        }
      }
      EXPECT_LE(worst, bound_of(call.op)) << row << ": " << ops::name(call.op) << "(" << in[at] << "; " << call.a << ", " << call.b
                                          << ") = " << y.data<float>()[at];
    }
  }
}

TEST(Unary, PowersOfTwoAreExact) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "unary")) {
    ctx.force("unary", row);
    for (int n = -149; n <= 127; ++n) {
      const Tensor power = Tensor::from<float>(std::vector<float>{std::ldexp(1.0f, n)}, Shape{1});
      const Tensor exponent = Tensor::from<float>(std::vector<float>{static_cast<float>(n)}, Shape{1});
      EXPECT_EQ(ops::unary(ctx, power, {UnaryOp::log2}).data<float>()[0], static_cast<float>(n)) << row;
      EXPECT_EQ(ops::unary(ctx, exponent, {UnaryOp::exp2}).data<float>()[0], std::ldexp(1.0f, n)) << row;
    }
  }
}

Tensor random(const Shape& shape, DType dtype, unsigned seed, bool gap) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 3);
  const Shape wide{shape.rows(), shape.cols() + (gap ? 2 : 0)};
  Tensor t = Tensor::zeros(wide, dtype);
  for (std::int64_t i = 0; i < wide.numel(); ++i) {
    const float v = normal(engine);
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(v);
    else
      t.data<float>()[i] = v;
  }
  return gap ? t.columns(0, shape.cols()) : t;
}

float get(const Tensor& t, std::int64_t r, std::int64_t c) {
  const std::int64_t at = r * t.row_stride() + c;
  return t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[at]) : t.data<float>()[at];
}

/// Whatever the dtypes and strides, the bits are those of f32 elements one by one, rounded once to bf16.
TEST(Unary, DtypesStridesAndPlacesChangeNothing) {
  Context ctx({.threads = 2, .isa = {}});
  const std::vector<Unary> some = {{UnaryOp::exp}, {UnaryOp::gelu}, {UnaryOp::relu}, {UnaryOp::sin}, {UnaryOp::lgamma}, {UnaryOp::clip, -1, 2}};
  for (const std::string& row : ops::runnable_rows(ctx, "unary")) {
    ctx.force("unary", row);
    for (const auto& s : reference::read_shapes("unary", 2))
      for (const Unary& call : some)
        for (const DType from : {DType::f32, DType::bf16})
          for (const DType to : {DType::f32, DType::bf16})
            for (const bool gap : {false, true}) {
              const Tensor x = random(Shape{s[0], s[1]}, from, 1, gap);
              Tensor y = random(Shape{s[0], s[1]}, to, 2, gap);
              const std::int64_t step = s[1] > 1000 ? 41 : 1;
              std::vector<float> picked;
              for (std::int64_t r = 0; r < s[0]; ++r)
                for (std::int64_t c = 0; c < s[1]; c += step) picked.push_back(get(x, r, c));
              ops::unary(ctx, x, call, y);
              if (picked.empty()) continue;
              const Tensor one = ops::unary(ctx, Tensor::from<float>(picked, Shape{static_cast<std::int64_t>(picked.size())}), call);
              std::size_t i = 0;
              for (std::int64_t r = 0; r < s[0]; ++r)
                for (std::int64_t c = 0; c < s[1]; c += step) {
                  const float expected = one.data<float>()[i++];
                  const float rounded = to == DType::bf16 ? to_f32(to_bf16(expected)) : expected;
                  ASSERT_TRUE(get(y, r, c) == rounded || (std::isnan(rounded) && std::isnan(get(y, r, c))))
                      << row << " " << ops::name(call.op) << " " << x.str() << " to " << y.str() << " at " << r << ", " << c;
                }
              if (from == to) {
                Tensor same = random(Shape{s[0], s[1]}, from, 1, gap);
                ops::unary(ctx, same, call, same);
                for (std::int64_t r = 0; r < s[0]; ++r)
                  for (std::int64_t c = 0; c < s[1]; c += step)
                    ASSERT_TRUE(get(same, r, c) == get(y, r, c) || std::isnan(get(y, r, c))) << row << " " << ops::name(call.op) << " in place";
              }
            }
  }
}

template <class T>
void check_integers(Context& ctx, const std::string& row) {
  std::mt19937 engine(3);
  std::vector<T> in = {0, 1, 2, 5, 6, 7, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), static_cast<T>(-1), static_cast<T>(-7)};
  while (in.size() < 1003) in.push_back(static_cast<T>(engine()));
  const Tensor x = Tensor::from<T>(std::span<const T>(in), Shape{17, 59});
  const std::vector<std::tuple<Unary, std::int64_t, std::int64_t>> calls = {
      {{UnaryOp::identity}, 0, 0},
      {{UnaryOp::abs}, 0, 0},
      {{UnaryOp::neg}, 0, 0},
      {{UnaryOp::sign}, 0, 0},
      {{UnaryOp::square}, 0, 0},
      {{UnaryOp::relu}, 0, 0},
      {{UnaryOp::relu6}, 0, 0},
      {{UnaryOp::logical_not}, 0, 0},
      {{UnaryOp::clip, 3, 100}, 3, 100},
      {{UnaryOp::clip, 2.5f, 99.5f}, 3, 99},
      {{UnaryOp::clip, kNan, 7}, std::numeric_limits<T>::min(), 7},
      {{UnaryOp::clip, -kInf, kInf}, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()},
      {{UnaryOp::clip, 9, 4}, 4, 4}};
  for (const auto& [call, low, high] : calls) {
    const Tensor y = ops::unary(ctx, x, call);
    ASSERT_EQ(y.dtype(), dtype_of<T>::value);
    for (std::size_t i = 0; i < in.size(); ++i)
      ASSERT_EQ(y.data<T>()[i], static_cast<T>(reference::whole_unary(ops::name(call.op), static_cast<std::int64_t>(in[i]), low, high)))
          << row << " " << ops::name(call.op) << " of " << +in[i];
    Tensor part = Tensor::zeros(Shape{17, 61}, y.dtype()).columns(1, 59);
    ops::unary(ctx, x, call, part);
    for (std::int64_t r = 0; r < 17; ++r) ASSERT_EQ(std::memcmp(part.data<T>() + r * 61, y.data<T>() + r * 59, 59 * sizeof(T)), 0);
  }
}

TEST(Unary, WholeNumbersAreExactAndWrap) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "unary")) {
    ctx.force("unary", row);
    check_integers<std::int32_t>(ctx, row);
    check_integers<std::uint32_t>(ctx, row);
    check_integers<std::uint16_t>(ctx, row);
    check_integers<std::uint8_t>(ctx, row);
  }
}

TEST(Unary, ThreadsChangeNoBitAndTheSecondCallDoesNotAllocate) {
  const Tensor x = random(Shape{3, 70001}, DType::f32, 5, true);
  std::vector<std::vector<std::byte>> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    std::vector<std::vector<std::byte>> results;
    for (const UnaryOp op : {UnaryOp::exp, UnaryOp::tan, UnaryOp::gelu}) {
      Tensor y = Tensor::zeros(Shape{3, 70001}, DType::bf16);
      ops::unary(ctx, x, {op}, y);
      EXPECT_EQ(reference::allocations_in([&] { ops::unary(ctx, x, {op}, y); }), 0);
      const auto* const p = static_cast<const std::byte*>(y.raw());
      results.emplace_back(p, p + y.bytes());
    }
    if (first.empty()) first = results;
    EXPECT_EQ(results, first) << threads;
  }
}

TEST(Unary, EveryNameComesBack) {
  std::size_t count = 0;
  for (; count <= static_cast<std::size_t>(UnaryOp::xielu); ++count) {
    const auto op = static_cast<UnaryOp>(count);
    EXPECT_EQ(ops::unary_op(ops::name(op)), op);
    EXPECT_NO_THROW(reference::unary(ops::name(op), 0.5, 1, 1));
  }
  EXPECT_EQ(ops::name(UnaryOp::leaky_relu), "leaky_relu");
  EXPECT_EQ(ops::name(UnaryOp::clip), "clip");
  EXPECT_EQ(ops::unary_op("no_such_op"), std::nullopt);
  EXPECT_EQ(ops::name(static_cast<UnaryOp>(count)), "?");
}

TEST(Unary, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{4, 8}, DType::f32);
  const Tensor whole = Tensor::zeros(Shape{4, 8}, DType::i32);
  Tensor y = Tensor::zeros(Shape{4, 8}, DType::f32);
  const auto bad = [&](const char* op, const char* part, const Tensor& from, const Unary& call, Tensor to) {
    reference::expect_error(op, part, [&] { ops::unary(ctx, from, call, to); });
  };
  bad("relu", "y of shape [4, 8]", x, {UnaryOp::relu}, Tensor::zeros(Shape{8, 4}, DType::f32));
  bad("relu", "row-major", Tensor(), {UnaryOp::relu}, y);
  bad("relu", "row-major", x, {UnaryOp::relu}, Tensor());
  bad("relu", "row-major", Tensor::zeros(Shape{4, 8}, DType::f32, Layout::tile), {UnaryOp::relu}, y);
  bad("relu", "of float32", Tensor::zeros(Shape{4, 8}, DType::f16), {UnaryOp::relu}, y);
  bad("relu", "one integer dtype", whole, {UnaryOp::relu}, y);
  bad("exp", "float32 or bfloat16", whole, {UnaryOp::exp}, Tensor::zeros(Shape{4, 8}, DType::i32));
  bad("celu", "alpha other than 0", x, {UnaryOp::celu}, y);
  bad("softplus", "beta other than 0", x, {UnaryOp::softplus}, y);
  reference::expect_error("relu", "a tensor", [&] { ops::unary(ctx, Tensor(), {UnaryOp::relu}); });
}

TEST(Unary, ReportsItsWork) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{32, 32}, DType::bf16);
  ctx.force("unary", "scalar");
  ctx.profiler().start();
  ops::unary(ctx, x, {UnaryOp::tanh});
  ctx.profiler().stop();
  EXPECT_STREQ(ctx.profiler().records().at(0).op, "tanh");
  EXPECT_STREQ(ctx.profiler().records().at(0).path, "scalar");
  EXPECT_EQ(ctx.profiler().records().at(0).bytes, 4096.0);
}

}  // namespace
}  // namespace tessera

#include "tessera/ops/binary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/binary.h"
#include "tests/reference/errors.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::BinaryOp;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<BinaryOp> all_ops() {
  std::vector<BinaryOp> all;
  for (std::size_t i = 0; i <= static_cast<std::size_t>(BinaryOp::squared_difference); ++i) all.push_back(static_cast<BinaryOp>(i));
  return all;
}
bool bitwise(BinaryOp op) { return op == BinaryOp::bitwise_and || op == BinaryOp::bitwise_or || op == BinaryOp::bitwise_xor; }

double get(const Tensor& t, std::int64_t i) {
  switch (t.dtype()) {
    case DType::f32: return static_cast<double>(t.data<float>()[i]);
    case DType::bf16: return static_cast<double>(to_f32(t.data<bf16>()[i]));
    case DType::i32: return t.data<std::int32_t>()[i];
    case DType::u32: return t.data<std::uint32_t>()[i];
    case DType::u16: return t.data<std::uint16_t>()[i];
    case DType::i8: return t.data<std::int8_t>()[i];
    default: return t.data<std::uint8_t>()[i];
  }
}
void put(Tensor& t, std::int64_t i, double v) {
  switch (t.dtype()) {
    case DType::f32: t.data<float>()[i] = static_cast<float>(v); return;
    case DType::bf16: t.data<bf16>()[i] = to_bf16(static_cast<float>(v)); return;
    case DType::i32: t.data<std::int32_t>()[i] = static_cast<std::int32_t>(v); return;
    case DType::u32: t.data<std::uint32_t>()[i] = static_cast<std::uint32_t>(v); return;
    case DType::u16: t.data<std::uint16_t>()[i] = static_cast<std::uint16_t>(v); return;
    case DType::i8: t.data<std::int8_t>()[i] = static_cast<std::int8_t>(v); return;
    default: t.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(v); return;
  }
}

/// Small multiples of 1/4, so that equal numbers, zeros and whole quotients are among them; whole numbers of both signs where the dtype has them.
Tensor numbers(const std::vector<std::int64_t>& shape, DType dtype, unsigned seed) {
  std::mt19937 engine(seed);
  Tensor t = Tensor::zeros(Shape(std::span<const std::int64_t>(shape)), dtype);
  const bool real = dtype == DType::f32 || dtype == DType::bf16;
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const double v = static_cast<double>(engine() % 41) - 20;
    put(t, i, real ? v / 4 : dtype == DType::i32 || dtype == DType::i8 ? v : v + 20);
  }
  return t;
}

bool same(double got, double expected) { return got == expected || (std::isnan(got) && std::isnan(expected)); }

/// What a result of f32 arithmetic becomes in y.
double stored(double exact, DType y) {
  const auto f = static_cast<float>(exact);
  return static_cast<double>(y == DType::bf16 ? to_f32(to_bf16(f)) : f);
}

TEST(Binary, EveryOpBroadcastsEveryWay) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "binary")) {
    ctx.force("binary", row);
    for (const auto& s : reference::read_shapes("binary", 8)) {
      const std::vector<std::int64_t> sa(s.begin(), s.begin() + 4), sb(s.begin() + 4, s.end());
      const Shape shape = ops::broadcast_shape(Shape(std::span<const std::int64_t>(sa)), Shape(std::span<const std::int64_t>(sb)));
      const std::vector<std::int64_t> so(shape.sizes().begin(), shape.sizes().end());
      const std::int64_t step = shape.numel() > 5000 ? 37 : 1;
      for (const BinaryOp op : all_ops())
        for (const DType da : {DType::f32, DType::bf16})
          for (const DType db : {DType::f32, DType::bf16})
            for (const DType dy : {DType::f32, DType::bf16}) {
              if (bitwise(op) || (da != db && op > BinaryOp::multiply)) continue;
              const Tensor a = numbers(sa, da, 1), b = numbers(sb, db, 2);
              Tensor y = Tensor::empty(shape, dy);
              ops::binary(ctx, a, b, op, y);
              for (std::int64_t i = 0; i < shape.numel(); i += step) {
                const double p = get(a, reference::broadcast_place(so, sa, i)), q = get(b, reference::broadcast_place(so, sb, i));
                const double exact = reference::binary(ops::name(op), p, q);
                // One rounding of the exact result to f32, and from it to bf16; powers and gelu have an error of their own, tested below.
                if (op == BinaryOp::power || op == BinaryOp::bias_gelu)
                  ASSERT_TRUE(same(get(y, i), exact) || std::fabs(get(y, i) - exact) <= (dy == DType::bf16 ? 0x1p-8 : 0x1p-16) * std::fabs(exact) ||
                              std::fabs(exact) < 1e-30)
                      << row << " " << ops::name(op) << "(" << p << ", " << q << ") = " << get(y, i) << ", not " << exact;
                else
                  ASSERT_TRUE(same(get(y, i), stored(exact, dy))) << row << " " << ops::name(op) << "(" << p << ", " << q << ") = " << get(y, i)
                                                                  << ", not " << exact << " at " << i << " of " << a.str() << " and " << b.str();
              }
            }
    }
  }
}

template <class T>
void check_integers(Context& ctx, const std::string& row) {
  constexpr DType dtype = dtype_of<T>::value;
  const std::vector<T> ends = {
      0, 1, 2, 3, 31, static_cast<T>(-1), static_cast<T>(-2), static_cast<T>(-31), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
  for (const BinaryOp op : all_ops()) {
    if (op == BinaryOp::bias_gelu) continue;
    // Every pair of the ends, as a broadcast of a column and a row.
    const auto n = static_cast<std::int64_t>(ends.size());
    const Tensor column = Tensor::from<T>(std::span<const T>(ends), Shape{n, 1}), line = Tensor::from<T>(std::span<const T>(ends), Shape{n});
    Tensor y = Tensor::empty(Shape{n, n}, dtype);
    ops::binary(ctx, column, line, op, y);
    for (std::size_t i = 0; i < ends.size(); ++i)
      for (std::size_t j = 0; j < ends.size(); ++j) {
        if (op == BinaryOp::power && static_cast<std::int64_t>(ends[j]) > 1000) continue;  // the reference multiplies one by one
        const auto expected =
            static_cast<T>(reference::whole_binary(ops::name(op), static_cast<std::int64_t>(ends[i]), static_cast<std::int64_t>(ends[j])));
        ASSERT_EQ(y.data<T>()[i * ends.size() + j], expected) << row << " " << ops::name(op) << "(" << +ends[i] << ", " << +ends[j] << ")";
      }
    for (const auto& s : reference::read_shapes("binary", 8)) {
      const std::vector<std::int64_t> sa(s.begin(), s.begin() + 4), sb(s.begin() + 4, s.end());
      const Tensor a = numbers(sa, dtype, 3), b = numbers(sb, dtype, 4);
      const Shape shape = ops::broadcast_shape(a.shape(), b.shape());
      const std::vector<std::int64_t> so(shape.sizes().begin(), shape.sizes().end());
      Tensor z = Tensor::empty(shape, dtype);
      ops::binary(ctx, a, b, op, z);
      for (std::int64_t i = 0; i<shape.numel(); i += shape.numel()> 5000 ? 37 : 1) {
        const T p = a.data<T>()[reference::broadcast_place(so, sa, i)], q = b.data<T>()[reference::broadcast_place(so, sb, i)];
        const auto expected = static_cast<T>(reference::whole_binary(ops::name(op), static_cast<std::int64_t>(p), static_cast<std::int64_t>(q)));
        ASSERT_EQ(z.data<T>()[i], expected) << row << " " << ops::name(op) << "(" << +p << ", " << +q << ") at " << i;
      }
    }
  }
}

TEST(Binary, WholeNumbersAreExactAndWrap) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "binary")) {
    ctx.force("binary", row);
    check_integers<std::int32_t>(ctx, row);
    check_integers<std::uint32_t>(ctx, row);
    check_integers<std::uint16_t>(ctx, row);
    check_integers<std::uint8_t>(ctx, row);
  }
}

/// Numbers at the ends of what functions of two numbers can do, in all pairs, and random ones of all exponents.
TEST(Binary, HardPairsOfFloats) {
  Context ctx({.threads = 1, .isa = {}});
  std::vector<float> ends = {0.0f,  -0.0f,  1.0f, -1.0f, 0.5f,     -0.5f,       2.0f,        -2.0f,       3.0f,   -3.0f,       2.5f,      -2.5f,
                             kInf,  -kInf,  kNan, 3e38f, -3e38f,   1e-40f,      -1e-40f,     0x1p-149f,   127.0f, 128.0f,      -149.0f,   -150.0f,
                             1e10f, -1e10f, 0.1f, -0.1f, 1.0f / 3, 16777216.0f, 16777217.0f, 33554432.0f, 1e-30f, 0.99999994f, 1.0000001f};
  std::vector<float> a, b;
  for (const float p : ends)
    for (const float q : ends) {
      a.push_back(p);
      b.push_back(q);
    }
  std::mt19937 engine(11);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 60000; ++i) {
    float f[2];
    const std::uint32_t bits[2] = {static_cast<std::uint32_t>(engine()), static_cast<std::uint32_t>(engine())};
    std::memcpy(f, bits, 8);
    const bool wild = i % 3 == 0;
    a.push_back(wild ? f[0] : std::ldexp(normal(engine), static_cast<int>(engine() % 20) - 6));
    b.push_back(wild ? f[1] : std::ldexp(normal(engine), static_cast<int>(engine() % 12) - 6));
  }
  const Tensor ta = Tensor::from<float>(a, Shape{static_cast<std::int64_t>(a.size())});
  const Tensor tb = Tensor::from<float>(b, Shape{static_cast<std::int64_t>(b.size())});
  for (const std::string& row : ops::runnable_rows(ctx, "binary")) {
    ctx.force("binary", row);
    for (const BinaryOp op : all_ops()) {
      if (bitwise(op) || op == BinaryOp::bias_gelu) continue;
      Tensor y = Tensor::empty(ta.shape(), DType::f32);
      ops::binary(ctx, ta, tb, op, y);
      for (std::size_t i = 0; i < a.size(); ++i) {
        const float got = y.data<float>()[i];
        const double exact = reference::binary(ops::name(op), static_cast<double>(a[i]), static_cast<double>(b[i]));
        auto expected = static_cast<float>(exact);
        // b - a is rounded before it is squared.
        if (op == BinaryOp::squared_difference) {
          const volatile float difference = a[i] - b[i];
          expected = difference * difference;
        }
        // The power in f64 is good to about 1e-11 of itself: one that lies that near the middle of two f32 may round to either.
        const bool close =
            op == BinaryOp::power && (got == std::nextafter(expected, kInf) || got == std::nextafter(expected, -kInf)) &&
            std::fabs(std::fabs(exact - static_cast<double>(got)) - std::fabs(exact - static_cast<double>(expected))) <= 1e-10 * std::fabs(exact);
        // Quotients too large for 53 bits are rounded twice.
        const bool large =
            op == BinaryOp::floor_divide && std::fabs(exact) > 0x1p52 && std::fabs(static_cast<double>(got) - exact) <= 0x1p-23 * std::fabs(exact);
        ASSERT_TRUE(same(static_cast<double>(got), static_cast<double>(expected)) || close || large)
            << row << " " << ops::name(op) << "(" << a[i] << ", " << b[i] << ") = " << got << ", not " << expected;
        if (got == 0 && (op == BinaryOp::power || op == BinaryOp::fmod)) ASSERT_EQ(std::signbit(got), std::signbit(exact)) << a[i] << ", " << b[i];
      }
    }
  }
}

TEST(Binary, ANumberServesForB) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "binary")) {
    ctx.force("binary", row);
    for (const std::int64_t n : {1, 7, 1024, 1100})
      for (const DType dtype : {DType::f32, DType::bf16, DType::i32, DType::u32, DType::u16, DType::u8})
        for (const BinaryOp op : all_ops()) {
          const bool real = dtype == DType::f32 || dtype == DType::bf16;
          if (real ? bitwise(op) : op == BinaryOp::bias_gelu) continue;
          for (const double number : {0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -2.0}) {
            if (!real && (number != std::trunc(number) || (number < 0 && dtype != DType::i32))) continue;
            const Tensor a = numbers({n}, dtype, 5);
            Tensor b = Tensor::zeros(Shape{1}, dtype);
            put(b, 0, number);
            Tensor y = Tensor::empty(a.shape(), dtype), expected = Tensor::empty(a.shape(), dtype);
            ops::binary(ctx, a, number, op, y);
            ops::binary(ctx, a, b, op, expected);
            for (std::int64_t i = 0; i < n; ++i) {
              ASSERT_TRUE(same(get(y, i), get(expected, i))) << row << " " << ops::name(op) << " " << name(dtype);
              if (real && op == BinaryOp::power) {
                const double exact = std::pow(get(a, i), number);
                ASSERT_TRUE(same(get(y, i), stored(exact, dtype)) || std::fabs(get(y, i) - exact) <= 0x1p-23 * std::fabs(exact))
                    << get(a, i) << " ^ " << number;
              }
            }
          }
        }
    // Powers that have loops of their own treat the ends alike.
    const Tensor ends = Tensor::from<float>(std::vector<float>{0.0f, -0.0f, kInf, -kInf, kNan, -1.0f, 4.0f}, Shape{7});
    for (const double number : {2.0, 1.0, -1.0, 0.5}) {
      Tensor y = Tensor::empty(Shape{7}, DType::f32);
      ops::binary(ctx, ends, number, BinaryOp::power, y);
      for (std::int64_t i = 0; i < 7; ++i) ASSERT_TRUE(same(get(y, i), std::pow(get(ends, i), number))) << get(ends, i) << " ^ " << number;
    }
  }
}

TEST(Binary, YMayBeAnOperand) {
  Context ctx({.threads = 2, .isa = {}});
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32, DType::u8}) {
    const Tensor a = numbers({70, 1100}, dtype, 6), b = numbers({70, 1100}, dtype, 7), v = numbers({1100}, dtype, 8);
    const auto copy = [](const Tensor& t) {
      Tensor c = Tensor::empty(t.shape(), t.dtype());
      std::memcpy(c.raw(), t.raw(), t.bytes());
      return c;
    };
    const auto check = [&](const Tensor& p, const Tensor& q, bool into_a) {
      Tensor apart = Tensor::empty(Shape{70, 1100}, dtype), pa = copy(p), qb = copy(q);
      ops::binary(ctx, p, q, BinaryOp::rsub, apart);
      ops::binary(ctx, pa, qb, BinaryOp::rsub, into_a ? pa : qb);
      EXPECT_EQ(std::memcmp((into_a ? pa : qb).raw(), apart.raw(), apart.bytes()), 0) << name(dtype);
    };
    check(a, b, true);
    check(a, b, false);
    check(a, v, true);
    check(v, b, false);
    Tensor both = copy(a);
    ops::binary(ctx, both, both, BinaryOp::multiply, both);
    for (std::int64_t i = 0; i < 50; ++i)
      EXPECT_EQ(get(both, i), dtype == DType::u8 ? std::fmod(get(a, i) * get(a, i), 256) : stored(get(a, i) * get(a, i), dtype));
  }
}

TEST(Binary, WhereTakesFromEitherSide) {
  Context ctx({.threads = 2, .isa = {}});
  struct Case {
    std::vector<std::int64_t> c, a, b;
  };
  const std::vector<Case> cases = {{{32, 32}, {32, 32}, {32, 32}},
                                   {{5, 1}, {5, 7}, {7}},
                                   {{1}, {3, 700}, {3, 1}},
                                   {{2, 3, 4, 5}, {1}, {1}},
                                   {{3}, {200, 1}, {200, 3}},
                                   {{200, 3}, {1, 3}, {200, 1}},
                                   {{2, 1, 1, 600}, {4, 1, 1}, {2, 4, 1, 600}},
                                   {{1, 70001}, {70001}, {1}},
                                   {{0, 3}, {3}, {1}}};
  for (const std::string& row : ops::runnable_rows(ctx, "binary")) {
    ctx.force("binary", row);
    for (const Case& c : cases)
      for (const DType dc : {DType::f32, DType::bf16, DType::i32, DType::u32, DType::u16, DType::u8, DType::i8})
        for (const auto& [da, db, dy] : std::vector<std::tuple<DType, DType, DType>>{{DType::f32, DType::f32, DType::f32},
                                                                                     {DType::bf16, DType::bf16, DType::bf16},
                                                                                     {DType::bf16, DType::f32, DType::f32},
                                                                                     {DType::f32, DType::bf16, DType::bf16},
                                                                                     {DType::i32, DType::i32, DType::i32},
                                                                                     {DType::u32, DType::u32, DType::u32},
                                                                                     {DType::u16, DType::u16, DType::u16},
                                                                                     {DType::u8, DType::u8, DType::u8}}) {
          Tensor condition = numbers(c.c, dc, 9);
          for (std::int64_t i = 0; i < condition.numel(); i += 3) put(condition, i, 0);
          const Tensor a = numbers(c.a, da, 10), b = numbers(c.b, db, 11);
          const Shape shape = ops::broadcast_shape(condition.shape(), ops::broadcast_shape(a.shape(), b.shape()));
          const std::vector<std::int64_t> so(shape.sizes().begin(), shape.sizes().end());
          Tensor y = Tensor::empty(shape, dy);
          ops::where(ctx, condition, a, b, y);
          for (std::int64_t i = 0; i<shape.numel(); i += shape.numel()> 5000 ? 37 : 1) {
            const bool first = get(condition, reference::broadcast_place(so, c.c, i)) != 0;
            ASSERT_EQ(get(y, i), first ? get(a, reference::broadcast_place(so, c.a, i)) : get(b, reference::broadcast_place(so, c.b, i)))
                << row << " " << condition.str() << a.str() << b.str() << " at " << i;
          }
        }
    const Tensor ends = Tensor::from<float>(std::vector<float>{kNan, 0.0f, -0.0f, 1e-45f}, Shape{4});
    Tensor y = Tensor::empty(Shape{4}, DType::f32);
    ops::where(ctx, ends, Tensor::from<float>(std::vector<float>{1}, Shape{1}), Tensor::from<float>(std::vector<float>{kNan}, Shape{1}), y);
    EXPECT_EQ(get(y, 0), 1);
    EXPECT_TRUE(std::isnan(get(y, 1)));
    EXPECT_TRUE(std::isnan(get(y, 2)));
    EXPECT_EQ(get(y, 3), 1);
  }
}

TEST(Binary, ThreadsChangeNoBitAndTheSecondCallDoesNotAllocate) {
  const Tensor a = numbers({3, 1, 70001}, DType::f32, 12), b = numbers({5, 1}, DType::bf16, 13);
  std::vector<std::vector<std::byte>> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    std::vector<std::vector<std::byte>> results;
    for (const BinaryOp op : {BinaryOp::add, BinaryOp::power, BinaryOp::remainder}) {
      Tensor y = Tensor::zeros(Shape{3, 5, 70001}, DType::bf16);
      const auto call = [&] {
        ops::binary(ctx, a, b, op, y);
        ops::binary(ctx, y, 2.5, op, y);
        ops::where(ctx, b, a, b, y);
        ops::binary(ctx, a, b, op, y);
      };
      call();
      EXPECT_EQ(reference::allocations_in(call), 0);
      const auto* const p = static_cast<const std::byte*>(y.raw());
      results.emplace_back(p, p + y.bytes());
    }
    if (first.empty()) first = results;
    EXPECT_EQ(results, first) << threads;
  }
}

TEST(Binary, ShapesOfAnyRankBroadcast) {
  EXPECT_EQ(ops::broadcast_shape(Shape{}, Shape{3, 4}), (Shape{3, 4}));
  EXPECT_EQ(ops::broadcast_shape(Shape{3, 1, 5}, Shape{4, 1}), (Shape{3, 4, 5}));
  EXPECT_EQ(ops::broadcast_shape(Shape{0, 1}, Shape{1, 4}), (Shape{0, 4}));
  EXPECT_EQ(ops::broadcast_shape(Shape{1}, Shape{0}), (Shape{0}));
  EXPECT_EQ(ops::broadcast_shape(Shape{2, 1, 2, 1, 2, 1, 2, 1}, Shape{3, 1, 3, 1, 3, 1, 3}), (Shape{2, 3, 2, 3, 2, 3, 2, 3}));
  reference::expect_error("binary", "Invalid subtile broadcast type", [] { ops::broadcast_shape(Shape{3, 4}, Shape{3}); });
  reference::expect_error("binary", "[2, 4] and [0, 4]", [] { ops::broadcast_shape(Shape{2, 4}, Shape{0, 4}); });
  Context ctx({.threads = 1, .isa = {}});
  const std::vector<std::int64_t> sa = {2, 1, 2, 1, 2, 1, 2, 1}, sb = {3, 1, 3, 1, 3, 1, 3}, so = {2, 3, 2, 3, 2, 3, 2, 3};
  const Tensor a = numbers(sa, DType::f32, 1), b = numbers(sb, DType::f32, 2);
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(so)), DType::f32);
  ops::binary(ctx, a, b, BinaryOp::subtract, y);
  for (std::int64_t i = 0; i < y.numel(); ++i)
    ASSERT_EQ(get(y, i), get(a, reference::broadcast_place(so, sa, i)) - get(b, reference::broadcast_place(so, sb, i)));
}

TEST(Binary, EveryNameComesBack) {
  for (const BinaryOp op : all_ops()) {
    EXPECT_EQ(ops::binary_op(ops::name(op)), op);
    if (!bitwise(op)) EXPECT_NO_THROW(reference::binary(ops::name(op), 0.5, 1));
  }
  EXPECT_EQ(ops::name(BinaryOp::squared_difference), "squared_difference");
  EXPECT_EQ(ops::name(BinaryOp::prelu), "prelu");
  EXPECT_EQ(ops::binary_op("no_such_op"), std::nullopt);
  EXPECT_EQ(ops::name(static_cast<BinaryOp>(200)), "?");
}

TEST(Binary, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{4, 8}, DType::f32), whole = Tensor::zeros(Shape{4, 8}, DType::i32),
               small = Tensor::zeros(Shape{4, 8}, DType::u8);
  Tensor y = Tensor::zeros(Shape{4, 8}, DType::f32);
  const auto bad = [&](const char* op, const char* part, const Tensor& a, const Tensor& b, BinaryOp which, Tensor to) {
    reference::expect_error(op, part, [&] { ops::binary(ctx, a, b, which, to); });
  };
  bad("binary", "Invalid subtile broadcast type", x, Tensor::zeros(Shape{4, 7}, DType::f32), BinaryOp::add, y);
  bad("add", "y of shape [4, 8]", x, x, BinaryOp::add, Tensor::zeros(Shape{4, 9}, DType::f32));
  bad("add", "y of shape [4, 8]", x, Tensor::zeros(Shape{8}, DType::f32), BinaryOp::add, Tensor::zeros(Shape{8}, DType::f32));
  bad("add", "a of float32", Tensor(), x, BinaryOp::add, y);
  bad("add", "b of float32", x, Tensor::zeros(Shape{4, 8}, DType::f16), BinaryOp::add, y);
  bad("add", "y of float32", x, x, BinaryOp::add, Tensor());
  bad("add", "contiguous", Tensor::zeros(Shape{4, 9}, DType::f32).columns(0, 8), x, BinaryOp::add, y);
  bad("add", "row-major", Tensor::zeros(Shape{4, 8}, DType::f32, Layout::tile), x, BinaryOp::add, y);
  bad("add", "one integer dtype", x, whole, BinaryOp::add, y);
  bad("add", "one integer dtype", whole, small, BinaryOp::add, Tensor::zeros(Shape{4, 8}, DType::i32));
  bad("bitwise_and", "integers", x, x, BinaryOp::bitwise_and, y);
  bad("bias_gelu", "float32 or bfloat16", whole, whole, BinaryOp::bias_gelu, Tensor::zeros(Shape{4, 8}, DType::i32));
  Tensor bytes = Tensor::zeros(Shape{64, 8}, DType::f32);
  bad("add", "memory that overlaps", bytes.narrow(0, 32), x.narrow(0, 1), BinaryOp::add, bytes.narrow(16, 32));
  bad("add", "memory that overlaps", bytes.narrow(0, 1), bytes.narrow(32, 32), BinaryOp::add, bytes.narrow(0, 32));
  Tensor z = Tensor::zeros(Shape{4, 8}, DType::u8);
  reference::expect_error("add", "a number that uint8 can hold", [&] { ops::binary(ctx, small, 256, BinaryOp::add, z); });
  reference::expect_error("add", "a number that uint8 can hold", [&] { ops::binary(ctx, small, -1, BinaryOp::add, z); });
  reference::expect_error("add", "a number that uint8 can hold", [&] { ops::binary(ctx, small, 0.5, BinaryOp::add, z); });
  reference::expect_error("add", "a number that uint8 can hold", [&] { ops::binary(ctx, small, std::nan(""), BinaryOp::add, z); });
  reference::expect_error("where", "a condition", [&] { ops::where(ctx, Tensor(), x, x, y); });
  reference::expect_error("where", "a condition", [&] { ops::where(ctx, Tensor::zeros(Shape{4, 8}, DType::f16), x, x, y); });
  reference::expect_error("where", "one integer dtype", [&] { ops::where(ctx, x, x, whole, y); });
  reference::expect_error("where", "y of shape", [&] { ops::where(ctx, Tensor::zeros(Shape{2, 4, 8}, DType::f32), x, x, y); });
}

}  // namespace
}  // namespace tessera

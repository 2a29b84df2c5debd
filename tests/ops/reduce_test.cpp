#include "tessera/ops/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/reduce.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::ReduceOp;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr ReduceOp kAll[] = {ReduceOp::sum, ReduceOp::mean, ReduceOp::max, ReduceOp::min, ReduceOp::prod, ReduceOp::var, ReduceOp::std};
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::i32, DType::u32, DType::u16, DType::u8};

bool is_float(DType d) { return d == DType::f32 || d == DType::bf16; }

double get(const Tensor& t, std::int64_t i) {
  switch (t.dtype()) {
    case DType::f32: return static_cast<double>(t.data<float>()[i]);
    case DType::bf16: return static_cast<double>(to_f32(t.data<bf16>()[i]));
    case DType::i32: return t.data<std::int32_t>()[i];
    case DType::u32: return t.data<std::uint32_t>()[i];
    case DType::u16: return t.data<std::uint16_t>()[i];
    default: return t.data<std::uint8_t>()[i];
  }
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> v;
  for (std::int64_t i = 0; i < t.numel(); ++i) v.push_back(get(t, i));
  return v;
}

/// Floats of both signs, near 1 in magnitude so that products stay; whole numbers over the whole range of their dtype.
Tensor random(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.1f, 1);
  Tensor t = Tensor::zeros(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const float v = normal(engine);
    const auto bits = static_cast<std::uint32_t>(engine());
    switch (dtype) {
      case DType::f32: t.data<float>()[i] = v; break;
      case DType::bf16: t.data<bf16>()[i] = to_bf16(v); break;
      case DType::i32: t.data<std::int32_t>()[i] = static_cast<std::int32_t>(bits); break;
      case DType::u32: t.data<std::uint32_t>()[i] = bits; break;
      case DType::u16: t.data<std::uint16_t>()[i] = static_cast<std::uint16_t>(bits); break;
      default: t.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(bits); break;
    }
  }
  return t;
}

struct Case {
  Shape shape;
  std::vector<std::int64_t> sizes;
  std::vector<bool> reduced;
  std::vector<std::int64_t> dims;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& s : reference::read_shapes("reduce", 8)) {
    Case c;
    c.sizes.assign(s.begin(), s.begin() + 4);
    c.shape = Shape(std::span<const std::int64_t>(c.sizes));
    for (std::size_t d = 0; d < 4; ++d) {
      c.reduced.push_back(s[4 + d] != 0);
      if (c.reduced.back()) c.dims.push_back(d % 2 == 0 ? static_cast<std::int64_t>(d) : static_cast<std::int64_t>(d) - 4);
    }
    if (c.dims.empty()) {  // no dimension would mean all
      c.shape = Shape{c.sizes[0], c.sizes[1], c.sizes[2], c.sizes[3], 1};
      c.sizes.push_back(1);
      c.reduced.push_back(true);
      c.dims.push_back(4);
    }
    all.push_back(c);
  }
  return all;
}

/// The low bits of sums and products of whole numbers, by the definition.
std::uint64_t wrapped(ReduceOp op, const std::vector<double>& x) {
  std::uint64_t y = op == ReduceOp::prod ? 1 : 0;
  for (const double v : x) {
    const auto w = static_cast<std::uint64_t>(static_cast<std::int64_t>(v));
    y = op == ReduceOp::prod ? y * w : y + w;
  }
  return y;
}

double as_dtype(std::uint64_t bits, DType dtype) {
  switch (dtype) {
    case DType::i32: return static_cast<std::int32_t>(bits);
    case DType::u32: return static_cast<std::uint32_t>(bits);
    case DType::u16: return static_cast<std::uint16_t>(bits);
    default: return static_cast<std::uint8_t>(bits);
  }
}

void expect_float(double got, double exact, double magnitude, DType dtype, const std::string& what) {
  // One rounding to f32 (2^-24) and one to bf16 (2^-8); the sums in f64 add far less: 2^-53 a step of what was summed.
  const double bound = (0x1.01p-24 + (dtype == DType::bf16 ? 0x1p-8 : 0)) * std::fabs(exact) + 0x1p-50 * magnitude + 0x1p-149;
  if (std::isnan(exact))
    EXPECT_TRUE(std::isnan(got)) << what;
  else
    EXPECT_LE(std::fabs(got - exact), bound) << what << ": " << got << ", not " << exact;
}

TEST(Reduce, EveryOpOverEveryDimensions) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "reduce")) {
    ctx.force("reduce", row);
    for (const Case& c : cases())
      for (const DType dtype : kTypes) {
        const Tensor x = random(c.shape, dtype, 1);
        const auto elements = reference::reduced_elements(values(x), c.sizes, c.reduced);
        for (const ReduceOp op : kAll) {
          const bool whole = op != ReduceOp::mean && op != ReduceOp::var && op != ReduceOp::std;
          if (!is_float(dtype) && !whole) continue;
          for (const DType to : kTypes) {
            if (is_float(dtype) ? !is_float(to) : to != dtype) continue;
            const bool keepdim = to == dtype;
            const Shape shape = ops::reduced_shape(c.shape, c.dims, keepdim);
            ASSERT_EQ(shape.numel(), static_cast<std::int64_t>(elements.size()));
            Tensor y = Tensor::zeros(shape, to);
            ops::reduce(ctx, x, op, c.dims, y);
            for (std::size_t i = 0; i < elements.size(); ++i) {
              const std::string what = row + " " + std::string(ops::name(op)) + " of " + x.str() + " at " + std::to_string(i);
              const double got = get(y, static_cast<std::int64_t>(i));
              const bool wraps = !is_float(dtype) && (op == ReduceOp::sum || op == ReduceOp::prod);
              if (wraps) {
                ASSERT_EQ(got, as_dtype(wrapped(op, elements[i]), dtype)) << what;
                continue;
              }
              const double exact = reference::reduced(ops::name(op), elements[i]);
              double magnitude = static_cast<double>(elements[i].size()) * std::fabs(exact);
              if (op == ReduceOp::sum || op == ReduceOp::mean)
                for (const double v : elements[i]) magnitude += std::fabs(v);
              expect_float(got, exact, op == ReduceOp::max || op == ReduceOp::min ? 0 : magnitude, to, what);
            }
          }
        }
      }
  }
}

TEST(Reduce, SumsOfManyStayExact) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "reduce")) {
    ctx.force("reduce", row);
    // In f32 one after the other the sum would stop at 2^24.
    Tensor x = Tensor::empty(Shape{2, 20000000}, DType::f32);
    for (float& v : x.span<float>()) v = 1;
    Tensor y = Tensor::empty(Shape{2}, DType::f32);
    const std::vector<std::int64_t> last = {-1};
    ops::reduce(ctx, x, ReduceOp::sum, last, y);
    EXPECT_EQ(y.data<float>()[1], 20000000.0f);
    // A variance that is small against its mean.
    for (std::int64_t i = 0; i < 1000; ++i) x.data<float>()[i] = 10000 + static_cast<float>(i % 2);
    Tensor one = Tensor::empty(Shape{}, DType::f32);
    ops::reduce(ctx, x.reshape(Shape{40000000}).narrow(0, 1000), ReduceOp::var, {}, one);
    EXPECT_FLOAT_EQ(one.data<float>()[0], 250.0f / 999);
  }
}

TEST(Reduce, NanAndInfinity) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "reduce")) {
    ctx.force("reduce", row);
    for (const std::int64_t n : {1, 5, 40, 1000})
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1})
        for (const bool down : {false, true})
          for (const float bad : {kNan, kInf, -kInf}) {
            Tensor x = Tensor::zeros(down ? Shape{n, 9} : Shape{9, n}, DType::f32);
            for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i % 13) - 6.0f;
            x.data<float>()[down ? at * 9 + 4 : 4 * n + at] = bad;
            const std::vector<std::int64_t> dims = {down ? 0 : 1};
            const auto elements = reference::reduced_elements(values(x), {x.shape()[0], x.shape()[1]}, {down, !down});
            for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::max, ReduceOp::min, ReduceOp::var}) {
              Tensor y = Tensor::zeros(Shape{9}, DType::f32);
              ops::reduce(ctx, x, op, dims, y);
              for (std::int64_t i = 0; i < 9; ++i) {
                const double exact = reference::reduced(ops::name(op), elements[static_cast<std::size_t>(i)]);
                if (std::isfinite(exact))
                  EXPECT_NEAR(get(y, i), exact, 1e-5 * std::fabs(exact) + 1e-5);
                else
                  EXPECT_TRUE(get(y, i) == exact || (std::isnan(exact) && std::isnan(get(y, i)))) << row << " " << ops::name(op) << " " << bad;
              }
            }
            Tensor place = Tensor::zeros(Shape{9}, DType::i32);
            ops::argmax(ctx, x, down ? 0 : 1, place);
            for (std::int64_t i = 0; i < 9; ++i)
              EXPECT_EQ(get(place, i), static_cast<double>(reference::first_maximum(elements[static_cast<std::size_t>(i)])));
          }
    const Tensor nothing = Tensor::zeros(Shape{3, 0}, DType::f32);
    Tensor y = Tensor::zeros(Shape{3}, DType::f32);
    const std::vector<std::int64_t> last = {1};
    ops::reduce(ctx, nothing, ReduceOp::sum, last, y);
    EXPECT_EQ(values(y), (std::vector<double>{0, 0, 0}));
    ops::reduce(ctx, nothing, ReduceOp::prod, last, y);
    EXPECT_EQ(values(y), (std::vector<double>{1, 1, 1}));
    for (const ReduceOp op : {ReduceOp::mean, ReduceOp::var, ReduceOp::std}) {
      ops::reduce(ctx, nothing, op, last, y);
      for (const double v : values(y)) EXPECT_TRUE(std::isnan(v)) << ops::name(op);
    }
    for (const ReduceOp op : {ReduceOp::max, ReduceOp::min})
      reference::expect_error(std::string(ops::name(op)), "not empty", [&] { ops::reduce(ctx, nothing, op, last, y); });
  }
}

TEST(Reduce, RunningSums) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "reduce")) {
    ctx.force("reduce", row);
    for (const Case& c : cases())
      for (const DType dtype : kTypes)
        for (const DType to : kTypes) {
          if (is_float(dtype) ? !is_float(to) : to != dtype) continue;
          const Tensor x = random(c.shape, dtype, 2);
          const std::int64_t rank = static_cast<std::int64_t>(c.shape.rank());
          for (std::int64_t dim = 0; dim < rank; ++dim) {
            if (x.numel() > 5000 && (c.shape[dim] == 1 || (dtype != DType::f32 && dtype != DType::i32))) continue;
            Tensor y = Tensor::zeros(c.shape, to);
            ops::cumsum(ctx, x, dim % 2 == 0 ? dim : dim - rank, y);
            std::int64_t inner = 1;
            for (std::int64_t d = dim + 1; d < rank; ++d) inner *= c.shape[d];
            const std::int64_t n = c.shape[dim];
            std::vector<double> sums(static_cast<std::size_t>(x.numel())), sizes(sums.size());
            std::vector<std::uint64_t> bits(sums.size());
            for (std::int64_t i = 0; i < x.numel(); ++i) {
              const auto here = static_cast<std::size_t>(i);
              const bool first = i / inner % n == 0;
              const auto before = static_cast<std::size_t>(first ? i : i - inner);
              sums[here] = get(x, i) + (first ? 0 : sums[before]);
              sizes[here] = std::fabs(get(x, i)) + (first ? 0 : sizes[before]);
              const double v = get(x, i);
              bits[here] = is_float(dtype) ? 0 : static_cast<std::uint64_t>(static_cast<std::int64_t>(v)) + (first ? 0 : bits[before]);
              if (is_float(dtype)) {
                const double bound = (0x1.01p-24 + (to == DType::bf16 ? 0x1p-8 : 0)) * std::fabs(sums[here]) + 0x1p-40 * sizes[here];
                ASSERT_LE(std::fabs(get(y, i) - sums[here]), bound) << row << " " << x.str() << " to " << y.str() << " along " << dim << " at " << i;
              } else {
                ASSERT_EQ(get(y, i), as_dtype(bits[here], dtype)) << row << " " << x.str() << " along " << dim << " at " << i;
              }
            }
            if (to == dtype) {
              Tensor same = random(c.shape, dtype, 2);
              ops::cumsum(ctx, same, dim, same);
              ASSERT_EQ(std::memcmp(same.raw(), y.raw(), y.bytes()), 0);
            }
          }
        }
  }
}

TEST(Reduce, PlacesOfMaxima) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "reduce")) {
    ctx.force("reduce", row);
    for (const Case& c : cases())
      for (const DType dtype : kTypes) {
        Tensor x = random(c.shape, dtype, 3);
        if (dtype == DType::f32)  // several maxima in most rows
          for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = std::round(x.data<float>()[i]);
        for (std::int64_t dim = 0; dim < static_cast<std::int64_t>(c.shape.rank()); ++dim) {
          if (x.numel() > 5000 && (c.shape[dim] == 1 || (dtype != DType::f32 && dtype != DType::bf16))) continue;
          std::vector<bool> reduced(c.sizes.size(), false);
          reduced[static_cast<std::size_t>(dim)] = true;
          const auto elements = reference::reduced_elements(values(x), c.sizes, reduced);
          for (const DType to : {DType::i32, DType::u32}) {
            const std::vector<std::int64_t> dims = {dim};
            Tensor y = Tensor::zeros(ops::reduced_shape(c.shape, dims, to == DType::i32), to);
            if (c.shape[dim] == 0 && y.numel() > 0) {
              reference::expect_error("argmax", "not empty", [&] { ops::argmax(ctx, x, dim, y); });
              continue;
            }
            ops::argmax(ctx, x, dim, y);
            for (std::size_t i = 0; i < elements.size(); ++i)
              ASSERT_EQ(get(y, static_cast<std::int64_t>(i)), static_cast<double>(reference::first_maximum(elements[i])))
                  << row << " " << x.str() << " along " << dim << " at " << i;
          }
        }
      }
  }
}

TEST(Reduce, ThreadsChangeNoBitAndTheSecondCallDoesNotAllocate) {
  std::vector<std::vector<std::byte>> first;
  const Tensor x = random(Shape{3, 300, 700}, DType::f32, 4);
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    std::vector<std::vector<std::byte>> results;
    for (const std::vector<std::int64_t>& dims : {std::vector<std::int64_t>{}, {0, 1}, {2}, {1}, {0, 2}})
      for (const ReduceOp op : kAll) {
        Tensor y = Tensor::zeros(ops::reduced_shape(x.shape(), dims, true), DType::f32);
        ops::reduce(ctx, x, op, dims, y);
        EXPECT_EQ(reference::allocations_in([&] { ops::reduce(ctx, x, op, dims, y); }), 0);
        const auto* const p = static_cast<const std::byte*>(y.raw());
        results.emplace_back(p, p + y.bytes());
      }
    Tensor sums = Tensor::zeros(x.shape(), DType::f32), places = Tensor::zeros(Shape{3, 700}, DType::i32);
    ops::cumsum(ctx, x, 1, sums);
    ops::argmax(ctx, x, 1, places);
    EXPECT_EQ(reference::allocations_in([&] {
                ops::cumsum(ctx, x, 1, sums);
                ops::argmax(ctx, x, 1, places);
              }),
              0);
    for (const Tensor* t : {&sums, &places}) {
      const auto* const p = static_cast<const std::byte*>(t->raw());
      results.emplace_back(p, p + t->bytes());
    }
    if (first.empty()) first = results;
    EXPECT_EQ(results, first) << threads;
  }
}

TEST(Reduce, ShapesAndNames) {
  const std::vector<std::int64_t> some = {-1, 0}, none;
  EXPECT_EQ(ops::reduced_shape(Shape{2, 3, 4}, some, false), (Shape{3}));
  EXPECT_EQ(ops::reduced_shape(Shape{2, 3, 4}, some, true), (Shape{1, 3, 1}));
  EXPECT_EQ(ops::reduced_shape(Shape{2, 3, 4}, none, false), (Shape{}));
  EXPECT_EQ(ops::reduced_shape(Shape{2, 3, 4}, none, true), (Shape{1, 1, 1}));
  EXPECT_EQ(ops::reduced_shape(Shape{}, std::vector<std::int64_t>{-1}, true), (Shape{}));
  for (const ReduceOp op : kAll) EXPECT_EQ(ops::reduce_op(ops::name(op)), op);
  EXPECT_EQ(ops::name(ReduceOp::std), "std");
  EXPECT_EQ(ops::reduce_op("median"), std::nullopt);
  EXPECT_EQ(ops::name(static_cast<ReduceOp>(99)), "?");
  Context ctx({.threads = 1, .isa = {}});
  Tensor one = Tensor::from<float>(std::vector<float>{2.5f}, Shape{}), y = Tensor::zeros(Shape{}, DType::f32);
  ops::reduce(ctx, one, ReduceOp::mean, {}, y);
  EXPECT_EQ(y.data<float>()[0], 2.5f);
  ops::cumsum(ctx, one, 0, y);
  EXPECT_EQ(y.data<float>()[0], 2.5f);
}

TEST(Reduce, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{4, 8}, DType::f32), whole = Tensor::zeros(Shape{4, 8}, DType::i32);
  const std::vector<std::int64_t> last = {1}, twice = {1, -1}, outside = {2};
  const auto bad = [&](const char* op, const char* part, const Tensor& from, ReduceOp which, const std::vector<std::int64_t>& dims, Tensor y) {
    reference::expect_error(op, part, [&] { ops::reduce(ctx, from, which, dims, y); });
  };
  const Tensor four = Tensor::zeros(Shape{4}, DType::f32);
  bad("sum", "x of float32", Tensor(), ReduceOp::sum, last, four);
  bad("sum", "x of float32", Tensor::zeros(Shape{4, 8}, DType::f16), ReduceOp::sum, last, four);
  bad("sum", "contiguous", Tensor::zeros(Shape{4, 9}, DType::f32).columns(0, 8), ReduceOp::sum, last, four);
  bad("sum", "row-major", Tensor::zeros(Shape{4, 8}, DType::f32, Layout::tile), ReduceOp::sum, last, four);
  bad("sum", "y of float32", x, ReduceOp::sum, last, Tensor());
  bad("sum", "y of shape [4]", x, ReduceOp::sum, last, Tensor::zeros(Shape{8}, DType::f32));
  bad("sum", "one integer dtype", whole, ReduceOp::sum, last, four);
  bad("mean", "float32 or bfloat16", whole, ReduceOp::mean, last, Tensor::zeros(Shape{4}, DType::i32));
  bad("max", "each dimension once", x, ReduceOp::max, twice, four);
  bad("max", "a dimension of [4, 8]", x, ReduceOp::max, outside, four);
  bad("max", "memory of its own", x, ReduceOp::max, last, x.reshape(Shape{32}).narrow(0, 4));
  reference::expect_error("reduce", "a dimension", [&] { ops::reduced_shape(Shape{2}, outside, true); });
  Tensor same = Tensor::zeros(Shape{4, 8}, DType::f32), places = Tensor::zeros(Shape{4}, DType::i32);
  reference::expect_error("cumsum", "a dimension", [&] { ops::cumsum(ctx, x, 2, same); });
  Tensor other = Tensor::zeros(Shape{8, 4}, DType::f32);
  reference::expect_error("cumsum", "y of shape", [&] { ops::cumsum(ctx, x, 0, other); });
  reference::expect_error("cumsum", "one integer dtype", [&] { ops::cumsum(ctx, whole, 0, same); });
  reference::expect_error("argmax", "y of int32 or uint32", [&] { ops::argmax(ctx, x, 1, same); });
  reference::expect_error("argmax", "y of shape [8]", [&] { ops::argmax(ctx, x, 0, places); });
  reference::expect_error("argmax", "a dimension", [&] { ops::argmax(ctx, x, -3, places); });
}

}  // namespace
}  // namespace tessera

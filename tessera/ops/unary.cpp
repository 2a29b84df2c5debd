#include "tessera/ops/unary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "tessera/core/error.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/stretches.h"

namespace tessera::ops {
namespace {

/// In the order of the enumeration.
constexpr std::string_view kNames[] = {
    "identity", "abs",      "neg",   "sign",       "square",     "sqrt",     "rsqrt",       "reciprocal",  "exp",         "exp2",
    "expm1",    "log",      "log2",  "log10",      "log1p",      "sin",      "cos",         "tan",         "asin",        "acos",
    "atan",     "sinh",     "cosh",  "tanh",       "erf",        "erfc",     "lgamma",      "sigmoid",     "log_sigmoid", "relu",
    "relu6",    "silu",     "gelu",  "gelu_tanh",  "mish",       "softsign", "tanhshrink",  "hardsigmoid", "hardswish",   "floor",
    "ceil",     "round",    "trunc", "isnan",      "isinf",      "isfinite", "logical_not", "leaky_relu",  "elu",         "celu",
    "selu",     "hardtanh", "clip",  "hardshrink", "softshrink", "softplus", "threshold",   "heaviside",   "xielu"};
static_assert(std::size(kNames) == static_cast<std::size_t>(UnaryOp::xielu) + 1);

bool is_float(const Tensor& t) { return t.dtype() == DType::f32 || t.dtype() == DType::bf16; }
bool is_integer(const Tensor& t) { return t.dtype() == DType::i32 || t.dtype() == DType::u32 || t.dtype() == DType::u16 || t.dtype() == DType::u8; }

bool serves_integers(UnaryOp op) {
  switch (op) {
    case UnaryOp::identity:
    case UnaryOp::abs:
    case UnaryOp::neg:
    case UnaryOp::sign:
    case UnaryOp::square:
    case UnaryOp::relu:
    case UnaryOp::relu6:
    case UnaryOp::clip:
    case UnaryOp::logical_not: return true;
    default: return false;
  }
}

/// About as many operations as the polynomial of an exponential, a logarithm or an angle has; 1 for what is one or two instructions.
double flops_of(UnaryOp op) {
  const bool transcendental = (op >= UnaryOp::exp && op <= UnaryOp::log_sigmoid) || (op >= UnaryOp::silu && op <= UnaryOp::mish) ||
                              op == UnaryOp::tanhshrink || (op >= UnaryOp::elu && op <= UnaryOp::selu) || op == UnaryOp::softplus ||
                              op == UnaryOp::xielu;
  return transcendental ? 10 : 1;
}

void check(const Tensor& x, const Unary& options, const Tensor& y) {
  const char* const op = name(options.op).data();
  for (const Tensor* t : {&x, &y})
    if (!t->defined() || t->layout() != Layout::row_major || !(is_float(*t) || is_integer(*t)))
      fail_expected(op, "x and y of float32, bfloat16, int32, uint32, uint16 or uint8 in row-major layout", t->str(),
                    "ops::to_layout and ops::typecast convert");
  if (x.shape() != y.shape()) fail_expected(op, "y of shape " + x.shape().str(), y.shape().str());
  if (is_integer(x) || is_integer(y)) {
    if (x.dtype() != y.dtype()) fail_expected(op, "x and y both floats or both of one integer dtype", x.str() + " and " + y.str());
    if (!serves_integers(options.op)) fail_expected(op, "float32 or bfloat16", x.str(), "ops::typecast converts");
  }
  const bool divides = options.op == UnaryOp::celu || options.op == UnaryOp::softplus;
  if (divides && options.a == 0) fail_expected(op, options.op == UnaryOp::celu ? "alpha other than 0" : "beta other than 0", "0");
}

struct Range {
  std::int64_t low;
  std::int64_t high;
};

Range range_of(DType dtype) {
  if (dtype == DType::i32) return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
  if (dtype == DType::u32) return {0, std::numeric_limits<std::uint32_t>::max()};
  return {0, dtype == DType::u16 ? 65535 : 255};
}

/// The dtype's whole numbers between a and b; a bound of NaN is none.
Range bounds_of(DType dtype, float a, float b) {
  const Range all = range_of(dtype);
  const auto whole = [&](double v, std::int64_t none) {
    if (std::isnan(v)) return none;
    return static_cast<std::int64_t>(std::clamp(v, static_cast<double>(all.low), static_cast<double>(all.high)));
  };
  return {whole(std::ceil(static_cast<double>(a)), all.low), whole(std::floor(static_cast<double>(b)), all.high)};
}

}  // namespace

std::string_view name(UnaryOp op) noexcept {
  const auto i = static_cast<std::size_t>(op);
  return i < std::size(kNames) ? kNames[i] : "?";
}

std::optional<UnaryOp> unary_op(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<UnaryOp>(found - std::begin(kNames));
}

void unary(Context& ctx, const Tensor& x, const Unary& options, Tensor& y) {
  check(x, options, y);
  const auto& row = choose(ctx, "unary", kernels::unary_rows());
  const char* const op = name(options.op).data();
  runtime::Zone zone(ctx.profiler(), op, row.info.name, flops_of(options.op) * static_cast<double>(x.numel()),
                     static_cast<double>(x.bytes() + y.bytes()));
  const Rows r = rows_of({&x, &y});
  if (is_integer(x)) {
    const Range bounds = bounds_of(x.dtype(), options.a, options.b);
    for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
      row.functions.integers(options.op, x.dtype(), bounds.low, bounds.high, in(x, i, c), out(y, i, c), n);
    });
    return;
  }
  const bool x_bf16 = x.dtype() == DType::bf16, y_bf16 = y.dtype() == DType::bf16;
  for_stretches(ctx, r.rows, r.cols, [&](std::int64_t i, std::int64_t c, std::int64_t n) {
    row.functions.floats(options.op, options.a, options.b, in(x, i, c), x_bf16, out(y, i, c), y_bf16, n);
  });
}

Tensor unary(Context& ctx, const Tensor& x, const Unary& options) {
  if (!x.defined()) fail_expected(name(options.op), "a tensor", "none");
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  unary(ctx, x, options, y);
  return y;
}

}  // namespace tessera::ops

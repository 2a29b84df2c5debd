#include "tessera/kernels/unary/unary.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/unary/unary.cpp"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/math-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

static constexpr std::int64_t kBlock = 512;

// ---- loops ----

// `n` is a whole number of vectors.
template <class F>
static HWY_NOINLINE void whole_vectors(const float* x, float* y, std::int64_t n, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
}

// The rest, less than a vector, goes through one that is filled up: every element has the same arithmetic wherever a row is split.
template <class F>
static HWY_INLINE void map(const float* x, float* y, std::int64_t n, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t whole = n & -lanes;
  if (whole > 0) whole_vectors(x, y, whole, f);
  if (whole == n) return;
  alignas(64) float rest[hn::MaxLanes(D())] = {};
  for (std::int64_t i = whole; i < n; ++i) rest[i - whole] = x[i];
  whole_vectors(rest, rest, lanes, f);
  for (std::int64_t i = whole; i < n; ++i) y[i] = rest[i - whole];
}

// What the C library computes, in double: rare functions for which its accuracy is worth more than speed.
template <class F>
static HWY_INLINE void map_library(const float* x, float* y, std::int64_t n, F f) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(f(static_cast<double>(x[i])));
}

static HWY_INLINE V truth(D d, hn::Mask<D> m) noexcept { return hn::IfThenElseZero(m, hn::Set(d, 1.0f)); }

/// x between a and b, b where they cross; NaN stays NaN, and a bound of NaN is none.
static HWY_INLINE V clipped(D d, V x, float a, float b) noexcept {
  const V low = hn::Set(d, a), high = hn::Set(d, b);
  x = hn::IfThenElse(hn::Lt(x, low), low, x);
  return hn::IfThenElse(hn::Gt(x, high), high, x);
}

/// x above 0, alpha (e^(x / scale) - 1) below
static HWY_INLINE V elu(D d, V x, V alpha, V argument) noexcept {
  return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(alpha, expm1_of(d, argument)));
}

// ---- functions ----

static void elementary(UnaryOp op, const float* x, float* y, std::int64_t n) noexcept {
  switch (op) {
    case UnaryOp::sqrt: return map(x, y, n, [](D, V v) { return hn::Sqrt(v); });
    case UnaryOp::rsqrt: return map(x, y, n, [](D d, V v) { return hn::Div(hn::Set(d, 1.0f), hn::Sqrt(v)); });
    case UnaryOp::reciprocal: return map(x, y, n, [](D d, V v) { return hn::Div(hn::Set(d, 1.0f), v); });
    case UnaryOp::exp: return map(x, y, n, [](D d, V v) { return exp_of(d, v); });
    case UnaryOp::exp2: return map(x, y, n, [](D d, V v) { return exp2_of(d, v); });
    case UnaryOp::expm1: return map(x, y, n, [](D d, V v) { return expm1_of(d, v); });
    case UnaryOp::log: return map(x, y, n, [](D d, V v) { return log_of(d, v); });
    case UnaryOp::log2: return map(x, y, n, [](D d, V v) { return log2_of(d, v); });
    case UnaryOp::log10: return map(x, y, n, [](D d, V v) { return log10_of(d, v); });
    case UnaryOp::log1p: return map(x, y, n, [](D d, V v) { return log1p_of(d, v); });
    case UnaryOp::sin: return map(x, y, n, [](D d, V v) { return sin_of(d, v); });
    case UnaryOp::cos: return map(x, y, n, [](D d, V v) { return cos_of(d, v); });
    case UnaryOp::tan: return map(x, y, n, [](D d, V v) { return tan_of(d, v); });
    case UnaryOp::asin: return map(x, y, n, [](D d, V v) { return hn::Asin(d, v); });
    case UnaryOp::acos: return map(x, y, n, [](D d, V v) { return hn::Acos(d, v); });
    case UnaryOp::atan: return map(x, y, n, [](D d, V v) { return hn::Atan(d, v); });
    case UnaryOp::sinh: return map(x, y, n, [](D d, V v) { return sinh_of(d, v); });
    case UnaryOp::cosh: return map(x, y, n, [](D d, V v) { return cosh_of(d, v); });
    case UnaryOp::tanh: return map(x, y, n, [](D d, V v) { return tanh_of(d, v); });
    case UnaryOp::erf: return map(x, y, n, [](D d, V v) { return erf_of(d, v); });
    case UnaryOp::erfc: return map_library(x, y, n, [](double v) { return std::erfc(v); });
    case UnaryOp::lgamma:
      return map_library(x, y, n, [](double v) {
        int sign = 0;
        return ::lgamma_r(v, &sign);
      });
    default: return;
  }
}

static void activation(UnaryOp op, float a, float b, const float* x, float* y, std::int64_t n) noexcept {
  switch (op) {
    case UnaryOp::sigmoid: return map(x, y, n, [](D d, V v) { return keep_nan(d, v, times_sigmoid(d, hn::Set(d, 1.0f), v)); });
    case UnaryOp::log_sigmoid: return map(x, y, n, [](D d, V v) { return hn::Neg(softplus_of(d, hn::Neg(v))); });
    case UnaryOp::relu: return map(x, y, n, [](D d, V v) { return relu(d, v); });
    case UnaryOp::relu6: return map(x, y, n, [](D d, V v) { return relu6(d, v); });
    case UnaryOp::silu: return map(x, y, n, [](D d, V v) { return times_sigmoid(d, v, v); });
    case UnaryOp::gelu: return map(x, y, n, [](D d, V v) { return gelu_erf(d, v); });
    case UnaryOp::gelu_tanh: return map(x, y, n, [](D d, V v) { return gelu_tanh(d, v); });
    case UnaryOp::mish: return map(x, y, n, [](D d, V v) { return mish_of(d, v); });
    case UnaryOp::softsign: return map(x, y, n, [](D d, V v) { return hn::Div(v, hn::Add(hn::Abs(v), hn::Set(d, 1.0f))); });
    case UnaryOp::tanhshrink: return map(x, y, n, [](D d, V v) { return hn::Sub(v, tanh_of(d, v)); });
    case UnaryOp::hardsigmoid: return map(x, y, n, [](D d, V v) { return hn::Div(relu6(d, hn::Add(v, hn::Set(d, 3.0f))), hn::Set(d, 6.0f)); });
    case UnaryOp::hardswish: return map(x, y, n, [](D d, V v) { return hardswish(d, v); });
    case UnaryOp::leaky_relu: return map(x, y, n, [=](D d, V v) { return hn::IfThenElse(hn::Gt(v, hn::Zero(d)), v, hn::Mul(v, hn::Set(d, a))); });
    case UnaryOp::elu: return map(x, y, n, [=](D d, V v) { return elu(d, v, hn::Set(d, a), v); });
    case UnaryOp::celu: return map(x, y, n, [=](D d, V v) { return elu(d, v, hn::Set(d, a), hn::Div(v, hn::Set(d, a))); });
    case UnaryOp::selu: return map(x, y, n, [](D d, V v) { return hn::Mul(hn::Set(d, 1.05070099f), elu(d, v, hn::Set(d, 1.67326324f), v)); });
    case UnaryOp::hardtanh:
    case UnaryOp::clip: return map(x, y, n, [=](D d, V v) { return clipped(d, v, a, b); });
    case UnaryOp::hardshrink:
      return map(x, y, n, [=](D d, V v) { return hn::IfThenZeroElse(hn::And(hn::Ge(v, hn::Set(d, -a)), hn::Le(v, hn::Set(d, a))), v); });
    case UnaryOp::softshrink:
      return map(x, y, n, [=](D d, V v) {
        const V edge = hn::Set(d, a);
        const V inside = keep_nan(d, v, hn::Zero(d));
        return hn::IfThenElse(hn::Gt(v, edge), hn::Sub(v, edge), hn::IfThenElse(hn::Lt(v, hn::Neg(edge)), hn::Add(v, edge), inside));
      });
    case UnaryOp::softplus:
      return map(x, y, n, [=](D d, V v) {
        const V scaled_up = hn::Mul(v, hn::Set(d, a));
        return hn::IfThenElse(hn::Gt(scaled_up, hn::Set(d, b)), v, hn::Div(softplus_of(d, scaled_up), hn::Set(d, a)));
      });
    case UnaryOp::threshold: return map(x, y, n, [=](D d, V v) { return hn::IfThenElse(hn::Le(v, hn::Set(d, a)), hn::Set(d, b), v); });
    case UnaryOp::xielu: return map(x, y, n, [=](D d, V v) { return xielu_of(d, v, a, b); });
    default: return;
  }
}

static void simple(UnaryOp op, float a, const float* x, float* y, std::int64_t n) noexcept {
  constexpr float kInf = __builtin_inff();
  switch (op) {
    case UnaryOp::identity: return map(x, y, n, [](D, V v) { return v; });
    case UnaryOp::abs: return map(x, y, n, [](D, V v) { return hn::Abs(v); });
    case UnaryOp::neg: return map(x, y, n, [](D, V v) { return hn::Neg(v); });
    case UnaryOp::sign: return map(x, y, n, [](D d, V v) { return hn::Sub(truth(d, hn::Gt(v, hn::Zero(d))), truth(d, hn::Lt(v, hn::Zero(d)))); });
    case UnaryOp::square: return map(x, y, n, [](D, V v) { return hn::Mul(v, v); });
    case UnaryOp::floor: return map(x, y, n, [](D, V v) { return hn::Floor(v); });
    case UnaryOp::ceil: return map(x, y, n, [](D, V v) { return hn::Ceil(v); });
    case UnaryOp::round: return map(x, y, n, [](D, V v) { return hn::Round(v); });
    case UnaryOp::trunc: return map(x, y, n, [](D, V v) { return hn::Trunc(v); });
    case UnaryOp::isnan: return map(x, y, n, [](D d, V v) { return hn::IfThenZeroElse(hn::Eq(v, v), hn::Set(d, 1.0f)); });
    case UnaryOp::isinf: return map(x, y, n, [](D d, V v) { return truth(d, hn::Eq(hn::Abs(v), hn::Set(d, kInf))); });
    case UnaryOp::isfinite: return map(x, y, n, [](D d, V v) { return truth(d, hn::Lt(hn::Abs(v), hn::Set(d, kInf))); });
    case UnaryOp::logical_not: return map(x, y, n, [](D d, V v) { return truth(d, hn::Eq(v, hn::Zero(d))); });
    case UnaryOp::heaviside:
      return map(x, y, n, [=](D d, V v) {
        const V side = keep_nan(d, v, truth(d, hn::Gt(v, hn::Zero(d))));
        return hn::IfThenElse(hn::Eq(v, hn::Zero(d)), hn::Set(d, a), side);
      });
    default: return;
  }
}

static void apply(UnaryOp op, float a, float b, const float* x, float* y, std::int64_t n) noexcept {
  if (op >= UnaryOp::sqrt && op <= UnaryOp::lgamma) return elementary(op, x, y, n);
  const bool plain = op <= UnaryOp::square || (op >= UnaryOp::floor && op <= UnaryOp::logical_not) || op == UnaryOp::heaviside;
  return plain ? simple(op, a, x, y, n) : activation(op, a, b, x, y, n);
}

static void floats(UnaryOp op, float a, float b, const void* x, bool x_bf16, void* y, bool y_bf16, std::int64_t n) noexcept {
  if (!x_bf16 && !y_bf16) return apply(op, a, b, static_cast<const float*>(x), static_cast<float*>(y), n);
  alignas(64) float block[kBlock];
  for (std::int64_t start = 0; start < n; start += kBlock) {
    const std::int64_t count = n - start < kBlock ? n - start : kBlock;
    const float* from = block;
    if (x_bf16)
      widen_row(static_cast<const bf16*>(x) + start, block, count);
    else
      from = static_cast<const float*>(x) + start;
    apply(op, a, b, from, y_bf16 ? block : static_cast<float*>(y) + start, count);
    if (y_bf16) narrow_row(block, static_cast<bf16*>(y) + start, count);
  }
}

// ---- integers ----

// Arithmetic on 32 bits without a sign, of which the low bits are right for every type.
template <class T, class F>
static HWY_INLINE void each(const T* x, T* y, std::int64_t n, F f) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(x[i]));
}

template <class T>
static void whole_numbers(UnaryOp op, std::int64_t low, std::int64_t high, const T* x, T* y, std::int64_t n) noexcept {
  using U = std::uint32_t;
  const T lo = static_cast<T>(low), hi = static_cast<T>(high);
  switch (op) {
    case UnaryOp::identity: return each(x, y, n, [](T v) { return v; });
    case UnaryOp::abs: return each(x, y, n, [](T v) { return v < T{0} ? 0u - static_cast<U>(v) : static_cast<U>(v); });
    case UnaryOp::neg: return each(x, y, n, [](T v) { return 0u - static_cast<U>(v); });
    case UnaryOp::sign: return each(x, y, n, [](T v) { return static_cast<int>(v > T{0}) - static_cast<int>(v < T{0}); });
    case UnaryOp::square: return each(x, y, n, [](T v) { return static_cast<U>(v) * static_cast<U>(v); });
    case UnaryOp::relu: return each(x, y, n, [](T v) { return v > T{0} ? v : T{0}; });
    case UnaryOp::relu6: return each(x, y, n, [](T v) { return v > T{6} ? T{6} : v > T{0} ? v : T{0}; });
    case UnaryOp::logical_not: return each(x, y, n, [](T v) { return v == T{0} ? T{1} : T{0}; });
    case UnaryOp::clip:
      return each(x, y, n, [=](T v) {
        const T raised = v < lo ? lo : v;
        return raised > hi ? hi : raised;
      });
    default: return;
  }
}

static void integers(UnaryOp op, DType dtype, std::int64_t low, std::int64_t high, const void* x, void* y, std::int64_t n) noexcept {
  const auto run = [&]<class T>(T) { whole_numbers(op, low, high, static_cast<const T*>(x), static_cast<T*>(y), n); };
  switch (dtype) {
    case DType::i32: return run(std::int32_t{});
    case DType::u32: return run(std::uint32_t{});
    case DType::u16: return run(std::uint16_t{});
    case DType::u8: return run(std::uint8_t{});
    default: return;
  }
}

static constexpr UnaryFunctions make_functions() { return {&floats, &integers}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(UnaryFunctions, unary_rows, "f32 and bf16, int32, uint32, uint16 and uint8; any length")
}
#endif

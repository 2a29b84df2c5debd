#include "tessera/kernels/binary/binary.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/binary/binary.cpp"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/binary/power-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// ---- loops ----

// `n` is a whole number of vectors; a step of 0 reads one vector again and again: one loop for vector op vector, vector op scalar and scalar op
// vector.
template <class F>
static HWY_NOINLINE void whole_vectors(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y, std::int64_t n,
                                       F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) {
    hn::StoreU(f(d, hn::LoadU(d, a), hn::LoadU(d, b)), d, y + i);
    a += a_step;
    b += b_step;
  }
}

struct Operands {
  const float* a;
  bool a_one;
  const float* b;
  bool b_one;
};

// The rest, less than a vector, goes through one that is filled up: every element has the same arithmetic wherever a row is split.
template <class F>
static HWY_INLINE void map(const Operands& in, float* y, std::int64_t n, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  alignas(64) float rest_a[hn::MaxLanes(D())], rest_b[hn::MaxLanes(D())], rest_y[hn::MaxLanes(D())];
  hn::Store(in.a_one ? hn::Set(d, *in.a) : hn::Zero(d), d, rest_a);
  hn::Store(in.b_one ? hn::Set(d, *in.b) : hn::Zero(d), d, rest_b);
  const std::int64_t whole = n & -lanes;
  if (whole > 0) whole_vectors(in.a_one ? rest_a : in.a, in.a_one ? 0 : lanes, in.b_one ? rest_b : in.b, in.b_one ? 0 : lanes, y, whole, f);
  if (whole == n) return;
  for (std::int64_t i = whole; i < n && !in.a_one; ++i) rest_a[i - whole] = in.a[i];
  for (std::int64_t i = whole; i < n && !in.b_one; ++i) rest_b[i - whole] = in.b[i];
  whole_vectors(rest_a, 0, rest_b, 0, rest_y, lanes, f);
  for (std::int64_t i = whole; i < n; ++i) y[i] = rest_y[i - whole];
}

static HWY_INLINE V truth(D d, hn::Mask<D> m) noexcept { return hn::IfThenElseZero(m, hn::Set(d, 1.0f)); }
static HWY_INLINE V untruth(D d, hn::Mask<D> m) noexcept { return hn::IfThenZeroElse(m, hn::Set(d, 1.0f)); }
static HWY_INLINE hn::Mask<D> is_zero(D d, V v) noexcept { return hn::Eq(v, hn::Zero(d)); }

// ---- f32 ----

// Exponents that are worth a loop of their own; false for the others.
static bool simple_power(float b, const Operands& in, float* y, std::int64_t n) noexcept {
  if (b == 2.0f) return map(in, y, n, [](D, V v, V) { return hn::Mul(v, v); }), true;
  if (b == 1.0f) return map(in, y, n, [](D, V v, V) { return v; }), true;
  if (b == -1.0f) return map(in, y, n, [](D d, V v, V) { return hn::Div(hn::Set(d, 1.0f), v); }), true;
  if (b == 0.5f)
    return map(in, y, n,
               [](D d, V v, V) {
                 const V inf = hn::Set(d, __builtin_inff());
                 return hn::IfThenElse(hn::Eq(v, hn::Neg(inf)), inf, hn::Sqrt(hn::Add(v, hn::Zero(d))));  // -0 + 0 is 0
               }),
           true;
  return false;
}

static void floats(BinaryOp op, const float* a, bool a_one, const float* b, bool b_one, float* y, std::int64_t n) noexcept {
  const Operands in{a, a_one, b, b_one};
  switch (op) {
    case BinaryOp::add: return map(in, y, n, [](D, V p, V q) { return hn::Add(p, q); });
    case BinaryOp::subtract: return map(in, y, n, [](D, V p, V q) { return hn::Sub(p, q); });
    case BinaryOp::rsub: return map(in, y, n, [](D, V p, V q) { return hn::Sub(q, p); });
    case BinaryOp::multiply: return map(in, y, n, [](D, V p, V q) { return hn::Mul(p, q); });
    case BinaryOp::divide: return map(in, y, n, [](D, V p, V q) { return hn::Div(p, q); });
    case BinaryOp::power:
      if (b_one && simple_power(*b, in, y, n)) return;
      return map(in, y, n, [](D d, V p, V q) { return power_of(d, p, q); });
    // NaN of either operand wins: where the comparison is false for b's sake, b is taken.
    case BinaryOp::maximum: return map(in, y, n, [](D, V p, V q) { return hn::IfThenElse(hn::Or(hn::Gt(p, q), hn::Not(hn::Eq(p, p))), p, q); });
    case BinaryOp::minimum: return map(in, y, n, [](D, V p, V q) { return hn::IfThenElse(hn::Or(hn::Lt(p, q), hn::Not(hn::Eq(p, p))), p, q); });
    case BinaryOp::eq: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Eq(p, q)); });
    case BinaryOp::ne: return map(in, y, n, [](D d, V p, V q) { return untruth(d, hn::Eq(p, q)); });
    case BinaryOp::lt: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Lt(p, q)); });
    case BinaryOp::le: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Le(p, q)); });
    case BinaryOp::gt: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Gt(p, q)); });
    case BinaryOp::ge: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Ge(p, q)); });
    case BinaryOp::logical_and: return map(in, y, n, [](D d, V p, V q) { return untruth(d, hn::Or(is_zero(d, p), is_zero(d, q))); });
    case BinaryOp::logical_or: return map(in, y, n, [](D d, V p, V q) { return untruth(d, hn::And(is_zero(d, p), is_zero(d, q))); });
    case BinaryOp::logical_xor: return map(in, y, n, [](D d, V p, V q) { return truth(d, hn::Xor(is_zero(d, p), is_zero(d, q))); });
    case BinaryOp::prelu: return map(in, y, n, [](D d, V p, V q) { return hn::IfThenElse(hn::Lt(p, hn::Zero(d)), hn::Mul(p, q), p); });
    case BinaryOp::bias_gelu: return map(in, y, n, [](D d, V p, V q) { return gelu_erf(d, hn::Add(p, q)); });
    case BinaryOp::floor_divide: return map(in, y, n, [](D d, V p, V q) { return divided_whole<WholeDivision::floor>(d, p, q); });
    case BinaryOp::remainder: return map(in, y, n, [](D d, V p, V q) { return divided_whole<WholeDivision::remainder>(d, p, q); });
    case BinaryOp::fmod: return map(in, y, n, [](D d, V p, V q) { return divided_whole<WholeDivision::fmod>(d, p, q); });
    case BinaryOp::squared_difference:
      return map(in, y, n, [](D, V p, V q) {
        const V difference = hn::Sub(p, q);
        return hn::Mul(difference, difference);
      });
    case BinaryOp::bitwise_and:
    case BinaryOp::bitwise_or:
    case BinaryOp::bitwise_xor: return;
  }
}

// ---- integers ----

using U = std::uint32_t;  // arithmetic without overflow, of which the low bits are right for every type

/// By squaring, wrapping; a negative exponent has a whole result for 1 and -1 only, else 0.
template <class T>
static T whole_power(T a, T b) noexcept {
  if (b < T{0}) {
    if (a == T{1}) return a;
    if (static_cast<U>(a) != ~U{0}) return T{0};
    b = static_cast<T>(static_cast<U>(b) & 1u);
  }
  U result = 1, square = static_cast<U>(a);
  for (U rest = static_cast<U>(b); rest != 0; rest >>= 1) {
    if ((rest & 1u) != 0) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

/// Quotient toward -inf and what is left, which has the sign of b; both 0 for b = 0. In 64 bits, so that -2^31 / -1 wraps.
template <class T>
static HWY_INLINE T floor_quotient(T a, T b) noexcept {
  if (b == T{0}) return T{0};
  const std::int64_t p = a, q = b;
  return static_cast<T>(p / q - (p % q != 0 && (p % q < 0) != (q < 0) ? 1 : 0));
}
template <class T>
static HWY_INLINE T floor_rest(T a, T b) noexcept {
  if (b == T{0}) return T{0};
  const std::int64_t p = a, q = b, r = p % q;
  return static_cast<T>(r != 0 && (r < 0) != (q < 0) ? r + q : r);
}
template <class T>
static HWY_INLINE T truncated_rest(T a, T b) noexcept {
  return b == T{0} ? T{0} : static_cast<T>(std::int64_t{a} % std::int64_t{b});
}

template <class T, class F>
static HWY_INLINE void each(const T* a, const T* b, T* y, std::int64_t n, F f) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(a[i], b[i]));
}

template <class T>
static void whole_numbers(BinaryOp op, const T* a, const T* b, T* y, std::int64_t n) noexcept {
  const auto u = [](T v) { return static_cast<U>(v); };
  switch (op) {
    case BinaryOp::add: return each(a, b, y, n, [=](T p, T q) { return u(p) + u(q); });
    case BinaryOp::subtract: return each(a, b, y, n, [=](T p, T q) { return u(p) - u(q); });
    case BinaryOp::rsub: return each(a, b, y, n, [=](T p, T q) { return u(q) - u(p); });
    case BinaryOp::multiply: return each(a, b, y, n, [=](T p, T q) { return u(p) * u(q); });
    case BinaryOp::divide:
    case BinaryOp::floor_divide: return each(a, b, y, n, [](T p, T q) { return floor_quotient(p, q); });
    case BinaryOp::power: return each(a, b, y, n, [](T p, T q) { return whole_power(p, q); });
    case BinaryOp::maximum: return each(a, b, y, n, [](T p, T q) { return p > q ? p : q; });
    case BinaryOp::minimum: return each(a, b, y, n, [](T p, T q) { return p < q ? p : q; });
    case BinaryOp::eq: return each(a, b, y, n, [](T p, T q) { return p == q; });
    case BinaryOp::ne: return each(a, b, y, n, [](T p, T q) { return p != q; });
    case BinaryOp::lt: return each(a, b, y, n, [](T p, T q) { return p < q; });
    case BinaryOp::le: return each(a, b, y, n, [](T p, T q) { return p <= q; });
    case BinaryOp::gt: return each(a, b, y, n, [](T p, T q) { return p > q; });
    case BinaryOp::ge: return each(a, b, y, n, [](T p, T q) { return p >= q; });
    case BinaryOp::logical_and: return each(a, b, y, n, [](T p, T q) { return p != T{0} && q != T{0}; });
    case BinaryOp::logical_or: return each(a, b, y, n, [](T p, T q) { return p != T{0} || q != T{0}; });
    case BinaryOp::logical_xor: return each(a, b, y, n, [](T p, T q) { return (p != T{0}) != (q != T{0}); });
    case BinaryOp::prelu: return each(a, b, y, n, [=](T p, T q) { return p < T{0} ? u(p) * u(q) : u(p); });
    case BinaryOp::bitwise_and: return each(a, b, y, n, [=](T p, T q) { return u(p) & u(q); });
    case BinaryOp::bitwise_or: return each(a, b, y, n, [=](T p, T q) { return u(p) | u(q); });
    case BinaryOp::bitwise_xor: return each(a, b, y, n, [=](T p, T q) { return u(p) ^ u(q); });
    case BinaryOp::remainder: return each(a, b, y, n, [](T p, T q) { return floor_rest(p, q); });
    case BinaryOp::fmod: return each(a, b, y, n, [](T p, T q) { return truncated_rest(p, q); });
    case BinaryOp::squared_difference: return each(a, b, y, n, [=](T p, T q) { return (u(p) - u(q)) * (u(p) - u(q)); });
    case BinaryOp::bias_gelu: return;
  }
}

template <class F>
static HWY_INLINE void with_integer(DType dtype, F f) noexcept {
  switch (dtype) {
    case DType::i32: return f(std::int32_t{});
    case DType::u32: return f(std::uint32_t{});
    case DType::u16: return f(std::uint16_t{});
    case DType::u8: return f(std::uint8_t{});
    default: return;
  }
}

static void integers(BinaryOp op, DType dtype, const void* a, const void* b, void* y, std::int64_t n) noexcept {
  with_integer(dtype, [&]<class T>(T) { whole_numbers(op, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y), n); });
}

// ---- choice ----

template <class T>
static void chosen(const float* condition, const T* a, const T* b, T* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    T p, q;  // copied, for they may be elements of another type; both, so that the loop has no branch
    std::memcpy(&p, a + i, sizeof p);
    std::memcpy(&q, b + i, sizeof q);
    p = condition[i] != 0.0f ? p : q;
    std::memcpy(y + i, &p, sizeof p);
  }
}

static void select(std::size_t element, const float* condition, const void* a, const void* b, void* y, std::int64_t n) noexcept {
  const auto run = [&]<class T>(T) { chosen(condition, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y), n); };
  if (element == 4) return run(std::uint32_t{});
  if (element == 2) return run(std::uint16_t{});
  run(std::uint8_t{});
}

static constexpr BinaryFunctions make_functions() { return {&floats, &integers, &select, &widen_row, &narrow_row}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(BinaryFunctions, binary_rows, "f32 and bf16, int32, uint32, uint16 and uint8; any length")
}
#endif

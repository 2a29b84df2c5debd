#include "tessera/kernels/reduce/reduce.h"

#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/reduce/reduce.cpp"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "tessera/kernels/doubles-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;

static HWY_INLINE float as_float(float v) noexcept { return v; }
static HWY_INLINE float as_float(bf16 v) noexcept { return to_f32(v); }

// ---- how two values join; NaN passes through all of them ----

struct Sum {
  static constexpr double kStart = 0;
  template <class V>
  static HWY_INLINE V join(V a, V b) noexcept {
    return hn::Add(a, b);
  }
};
struct Product {
  static constexpr double kStart = 1;
  template <class V>
  static HWY_INLINE V join(V a, V b) noexcept {
    return hn::Mul(a, b);
  }
};
struct Maximum {
  static constexpr double kStart = -__builtin_inf();
  template <class V>
  static HWY_INLINE V join(V a, V b) noexcept {
    return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::Not(hn::Eq(b, b))), b, a);
  }
};
struct Minimum {
  static constexpr double kStart = __builtin_inf();
  template <class V>
  static HWY_INLINE V join(V a, V b) noexcept {
    return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::Not(hn::Eq(b, b))), b, a);
  }
};

// ---- floats along a row ----

/// Vectors of f32 or of f64 from f32 or bf16.
template <class D, class T>
static HWY_INLINE hn::Vec<D> load_as(D d, const T* p) noexcept {
  if constexpr (sizeof(hn::TFromD<D>) == 8)
    return load_wide(d, p);
  else
    return load_row(d, p);
}

/// What `n` elements make, four vectors at a time, then the lanes one after the other. Sums are in f64: an error of 2^-53 a step.
template <class Join, class D, class T, class Value>
static HWY_INLINE double along(D d, const T* x, std::int64_t n, Value value) noexcept {
  using Element = hn::TFromD<D>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto start = static_cast<Element>(Join::kStart);
  hn::Vec<D> v0 = hn::Set(d, start), v1 = v0, v2 = v0, v3 = v0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    v0 = Join::join(v0, value(d, load_as(d, x + i)));
    v1 = Join::join(v1, value(d, load_as(d, x + i + lanes)));
    v2 = Join::join(v2, value(d, load_as(d, x + i + 2 * lanes)));
    v3 = Join::join(v3, value(d, load_as(d, x + i + 3 * lanes)));
  }
  for (; i + lanes <= n; i += lanes) v0 = Join::join(v0, value(d, load_as(d, x + i)));
  alignas(64) Element parts[hn::MaxLanes(D())];
  hn::Store(Join::join(Join::join(v0, v1), Join::join(v2, v3)), d, parts);
  const hn::CappedTag<double, 1> one;
  auto total = hn::Set(one, static_cast<double>(parts[0]));
  for (std::int64_t k = 1; k < lanes; ++k) total = Join::join(total, hn::Set(one, static_cast<double>(parts[k])));
  for (; i < n; ++i) total = Join::join(total, value(one, hn::Set(one, static_cast<double>(as_float(x[i])))));
  return hn::GetLane(total);
}

template <class Join>
static HWY_INLINE double joined(double a, double b) noexcept {
  const hn::CappedTag<double, 1> one;
  return hn::GetLane(Join::join(hn::Set(one, a), hn::Set(one, b)));
}

template <class Join, class D, class T>
static void join_rows(D d, const T* x, std::int64_t rows, std::int64_t stride, std::int64_t n, double* total) noexcept {
  for (std::int64_t r = 0; r < rows; ++r) total[r] = joined<Join>(total[r], along<Join>(d, x + r * stride, n, [](auto, auto v) { return v; }));
}

template <class T>
static void square_rows(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t n, const double* centre, double* total) noexcept {
  for (std::int64_t r = 0; r < rows; ++r) {
    const double c = centre == nullptr ? 0 : centre[r];
    total[r] += along<Sum>(F64(), x + r * stride, n, [c](auto d, auto v) {
      const auto off = hn::Sub(v, hn::Set(d, c));
      return hn::Mul(off, off);
    });
  }
}

template <class T>
static void float_rows(ReduceStep step, const T* x, std::int64_t rows, std::int64_t stride, std::int64_t n, const double* centre,
                       double* total) noexcept {
  switch (step) {
    case ReduceStep::sum: return join_rows<Sum>(F64(), x, rows, stride, n, total);
    case ReduceStep::product: return join_rows<Product>(F64(), x, rows, stride, n, total);
    case ReduceStep::maximum: return join_rows<Maximum>(F32(), x, rows, stride, n, total);
    case ReduceStep::minimum: return join_rows<Minimum>(F32(), x, rows, stride, n, total);
    case ReduceStep::squares: return square_rows(x, rows, stride, n, centre, total);
  }
}

// ---- floats down columns ----

/// Four rows at a time, so that totals are loaded and stored a quarter as often.
template <class Join, class T, class Value>
static HWY_INLINE void down(const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, double* total, Value value) noexcept {
  const F64 d;
  const hn::CappedTag<double, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < n; r += 4) {
    const std::int64_t end = r + 4 < n ? r + 4 : n;
    std::int64_t c = 0;
    for (; c + lanes <= cols; c += lanes) {
      auto v = hn::LoadU(d, total + c);
      for (std::int64_t k = r; k < end; ++k) v = Join::join(v, value(d, load_wide(d, x + k * stride + c), c));
      hn::StoreU(v, d, total + c);
    }
    for (; c < cols; ++c) {
      auto v = hn::Set(one, total[c]);
      for (std::int64_t k = r; k < end; ++k) v = Join::join(v, value(one, hn::Set(one, static_cast<double>(as_float(x[k * stride + c]))), c));
      total[c] = hn::GetLane(v);
    }
  }
}

template <class T>
static void float_columns(ReduceStep step, const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, const double* centre,
                          double* total) noexcept {
  const auto same = [](auto, auto v, std::int64_t) { return v; };
  switch (step) {
    case ReduceStep::sum: return down<Sum>(x, n, stride, cols, total, same);
    case ReduceStep::product: return down<Product>(x, n, stride, cols, total, same);
    case ReduceStep::maximum: return down<Maximum>(x, n, stride, cols, total, same);
    case ReduceStep::minimum: return down<Minimum>(x, n, stride, cols, total, same);
    case ReduceStep::squares:
      return down<Sum>(x, n, stride, cols, total, [centre](auto d, auto v, std::int64_t c) {
        const auto off = centre == nullptr ? v : hn::Sub(v, hn::LoadU(d, centre + c));
        return hn::Mul(off, off);
      });
  }
}

// ---- integers ----

using Total = std::int64_t;

/// Sums and products wrap: their low bits are right for every type.
static HWY_INLINE Total joined(ReduceStep step, Total a, Total b) noexcept {
  using U = std::uint64_t;
  if (step == ReduceStep::sum) return static_cast<Total>(static_cast<U>(a) + static_cast<U>(b));
  if (step == ReduceStep::product) return static_cast<Total>(static_cast<U>(a) * static_cast<U>(b));
  if (step == ReduceStep::maximum) return a > b ? a : b;
  return a < b ? a : b;
}

template <ReduceStep step, class T>
static void integer_rows_of(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t n, Total* total) noexcept {
  for (std::int64_t r = 0; r < rows; ++r) {
    Total t = total[r];
    for (std::int64_t c = 0; c < n; ++c) t = joined(step, t, static_cast<Total>(x[r * stride + c]));
    total[r] = t;
  }
}

template <ReduceStep step, class T>
static void integer_columns_of(const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, Total* total) noexcept {
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t c = 0; c < cols; ++c) total[c] = joined(step, total[c], static_cast<Total>(x[r * stride + c]));
}

/// f(std::integral_constant<ReduceStep, step>) as a template argument, squares left out.
template <class F>
static HWY_INLINE void with_step(ReduceStep step, F f) noexcept {
  switch (step) {
    case ReduceStep::sum: return f.template operator()<ReduceStep::sum>();
    case ReduceStep::product: return f.template operator()<ReduceStep::product>();
    case ReduceStep::maximum: return f.template operator()<ReduceStep::maximum>();
    case ReduceStep::minimum: return f.template operator()<ReduceStep::minimum>();
    case ReduceStep::squares: return;
  }
}

/// f(pointer of the dtype)
template <class F>
static HWY_INLINE void with_type(DType dtype, const void* x, F f) noexcept {
  switch (dtype) {
    case DType::f32: return f(static_cast<const float*>(x));
    case DType::bf16: return f(static_cast<const bf16*>(x));
    case DType::i32: return f(static_cast<const std::int32_t*>(x));
    case DType::u32: return f(static_cast<const std::uint32_t*>(x));
    case DType::u16: return f(static_cast<const std::uint16_t*>(x));
    case DType::u8: return f(static_cast<const std::uint8_t*>(x));
    default: return;
  }
}

template <class T>
inline constexpr bool kIsFloat = false;
template <>
inline constexpr bool kIsFloat<float> = true;
template <>
inline constexpr bool kIsFloat<bf16> = true;

static void rows(ReduceStep step, DType dtype, const void* x, std::int64_t rows, std::int64_t stride, std::int64_t n, const double* centre,
                 void* total) noexcept {
  with_type(dtype, x, [&]<class T>(const T* p) {
    if constexpr (kIsFloat<T>)
      float_rows(step, p, rows, stride, n, centre, static_cast<double*>(total));
    else
      with_step(step, [&]<ReduceStep s>() { integer_rows_of<s>(p, rows, stride, n, static_cast<Total*>(total)); });
  });
}

static void columns(ReduceStep step, DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, const double* centre,
                    void* total) noexcept {
  with_type(dtype, x, [&]<class T>(const T* p) {
    if constexpr (kIsFloat<T>)
      float_columns(step, p, n, stride, cols, centre, static_cast<double*>(total));
    else
      with_step(step, [&]<ReduceStep s>() { integer_columns_of<s>(p, n, stride, cols, static_cast<Total*>(total)); });
  });
}

// ---- running sums ----

template <class T, class Y>
static void running_floats(const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, double* total, Y* y) noexcept {
  const F64 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto put = [](double v, Y* p) {
    if constexpr (sizeof(Y) == 2)
      *p = to_bf16(static_cast<float>(v));
    else
      *p = static_cast<float>(v);
  };
  if (cols == 1) {  // the total in a register
    double sum = *total;
    for (std::int64_t r = 0; r < n; ++r) put(sum += static_cast<double>(as_float(x[r * stride])), y + r * stride);
    *total = sum;
    return;
  }
  for (std::int64_t r = 0; r < n; ++r) {
    const T* const from = x + r * stride;
    Y* const to = y + r * stride;
    std::int64_t c = 0;
    for (; c + lanes <= cols; c += lanes) {
      const auto v = hn::Add(hn::LoadU(d, total + c), load_wide(d, from + c));
      hn::StoreU(v, d, total + c);
      if constexpr (sizeof(Y) == 2) {
        alignas(64) float rounded[hn::MaxLanes(F64())];
        store_narrow(d, v, rounded);
        const hn::Rebind<float, F64> narrow;
        store_row(narrow, hn::LoadU(narrow, rounded), to + c);
      } else {
        store_narrow(d, v, to + c);
      }
    }
    for (; c < cols; ++c) put(total[c] += static_cast<double>(as_float(from[c])), to + c);
  }
}

template <class T>
static void running_integers(const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, Total* total, T* y) noexcept {
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      total[c] = joined(ReduceStep::sum, total[c], static_cast<Total>(x[r * stride + c]));
      y[r * stride + c] = static_cast<T>(total[c]);
    }
}

static void running(DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, void* total, bool y_bf16, void* y) noexcept {
  with_type(dtype, x, [&]<class T>(const T* p) {
    if constexpr (!kIsFloat<T>)
      running_integers(p, n, stride, cols, static_cast<Total*>(total), static_cast<T*>(y));
    else if (y_bf16)
      running_floats(p, n, stride, cols, static_cast<double*>(total), static_cast<bf16*>(y));
    else
      running_floats(p, n, stride, cols, static_cast<double*>(total), static_cast<float*>(y));
  });
}

// ---- the place of the maximum ----

/// The first element that is the row's maximum, or NaN if there is one.
template <class T>
static std::int32_t place_along(const T* x, std::int64_t n) noexcept {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto most = static_cast<float>(along<Maximum>(d, x, n, [](auto, auto v) { return v; }));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = load_row(d, x + i);
    if (!hn::AllFalse(d, hn::Or(hn::Eq(v, hn::Set(d, most)), hn::Not(hn::Eq(v, v))))) break;
  }
  for (; i < n; ++i) {
    const float v = as_float(x[i]);
    if (v == most || v != v) break;
  }
  return static_cast<std::int32_t>(i);
}

template <class T>
static HWY_INLINE bool is_nan(T v) noexcept {
  if constexpr (std::is_floating_point_v<T>)
    return __builtin_isnan(v);
  else
    return false;
}

template <class T, class Best>
static HWY_INLINE bool above(T v, Best best) noexcept {
  return v > best || (is_nan(v) && !is_nan(best));
}

template <class T>
static void places_down(const T* x, std::int64_t n, std::int64_t stride, std::int64_t cols, std::int32_t* place) noexcept {
  constexpr std::int64_t kMost = 256;
  const auto value = [](T v) {
    if constexpr (kIsFloat<T>)
      return as_float(v);
    else
      return v;
  };
  decltype(value(T{})) best[kMost];
  for (std::int64_t c = 0; c < cols; ++c) {
    best[c] = value(x[c]);
    place[c] = 0;
  }
  for (std::int64_t r = 1; r < n; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      const auto v = value(x[r * stride + c]);
      const bool take = above(v, best[c]);
      best[c] = take ? v : best[c];
      place[c] = take ? static_cast<std::int32_t>(r) : place[c];
    }
}

static void argmax(DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, std::int32_t* place) noexcept {
  with_type(dtype, x, [&]<class T>(const T* p) {
    if constexpr (kIsFloat<T>)
      if (cols == 1 && stride == 1) {
        *place = place_along(p, n);
        return;
      }
    places_down(p, n, stride, cols, place);
  });
}

static constexpr ReduceFunctions make_functions() { return {&rows, &columns, &running, &argmax}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(ReduceFunctions, reduce_rows, "f32 and bf16, int32, uint32, uint16 and uint8; any size")
}
#endif

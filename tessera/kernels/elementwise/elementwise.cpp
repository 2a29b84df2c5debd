#include "tessera/kernels/elementwise/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/elementwise/elementwise.cpp"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

// Runs f over whole vectors, then element by element: every element gets the same arithmetic wherever a row is split.
template <class F>
static HWY_INLINE void for_each(std::int64_t n, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(d, i);
  const One one;
  for (; i < n; ++i) f(one, i);
}

template <class F>
static HWY_INLINE void with_type(const void* p, bool is_bf16, F f) noexcept {
  if (is_bf16)
    f(static_cast<const bf16*>(p));
  else
    f(static_cast<const float*>(p));
}
template <class F>
static HWY_INLINE void with_type(void* p, bool is_bf16, F f) noexcept {
  if (is_bf16)
    f(static_cast<bf16*>(p));
  else
    f(static_cast<float*>(p));
}

static void binary(Binary op, const void* a, bool a_bf16, const void* b, bool b_bf16, void* y, bool y_bf16, std::int64_t n) noexcept {
  with_type(a, a_bf16, [&](const auto* pa) {
    with_type(b, b_bf16, [&](const auto* pb) {
      with_type(y, y_bf16, [&](auto* py) {
        switch (op) {
          case Binary::add:
            return for_each(n, [=](auto d, std::int64_t i) { store_row(d, hn::Add(load_row(d, pa + i), load_row(d, pb + i)), py + i); });
          case Binary::subtract:
            return for_each(n, [=](auto d, std::int64_t i) { store_row(d, hn::Sub(load_row(d, pa + i), load_row(d, pb + i)), py + i); });
          case Binary::multiply:
            return for_each(n, [=](auto d, std::int64_t i) { store_row(d, hn::Mul(load_row(d, pa + i), load_row(d, pb + i)), py + i); });
        }
      });
    });
  });
}

static void unary(Unary op, const void* x, bool x_bf16, void* y, bool y_bf16, std::int64_t n) noexcept {
  with_type(x, x_bf16, [&](const auto* px) {
    with_type(y, y_bf16, [&](auto* py) {
      switch (op) {
        case Unary::copy: return for_each(n, [=](auto d, std::int64_t i) { store_row(d, load_row(d, px + i), py + i); });
        case Unary::gelu: return for_each(n, [=](auto d, std::int64_t i) { store_row(d, gelu_erf(d, load_row(d, px + i)), py + i); });
        case Unary::gelu_tanh: return for_each(n, [=](auto d, std::int64_t i) { store_row(d, gelu_tanh(d, load_row(d, px + i)), py + i); });
        case Unary::silu:
          return for_each(n, [=](auto d, std::int64_t i) {
            const auto v = load_row(d, px + i);
            store_row(d, times_sigmoid(d, v, v), py + i);
          });
      }
    });
  });
}

static void scale_shift(const void* x, bool x_bf16, float alpha, float beta, void* y, bool y_bf16, std::int64_t n) noexcept {
  with_type(x, x_bf16, [&](const auto* px) {
    with_type(y, y_bf16, [&](auto* py) {
      for_each(n, [=](auto d, std::int64_t i) { store_row(d, hn::Add(hn::Mul(load_row(d, px + i), hn::Set(d, alpha)), hn::Set(d, beta)), py + i); });
    });
  });
}

static void axpy(float alpha, const float* x, float* y, std::int64_t n) noexcept {
  for_each(n, [=](auto d, std::int64_t i) { hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::Mul(hn::LoadU(d, x + i), hn::Set(d, alpha))), d, y + i); });
}

static bool all_finite(const void* x, bool x_bf16, std::int64_t n) noexcept {
  bool finite = true;
  with_type(x, x_bf16, [&](const auto* px) {
    // Blocks, so that a bad value near the front ends the search early.
    for (std::int64_t start = 0; start < n && finite; start += 4096) {
      const std::int64_t count = n - start < 4096 ? n - start : 4096;
      for_each(count, [&](auto d, std::int64_t i) {
        const auto v = load_row(d, px + start + i);
        finite = finite && hn::AllTrue(d, hn::Le(hn::Abs(v), hn::Set(d, 3.4028235e38f)));
      });
    }
  });
  return finite;
}

static constexpr ElementwiseFunctions make_functions() { return {&binary, &unary, &scale_shift, &axpy, &all_finite}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(ElementwiseFunctions, elementwise_rows, "f32 and bf16, any length")
}
#endif

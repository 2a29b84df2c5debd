#include "tessera/kernels/gemm/epilogue.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/gemm/epilogue.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// e^t for t <= 0, NaN kept. t = n ln 2 + r, polynomial in r (Cephes, expf), then 2^n in two factors so that results fade out through the
// subnormal numbers. Measured error: below 1.5 ulp for results above 2^-126.
template <class D, class V = hn::Vec<D>>
static HWY_INLINE V exp_negative(D d, V t) {
  const hn::RebindToSigned<D> di;
  const V least = hn::Set(d, -110.0f);
  t = hn::IfThenElse(hn::Lt(t, least), least, t);
  const V n = hn::Round(hn::Mul(t, hn::Set(d, 1.44269504088896341f)));
  V r = hn::MulAdd(n, hn::Set(d, -0.693359375f), t);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  // NaN converts to some integer, but p is NaN then, and stays so.
  const auto whole = hn::ConvertTo(di, hn::IfThenElse(hn::IsNaN(n), hn::Zero(d), n));
  const auto half = hn::ShiftRight<1>(whole);
  const auto bias = hn::Set(di, 127);
  const V s0 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V s1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(whole, half), bias)));
  return hn::Mul(hn::Mul(p, s0), s1);
}

// x * sigmoid(t), t of the sign of x: e^-|t| never overflows. x = -inf: the limit, -0.
template <class D, class V = hn::Vec<D>>
static HWY_INLINE V times_sigmoid(D d, V x, V t) {
  const V one = hn::Set(d, 1.0f);
  const V e = exp_negative(d, hn::Neg(hn::Abs(t)));
  const V numerator = hn::IfThenElse(hn::Lt(t, hn::Zero(d)), e, one);
  return hn::Mul(x, hn::Div(numerator, hn::Add(one, e)));
}

template <class D, class V = hn::Vec<D>>
static HWY_INLINE V activated(D d, V x, GemmActivation activation) {
  if (activation == GemmActivation::none) return x;
  const V lowest = hn::Set(d, -3.402823466e38f);
  x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
  if (activation == GemmActivation::silu) return times_sigmoid(d, x, x);
  // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
  const V t = hn::Mul(x, hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.0713548162726f), hn::Set(d, 1.59576912160573f)));
  return times_sigmoid(d, x, t);
}

template <class D>
static HWY_INLINE void some_columns(D d, const GemmEpilogue& e, const float* c, std::int64_t at, const float* gate, const float* residual, void* y,
                                    std::int64_t column) {
  // `at`: place of these columns in the panels of the bias.
  const std::int64_t width = e.panel_columns;
  auto x = hn::LoadU(d, c);
  if (e.bias != nullptr) x = hn::Add(x, hn::LoadU(d, e.bias + at));
  x = activated(d, x, e.activation);
  if (e.gated) {
    auto up = hn::LoadU(d, c + e.c_panel_stride);
    if (e.bias != nullptr) up = hn::Add(up, hn::LoadU(d, e.bias + at + width));
    x = hn::Mul(x, up);
  }
  if (gate != nullptr) x = hn::Mul(x, hn::LoadU(d, gate + column));
  if (residual != nullptr) x = hn::Add(hn::LoadU(d, residual + column), x);
  if (e.y_bf16)
    kernels::HWY_NAMESPACE::store_row(d, x, static_cast<bf16*>(y) + column);
  else
    hn::StoreU(x, d, static_cast<float*>(y) + column);
}

static void epilogue(const GemmEpilogue& e) noexcept {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t step = e.gated ? 2 : 1;
  for (std::int64_t r = 0; r < e.rows; ++r) {
    const float* gate = e.gate == nullptr ? nullptr : e.gate + r * e.gate_stride;
    const float* residual = e.residual == nullptr ? nullptr : e.residual + r * e.residual_stride;
    void* y = e.y_bf16 ? static_cast<void*>(static_cast<bf16*>(e.y) + r * e.y_stride) : static_cast<float*>(e.y) + r * e.y_stride;
    std::int64_t panel = 0;
    for (std::int64_t column = 0; column < e.columns; column += e.panel_columns, panel += step) {
      const float* c = e.c + panel * e.c_panel_stride + r * e.panel_columns;
      const std::int64_t width = HWY_MIN(e.panel_columns, e.columns - column);
      const std::int64_t at = panel * e.panel_columns;
      std::int64_t j = 0;
      if (e.panel_columns % lanes == 0)
        for (; j + lanes <= width; j += lanes) some_columns(d, e, c + j, at + j, gate, residual, y, column + j);
      for (; j < width; ++j) some_columns(one, e, c + j, at + j, gate, residual, y, column + j);
    }
  }
}

static constexpr Epilogue kEpilogue = &epilogue;

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels::gemm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels::gemm {

Epilogue epilogue_for(device::Isa isa) noexcept {
  using device::Isa;
#if HWY_TARGETS & HWY_AVX3
  if (isa >= Isa::avx512) return N_AVX3::kEpilogue;
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa >= Isa::avx2) return N_AVX2::kEpilogue;
#endif
#if HWY_TARGETS & HWY_NEON
  if (isa == Isa::neon) return N_NEON::kEpilogue;
#endif
  static_cast<void>(isa);
  return N_SCALAR::kEpilogue;
}

}  // namespace tessera::kernels::gemm
#endif

#include "tessera/kernels/gemm/epilogue.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/gemm/epilogue.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
static HWY_INLINE V activated(D d, V x, GemmActivation activation) {
  switch (activation) {
    case GemmActivation::gelu_tanh: return kernels::HWY_NAMESPACE::gelu_tanh(d, x);
    case GemmActivation::silu: return kernels::HWY_NAMESPACE::times_sigmoid(d, x, x);
    case GemmActivation::relu: return kernels::HWY_NAMESPACE::relu(d, x);
    case GemmActivation::relu6: return kernels::HWY_NAMESPACE::relu6(d, x);
    case GemmActivation::hardswish: return kernels::HWY_NAMESPACE::hardswish(d, x);
    case GemmActivation::gelu: return kernels::HWY_NAMESPACE::gelu_erf(d, x);
    case GemmActivation::none: break;
  }
  return x;
}

template <class D>
static HWY_INLINE void some_columns(D d, const GemmEpilogue& e, const float* c, std::int64_t at, const float* gate, const void* residual, void* y,
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
  if (residual != nullptr)
    x = hn::Add(e.residual_bf16 ? kernels::HWY_NAMESPACE::load_row(d, static_cast<const bf16*>(residual) + column)
                                : hn::LoadU(d, static_cast<const float*>(residual) + column),
                x);
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
    const void* residual = e.residual;
    if (residual != nullptr)
      residual = e.residual_bf16 ? static_cast<const void*>(static_cast<const bf16*>(residual) + r * e.residual_stride)
                                 : static_cast<const float*>(residual) + r * e.residual_stride;
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

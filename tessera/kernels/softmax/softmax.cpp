#include "tessera/kernels/softmax/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/softmax/softmax.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "hwy/contrib/math/math-inl.h"  // after foreach_target.h, once for every target

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using One = hn::CappedTag<float, 1>;

static void softmax(float* x, std::int64_t n) noexcept {
  const D d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  // A NaN may be passed over here: its own exponential brings it into the sum.
  V most = hn::Set(d, -__builtin_inff());
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V v = hn::LoadU(d, x + i);
    most = hn::IfThenElse(hn::Gt(v, most), v, most);
  }
  float m = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) m = x[i] > m ? x[i] : m;
  V part = hn::Zero(d);
  for (i = 0; i + lanes <= n; i += lanes) {
    const V v = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, m));
    const V e = hn::IfThenElse(hn::Eq(v, v), hn::Exp(d, v), v);
    hn::StoreU(e, d, x + i);
    part = hn::Add(part, e);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, part));
  for (; i < n; ++i) {
    const float v = x[i] - m;
    x[i] = v == v ? hn::GetLane(hn::Exp(one, hn::Set(one, v))) : v;
    sum += x[i];
  }
  for (i = 0; i + lanes <= n; i += lanes) hn::StoreU(hn::Div(hn::LoadU(d, x + i), hn::Set(d, sum)), d, x + i);
  for (; i < n; ++i) x[i] /= sum;
}

static constexpr SoftmaxFunctions make_functions() { return {&softmax}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(SoftmaxFunctions, softmax_rows, "f32, any width")
}
#endif

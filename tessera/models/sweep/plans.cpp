#include <fmt/core.h>

#include <limits>

#include "tessera/models/sweep/judge.h"
#include "tessera/models/sweep/runner.h"
#include "tessera/ops/adaptive_plan.h"
#include "tessera/ops/pool.h"

namespace tessera::models {
namespace {

using I = std::int64_t;
using ops::ImageSize;
using ops::UniformAxis;

/// Which input stands at each position of the padded and stretched axis; -1 where none does.
std::vector<I> stretched(const UniformAxis& axis, I in) {
  std::vector<I> all(static_cast<std::size_t>(axis.before), -1);
  for (I x = 0; x < in; ++x) {
    for (const std::int32_t gap : axis.gaps)
      if (gap == x) all.push_back(-1);
    all.push_back(x);
  }
  all.insert(all.end(), static_cast<std::size_t>(axis.after), -1);
  return all;
}

/// The plan as an accelerator with one kernel and one stride would carry it out: neutral values where no input stands, and for averages
/// sums, divided afterwards by the inputs that PyTorch's windows hold.
std::vector<float> carried_out(Context& ctx, const SweepProblem& p, const SweepData& data, const ops::AdaptivePlan& plan, ImageSize& y) {
  const std::vector<I> rows = stretched(plan.h, p.x.h), columns = stretched(plan.w, p.x.w);
  const float neutral = p.maximum() ? -std::numeric_limits<float>::infinity() : 0.0f;
  const Shape shape{p.x.n, static_cast<I>(rows.size()), static_cast<I>(columns.size()), p.x.c};
  Tensor x = Tensor::empty(shape, DType::f32);
  float* to = x.data<float>();
  for (I n = 0; n < p.x.n; ++n)
    for (const I row : rows)
      for (const I column : columns)
        for (I c = 0; c < p.x.c; ++c)
          *to++ = row < 0 || column < 0 ? neutral : data.x[static_cast<std::size_t>(((n * p.x.h + row) * p.x.w + column) * p.x.c + c)];
  const std::array<I, 2> kernel = {plan.h.kernel, plan.w.kernel}, stride = {plan.h.stride, plan.w.stride};
  const Tensor result = p.maximum() ? ops::max_pool2d(ctx, x, {.kernel = kernel, .stride = stride})
                                    : ops::avg_pool2d(ctx, x, {.kernel = kernel, .stride = stride, .divisor_override = 1});
  y = {result.shape()[0], result.shape()[1], result.shape()[2], result.shape()[3]};
  std::vector<float> values(result.span<float>().begin(), result.span<float>().end());
  if (p.maximum() || y != ImageSize{p.x.n, p.output[0], p.output[1], p.x.c}) return values;
  float* v = values.data();
  for (I n = 0; n < y.n; ++n)
    for (I i = 0; i < y.h; ++i)
      for (I j = 0; j < y.w; ++j) {
        const SweepWindow h = adaptive_window(i, p.x.h, y.h), w = adaptive_window(j, p.x.w, y.w);
        for (I c = 0; c < y.c; ++c) *v++ /= static_cast<float>((h.last - h.first) * (w.last - w.first));
      }
  return values;
}

}  // namespace

std::vector<std::string> check_plans(Context& ctx, const SweepProblem& p, const SweepData& data, const SweepExpected& want, SweepRow& row) {
  const ops::AdaptivePlans plans = ops::plan_adaptive_pool(p.x.h, p.x.w, p.output[0], p.output[1]);
  std::vector<std::string> kinds;
  row.plan = ops::name(plans.best().strategy);
  kinds.push_back("best " + row.plan);
  for (const ops::AdaptivePlan& plan : plans.exact) {
    if (plan.strategy == ops::PoolStrategy::direct) continue;
    const std::string strategy(ops::name(plan.strategy));
    kinds.push_back(strategy);
    if (row.uniform_plan.empty()) row.uniform_plan = strategy, row.memory_overhead = plan.memory_overhead;
    ImageSize y;
    const std::vector<float> got = carried_out(ctx, p, data, plan, y);
    SweepVerdict verdict = judge(want, got, DType::f32);
    if (y != want.y) verdict = {false, 0, 0, 0, {}, fmt::format("gives {} for {}", shape_text(y), shape_text(want.y))};
    ++row.runs;
    if (verdict.pass) continue;
    row.pass = false;
    if (row.error.empty()) row.error = fmt::format("plan {}: {}", strategy, verdict.first);
  }
  return kinds;
}

}  // namespace tessera::models

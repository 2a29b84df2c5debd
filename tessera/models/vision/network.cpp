#include "tessera/models/vision/network.h"

#include <utility>

#include "tessera/ops/pool.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;

constexpr const char* kStageNames[kMostStages] = {"stage: blocks 1", "stage: blocks 2", "stage: blocks 3", "stage: blocks 4",
                                                  "stage: blocks 5", "stage: blocks 6", "stage: blocks 7"};

}  // namespace

Shape InvertedResidual::shape(const Shape& x) const {
  const Shape wide = expand.defined() ? ops::conv2d_shape(x, expand) : x;
  return ops::conv2d_shape(ops::conv2d_shape(wide, depthwise), project);
}

void InvertedResidual::operator()(Context& ctx, const Tensor& x, Tensor& y) const {
  Scope scope(ctx.workspace());
  Tensor wide = x;
  if (expand.defined()) {
    wide = scope.tensor(ops::conv2d_shape(x.shape(), expand), x.dtype());
    ops::conv2d(ctx, x, expand, wide);
  }
  Tensor filtered = scope.tensor(ops::conv2d_shape(wide.shape(), depthwise), x.dtype());
  ops::conv2d(ctx, wide, depthwise, filtered);
  ops::conv2d(ctx, filtered, project, y, residual ? x : Tensor());
}

void VisionNetwork::embed(Context& ctx, const Tensor& pictures, Tensor& features) const {
  Scope scope(ctx.workspace());
  const DType dtype = dtype_of(precision);
  const std::int64_t elements = pictures.shape()[0] * widest;
  Tensor here = scope.tensor({elements}, dtype);  // what a block reads
  Tensor next = scope.tensor({elements}, dtype);  // and where it writes, unless it adds to what it reads
  const auto view = [dtype](Tensor& buffer, const Shape& shape) { return Tensor::borrow(buffer.raw(), shape, dtype); };

  Tensor x = view(here, ops::conv2d_shape(pictures.shape(), stem));
  {
    runtime::Zone zone(ctx.profiler(), "stage: stem");
    ops::conv2d(ctx, pictures, stem, x);
  }
  for (std::size_t s = 0; s < stages.size(); ++s) {
    runtime::Zone zone(ctx.profiler(), kStageNames[s]);
    for (const InvertedResidual& block : stages[s].blocks) {
      if (block.residual) {
        block(ctx, x, x);
        continue;
      }
      Tensor y = view(next, block.shape(x.shape()));
      block(ctx, x, y);
      std::swap(here, next);
      x = y;
    }
  }
  runtime::Zone zone(ctx.profiler(), "stage: head");
  Tensor y = scope.tensor(ops::conv2d_shape(x.shape(), head), dtype);
  ops::conv2d(ctx, x, head, y);
  ops::adaptive_avg_pool2d(ctx, y, {.output = {1, 1}, .order = ops::ImageOrder::nhwc}, features);
}

void VisionNetwork::operator()(Context& ctx, const Tensor& x, Tensor& logits) const {
  const std::int64_t n = x.shape()[0];
  const std::int64_t width = classifier.k();
  Scope scope(ctx.workspace());
  Tensor features = scope.tensor({n, 1, 1, width}, dtype_of(precision));
  const auto picture = [&](Context& context, std::int64_t i) {
    Tensor row = features.narrow(i, 1);
    embed(context, x.narrow(i, 1), row);
  };
  // A picture's blocks stay in cache, so pictures go one by one; while there is one for every thread, each thread takes its own (ten
  // pictures on two threads of a Zen 3: 1.1 to 1.4 times as fast as splitting every op; more threads were not timed). The profiler sees the
  // ops of this context alone.
  const std::int64_t alone = ctx.profiler().on() ? 0 : n / ctx.threads() * ctx.threads();
  ctx.each_alone(alone, picture);
  for (std::int64_t i = alone; i < n; ++i) picture(ctx, i);
  runtime::Zone zone(ctx.profiler(), "stage: classifier");
  ops::linear(ctx, features.reshape({n, width}), classifier, {}, logits);
}

}  // namespace tessera::models

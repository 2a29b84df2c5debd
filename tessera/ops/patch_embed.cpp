#include "tessera/ops/patch_embed.h"

#include <cstring>
#include <string>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

struct Sizes {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t down = 0;    // patches along a column
  std::int64_t across = 0;  // patches along a row
};

Sizes sizes_of(const char* op, const Tensor& x, std::int64_t patch) {
  if (!x.defined() || x.dtype() != DType::f32 || !x.is_contiguous() || x.shape().rank() != 4)
    fail_expected(op, "x as contiguous float32 [batch, channels, height, width]", x.str());
  const std::int64_t height = x.shape()[2];
  const std::int64_t width = x.shape()[3];
  if (patch < 1 || height < patch || width < patch || height % patch != 0 || width % patch != 0)
    fail_expected(op, "a height and width that are multiples of the patch " + std::to_string(patch), x.str());
  return {x.shape()[0], x.shape()[1], height / patch, width / patch};
}

void copy(float* to, const float* from, std::int64_t count) { std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float)); }
void copy(bf16* to, const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_bf16(from[i]);
}

template <class T>
void fold(Context& ctx, const Sizes& size, const float* x, std::int64_t patch, T* y) {
  const std::int64_t height = size.down * patch;
  const std::int64_t width = size.across * patch;
  const std::int64_t columns = size.channels * patch * patch;
  // One row of patches an item.
  ctx.pool().parallel_for(size.batch * size.down, [&](std::int64_t item, int) {
    const std::int64_t batch = item / size.down;
    const std::int64_t top = item % size.down * patch;
    T* const to = y + item * size.across * columns;
    for (std::int64_t c = 0; c < size.channels; ++c)
      for (std::int64_t r = 0; r < patch; ++r) {
        const float* const from = x + ((batch * size.channels + c) * height + top + r) * width;
        for (std::int64_t p = 0; p < size.across; ++p) copy(to + p * columns + (c * patch + r) * patch, from + p * patch, patch);
      }
  });
}

}  // namespace

void fold_patches(Context& ctx, const Tensor& x, std::int64_t patch, Tensor& y) {
  constexpr const char* kOp = "fold_patches";
  const Sizes size = sizes_of(kOp, x, patch);
  const Shape shape{size.batch, size.down * size.across, size.channels * patch * patch};
  if (!y.defined() || y.shape() != shape || !y.is_contiguous() || (y.dtype() != DType::f32 && y.dtype() != DType::bf16))
    fail_expected(kOp, "y as contiguous float32 or bfloat16 " + shape.str(), y.str());
  runtime::Zone zone(ctx.profiler(), kOp, "copy", 0, static_cast<double>(x.bytes()) + static_cast<double>(y.bytes()));
  if (y.dtype() == DType::f32)
    fold(ctx, size, x.data<float>(), patch, y.data<float>());
  else
    fold(ctx, size, x.data<float>(), patch, y.data<bf16>());
}

void patch_embed(Context& ctx, const Tensor& x, std::int64_t patch, const PreparedLinear& w, const Tensor& position, Tensor& y) {
  constexpr const char* kOp = "patch_embed";
  const Sizes size = sizes_of(kOp, x, patch);
  const std::int64_t patches = size.down * size.across;
  const std::int64_t columns = size.channels * patch * patch;
  if (!w.defined() || w.gated() || w.k() != columns)
    fail_expected(kOp, "weights [n, " + std::to_string(columns) + "]",
                  !w.defined() ? std::string("none") : std::string(w.gated() ? "a gated pair" : "[n, " + std::to_string(w.k()) + "]"));
  const Shape shape{size.batch, patches, w.n()};
  if (!y.defined() || y.shape() != shape || !y.is_contiguous() || (y.dtype() != DType::f32 && y.dtype() != DType::bf16))
    fail_expected(kOp, "y as contiguous float32 or bfloat16 " + shape.str(), y.str());
  if (position.defined() && (position.dtype() != DType::f32 || position.shape() != Shape{patches, w.n()} || !position.is_contiguous()))
    fail_expected(kOp, "position as contiguous float32 " + Shape{patches, w.n()}.str(), position.str());
  runtime::Workspace::Scope scope(ctx.workspace());
  // bf16 weights round x to bf16 anyway: fold straight to it.
  Tensor folded = scope.tensor({size.batch, patches, columns}, w.input_dtype());
  fold_patches(ctx, x, patch, folded);
  const Tensor rows = folded.reshape({size.batch * patches, columns});
  Tensor out = y.reshape({size.batch * patches, w.n()});
  if (!position.defined()) return linear(ctx, rows, w, {}, out);
  for (std::int64_t b = 0; b < size.batch; ++b) {
    Tensor part = out.narrow(b * patches, patches);
    linear(ctx, rows.narrow(b * patches, patches), w, {.activation = Activation::none, .residual = position, .gate = {}}, part);
  }
}

}  // namespace tessera::ops

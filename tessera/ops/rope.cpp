#include "tessera/ops/rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/rope/rope.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kTokensPerItem = 32;

void check_table(const char* op, const RopeTable& table, const Shape& shape) {
  for (const Tensor* t : {&table.cos, &table.sin})
    if (!t->defined() || t->dtype() != DType::f32 || t->shape() != shape || !t->is_contiguous())
      fail_expected(op, "tables cos and sin, contiguous float32 " + shape.str(), t->str(), "ops::to_layout converts");
}

void check_head_dim(std::int64_t head_dim) {
  if (head_dim < 2 || head_dim % 2 != 0) fail_expected("rope", "an even head_dim of 2 or more", std::to_string(head_dim));
}

}  // namespace

void rope_table(Context& ctx, std::span<const std::int32_t> positions, std::int64_t head_dim, float theta, RopeTable& table) {
  check_head_dim(head_dim);
  const auto tokens = static_cast<std::int64_t>(positions.size());
  const std::int64_t half = head_dim / 2;
  const Shape shape{tokens, half};
  check_table("rope_table", table, shape);
  runtime::Zone zone(ctx.profiler(), "rope_table", "double", 0, static_cast<double>(2 * tokens * half * 4));
  float* cos = table.cos.data<float>();
  float* sin = table.sin.data<float>();
  ctx.pool().parallel_for((tokens + kTokensPerItem - 1) / kTokensPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(tokens, (item + 1) * kTokensPerItem);
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      for (std::int64_t t = item * kTokensPerItem; t < end; ++t) {
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(t)]) * frequency;
        cos[t * half + i] = static_cast<float>(std::cos(angle));
        sin[t * half + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
}

RopeTable rope_table(Context& ctx, std::span<const std::int32_t> positions, std::int64_t head_dim, float theta) {
  check_head_dim(head_dim);
  const Shape shape{static_cast<std::int64_t>(positions.size()), head_dim / 2};
  RopeTable table{Tensor::empty(shape, DType::f32), Tensor::empty(shape, DType::f32)};
  rope_table(ctx, positions, head_dim, theta, table);
  return table;
}

void rope(Context& ctx, Tensor& x, std::int64_t heads, const RopeTable& table) {
  if (!x.defined() || x.dtype() != DType::f32 || x.layout() != Layout::row_major || x.shape().rank() != 2)
    fail_expected("rope", "x as row-major float32 [tokens, heads * head_dim]", x.str(), "ops::to_layout converts");
  const std::int64_t tokens = x.rows();
  if (heads < 1 || x.cols() < 2 * heads || x.cols() % (2 * heads) != 0)
    fail_expected("rope", "rows of " + std::to_string(heads) + " heads of an even size", x.str());
  const std::int64_t half = x.cols() / (2 * heads);
  check_table("rope", table, {tokens, half});
  float* data = x.data<float>();
  const float* cos = table.cos.data<float>();
  const float* sin = table.sin.data<float>();
  const auto& row = choose(ctx, "rope", kernels::rope_rows());
  const double n = static_cast<double>(x.numel());
  runtime::Zone zone(ctx.profiler(), "rope", row.info.name, 3 * n, 8 * n + 8 * static_cast<double>(tokens * half));
  ctx.pool().parallel_for((tokens + kTokensPerItem - 1) / kTokensPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(tokens, (item + 1) * kTokensPerItem);
    for (std::int64_t t = item * kTokensPerItem; t < end; ++t)
      row.functions.rotate(data + t * x.row_stride(), heads, half, cos + t * half, sin + t * half);
  });
}

}  // namespace tessera::ops

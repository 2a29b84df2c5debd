// Movement without arithmetic: the only place that converts layouts; also concat, slice, pad, transpose. Bit for bit.
// Test: tests/ops/reorder_test.cpp; page: docs/ops/reorder.md.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// The same elements in `layout`, any dtype, any rank; padding of tiles is filled with zero. Block floats leave their tiles as bfloat16, which
/// holds each of them exactly. Source: ttnn.to_layout.
Tensor to_layout(Context& ctx, const Tensor& x, Layout layout);
/// Writes x's elements into y (same shape and dtype, either layout; block floats: tiles, or row-major bfloat16). Padding of y that is not an element
/// is left alone.
void to_layout(Context& ctx, const Tensor& x, Tensor& y);

/// Joins along `dim` (negative counts from the back); other sizes and dtypes equal; row-major. Source: torch.cat.
Tensor concat(Context& ctx, std::span<const Tensor> parts, std::int64_t dim);
/// Elements [start, end) of every dimension, steps of 1; row-major. Source: ttnn.slice.
Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end);
/// before[i] and after[i] elements of `value` around dimension i; row-major. Source: ttnn.pad.
Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value);
/// Dimensions in the order `dims`; row-major in and out. Source: torch.permute (with a copy).
Tensor permute(Context& ctx, const Tensor& x, std::span<const std::int64_t> dims);
/// A contiguous copy of a row-major tensor (for views with a row stride).
Tensor contiguous(Context& ctx, const Tensor& x);

}  // namespace tessera::ops

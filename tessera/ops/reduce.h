// Many numbers to one, over any dimensions: sums, means, extremes, products, variances; running sums; the place of the maximum.
// Test: tests/ops/reduce_test.cpp; page: docs/ops/reduce.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// var and std are unbiased (divided by n - 1). Source: torch.sum, mean, amax, amin, prod, var, std.
enum class ReduceOp : std::uint8_t { sum, mean, max, min, prod, var, std };

/// "mean"
std::string_view name(ReduceOp op) noexcept;
/// The op of that name; nothing for another word.
std::optional<ReduceOp> reduce_op(std::string_view name) noexcept;

/// x's shape with the dimensions `dims` (negative from the back, each once; empty: all) of size 1, or left out. Throws Error on others.
Shape reduced_shape(const Shape& x, std::span<const std::int64_t> dims, bool keepdim);

/// y = op of x over `dims`, y of reduced_shape(x, dims, true) or (x, dims, false). x and y f32 or bf16: summed in f64, rounded once to f32 and from
/// it to bf16; NaN passes through. Or both of one dtype of int32, uint32, uint16 and uint8, for sum, max, min and prod: exact, wrapping. Row-major
/// and contiguous, in different memory. max and min of nothing are an Error; sums of nothing are 0, products 1, the others NaN.
void reduce(Context& ctx, const Tensor& x, ReduceOp op, std::span<const std::int64_t> dims, Tensor& y);

/// y[i] = x[0] + ... + x[i] along `dim`. f32 or bf16 on both sides: summed in f64, each element rounded once to f32 and from it to bf16; or one
/// integer dtype, wrapping. y of x's shape; row-major and contiguous; y may be x where the dtypes are equal. Source: torch.cumsum, ttnn.moreh_cumsum.
void cumsum(Context& ctx, const Tensor& x, std::int64_t dim, Tensor& y);

/// y = where along `dim` the first of x's largest elements stands, NaN being larger than any number. x f32, bf16, int32, uint32, uint16 or uint8; y
/// int32 or uint32 of reduced_shape(x, dim, true) or (x, dim, false). Row-major and contiguous. Source: torch.argmax.
void argmax(Context& ctx, const Tensor& x, std::int64_t dim, Tensor& y);

}  // namespace tessera::ops

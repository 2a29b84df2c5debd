// Functions of two numbers, element by element, with broadcasting: arithmetic, comparisons, logic; and the choice between two tensors.
// Test: tests/ops/binary_test.cpp; page: docs/ops/binary.md.
#pragma once

#include <optional>
#include <string_view>

#include "tessera/core/tensor.h"
#include "tessera/kernels/binary/binary.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// PyTorch's functions of these names; rsub is b - a, prelu a < 0 ? a b : a, bias_gelu gelu(a + b) in the erf form. The page has the ends.
using kernels::BinaryOp;

/// "squared_difference"
std::string_view name(BinaryOp op) noexcept;
/// The op of that name; nothing for another word.
std::optional<BinaryOp> binary_op(std::string_view name) noexcept;

/// The shape that two shapes broadcast to: aligned at the last dimension, sizes equal or 1. Throws Error, whose text has TTNN's words "Invalid
/// subtile broadcast type", where they do not.
Shape broadcast_shape(const Shape& a, const Shape& b);

/// y = a op b. a, b and y: each f32 or bf16, computed in f32 and rounded once, comparisons and logic giving 1 or 0 (no bitwise ops); or all three of
/// one dtype of int32, uint32, uint16 and uint8, exact and wrapping (divide and floor_divide: toward -inf; anything divided by 0: 0; no
/// bias_gelu). y of broadcast_shape(a, b); all row-major and contiguous. y may be a or b itself where its shape is that.
void binary(Context& ctx, const Tensor& a, const Tensor& b, BinaryOp op, Tensor& y);
/// The same with a number for b: for floats rounded to f32, for integers one that their dtype holds. y of a's shape, may be a.
void binary(Context& ctx, const Tensor& a, double b, BinaryOp op, Tensor& y);

/// y = condition != 0 ? a : b (NaN is not 0), the three broadcast together. condition of any dtype but the block floats and f16; a, b and y each
/// f32 or bf16, or all of one dtype of int32, uint32, uint16 and uint8. Source: torch.where, ttnn.where.
void where(Context& ctx, const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);

}  // namespace tessera::ops

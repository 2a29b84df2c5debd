// The product of two tensors, each a matrix or a stack of them, with what linear fuses in. For weights that come back, prepare_matmul and linear().
// Test: tests/ops/matmul_test.cpp; page: docs/ops/matmul.md.
#pragma once

#include "tessera/core/tensor.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct Matmul {
  bool transpose_a = false;                  // a is [..., k, m]
  bool transpose_b = false;                  // b is [..., n, k]
  Activation activation = Activation::none;  // applied after the bias
  Tensor bias = {};                          // f32 or bf16 [n], ones in front allowed; undefined: none
};

/// The shape of y. Throws Error where the operands do not fit: no dimension at all, other inner sizes, leading sizes that do not broadcast, a
/// transposition of an operand of one dimension.
Shape matmul_shape(const Shape& a, const Shape& b, const Matmul& options);

/// y = act(a b + bias): a [..., m, k], b [..., k, n] after the transpositions, y [..., m, n] with the leading sizes broadcast. An operand of one
/// dimension is a row (a) or a column (b), and y lacks that dimension. All f32 or bf16, row-major, contiguous; y overlaps none of the others.
/// Two bf16 operands: their products are summed in f32. An operand in f32: all of it in f32. y is rounded once. k = 0: zeros, bias and activation.
/// NaN and Inf propagate as in IEEE arithmetic. FLOPs 2 m n k a matrix. Source: torch.matmul.
void matmul(Context& ctx, const Tensor& a, const Tensor& b, const Matmul& options, Tensor& y);

/// b [k, n] (transpose_b: [n, k]; f32, bf16 or f16, contiguous; ones in front allowed) as weights of linear(), packed once for `precision`. bias [n]
/// or undefined.
PreparedLinear prepare_matmul(Context& ctx, const Tensor& b, bool transpose_b, const Tensor& bias, DType precision);

}  // namespace tessera::ops

// Functions of one number, element by element: roots, exponentials, angles, activations, rounding, tests. Parameters are numbers.
// Test: tests/ops/unary_test.cpp; page: docs/ops/unary.md.
#pragma once

#include <optional>
#include <string_view>

#include "tessera/core/tensor.h"
#include "tessera/kernels/unary/unary.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// PyTorch's functions of these names (torch, torch.nn.functional); the page says what each computes at its ends.
using kernels::UnaryOp;

/// "leaky_relu"
std::string_view name(UnaryOp op) noexcept;
/// The op of that name; nothing for another word.
std::optional<UnaryOp> unary_op(std::string_view name) noexcept;

/// a and b, for the ops that have them:
///   leaky_relu (slope), elu (alpha), celu (alpha, not 0), hardshrink (lambda), softshrink (lambda), heaviside (value at 0): a
///   hardtanh, clip: from a to b, and b where they cross; NaN is no bound
///   softplus: a = beta (not 0), b = threshold;  threshold: b where x <= a;  xielu: a = alpha_p, b = alpha_n
struct Unary {
  UnaryOp op = UnaryOp::identity;
  float a = 0;
  float b = 0;
};

/// y = op(x). x f32 or bf16, y f32 or bf16: computed in f32, rounded once. Or both of one dtype of int32, uint32, uint16 and uint8, for identity,
/// abs, neg, sign, square, relu, relu6, clip and logical_not: exact, wrapping (clip: the whole numbers between a and b). Same shape, row-major, rows
/// may be strided; y may be x.
void unary(Context& ctx, const Tensor& x, const Unary& options, Tensor& y);
/// The same into a fresh tensor of x's dtype.
Tensor unary(Context& ctx, const Tensor& x, const Unary& options);

}  // namespace tessera::ops

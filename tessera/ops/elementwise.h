// One output per element: sums, products, activations (conversions of dtype: ops/typecast.h). Test: tests/ops/elementwise_test.cpp; page:
// docs/ops/elementwise.md.
#pragma once

#include "tessera/core/tensor.h"
#include "tessera/ops/typecast.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

// Shapes must be equal, except that b may be [n] (or [1, n]) against a's last dimension n: then it is used for every row.
// Inputs and output f32 or bf16, arithmetic f32, rows may be strided; y may be a or b itself.

/// y = a + b
void add(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
/// y = a - b
void subtract(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
/// y = a * b
void multiply(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
/// y = alpha x + beta
void scale_shift(Context& ctx, const Tensor& x, float alpha, float beta, Tensor& y);
/// y += alpha x, each as one rounded multiply and one rounded add (torch: y + alpha * x), y f32.
void axpy(Context& ctx, float alpha, const Tensor& x, Tensor& y);
/// 0.5 x (1 + erf(x / sqrt 2)). Source: torch.nn.functional.gelu.
void gelu(Context& ctx, const Tensor& x, Tensor& y);
/// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Source: torch.nn.functional.gelu(approximate="tanh").
void gelu_tanh(Context& ctx, const Tensor& x, Tensor& y);
/// x / (1 + exp(-x))
void silu(Context& ctx, const Tensor& x, Tensor& y);
/// True when no element of x (f32, bf16 or f16) is NaN or infinite; integers always are.
bool all_finite(Context& ctx, const Tensor& x);

}  // namespace tessera::ops

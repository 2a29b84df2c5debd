// Functions of one number over a stretch of elements: f32 or bf16 computed in f32, or integers exactly. Test: tests/kernels/unary_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// What each one computes, and its parameters a and b: docs/ops/unary.md.
enum class UnaryOp : std::uint8_t {
  identity,
  abs,
  neg,
  sign,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  erf,
  erfc,
  lgamma,
  sigmoid,
  log_sigmoid,
  relu,
  relu6,
  silu,
  gelu,
  gelu_tanh,
  mish,
  softsign,
  tanhshrink,
  hardsigmoid,
  hardswish,
  floor,
  ceil,
  round,
  trunc,
  isnan,
  isinf,
  isfinite,
  logical_not,
  leaky_relu,
  elu,
  celu,
  selu,
  hardtanh,
  clip,
  hardshrink,
  softshrink,
  softplus,
  threshold,
  heaviside,
  xielu,
};

/// y may be x where both have one type.
struct UnaryFunctions {
  /// Any of f32 and bf16 on both sides; the flags say which pointers are bf16.
  void (*floats)(UnaryOp op, float a, float b, const void* x, bool x_bf16, void* y, bool y_bf16, std::int64_t n) noexcept;
  /// x and y of `dtype`: i32, u32, u16 or u8. Serves identity, abs, neg, sign, square, relu, relu6, logical_not and clip (to low and high, which
  /// the dtype can hold); leaves y alone for the others.
  void (*integers)(UnaryOp op, DType dtype, std::int64_t low, std::int64_t high, const void* x, void* y, std::int64_t n) noexcept;
};

std::span<const Row<UnaryFunctions>> unary_rows();

}  // namespace tessera::kernels

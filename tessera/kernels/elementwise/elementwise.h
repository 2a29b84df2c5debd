// One stretch of elementwise arithmetic: f32 or bf16 in and out, computed in f32. Test: tests/kernels/elementwise_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

enum class Binary : std::uint8_t { add, subtract, multiply };
enum class Unary : std::uint8_t { copy, gelu, gelu_tanh, silu };

/// Any of f32 and bf16 for each operand; the flags say which pointers are bf16.
struct ElementwiseFunctions {
  void (*binary)(Binary op, const void* a, bool a_bf16, const void* b, bool b_bf16, void* y, bool y_bf16, std::int64_t n) noexcept;
  void (*unary)(Unary op, const void* x, bool x_bf16, void* y, bool y_bf16, std::int64_t n) noexcept;
  /// y = alpha x + beta, multiply and add rounded separately
  void (*scale_shift)(const void* x, bool x_bf16, float alpha, float beta, void* y, bool y_bf16, std::int64_t n) noexcept;
  /// y += alpha x, multiply and add rounded separately
  void (*axpy)(float alpha, const float* x, float* y, std::int64_t n) noexcept;
  bool (*all_finite)(const void* x, bool x_bf16, std::int64_t n) noexcept;
};

std::span<const Row<ElementwiseFunctions>> elementwise_rows();

}  // namespace tessera::kernels

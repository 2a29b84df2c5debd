// Functions of two numbers, and the choice between two, over a stretch of elements: f32, or integers exactly. Test: tests/kernels/binary_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// What each one computes: docs/ops/binary.md.
enum class BinaryOp : std::uint8_t {
  add,
  subtract,
  rsub,
  multiply,
  divide,
  power,
  maximum,
  minimum,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  logical_and,
  logical_or,
  logical_xor,
  prelu,
  bias_gelu,
  bitwise_and,
  bitwise_or,
  bitwise_xor,
  floor_divide,
  remainder,
  fmod,
  squared_difference,
};

/// y may be a or b.
struct BinaryFunctions {
  /// y[i] = a[i] op b[i]; the first element serves all where `one` is set. Serves every op but the bitwise ones, for which it leaves y alone.
  void (*floats)(BinaryOp op, const float* a, bool a_one, const float* b, bool b_one, float* y, std::int64_t n) noexcept;
  /// y[i] = a[i] op b[i], all of `dtype`: i32, u32, u16 or u8. Serves every op but bias_gelu.
  void (*integers)(BinaryOp op, DType dtype, const void* a, const void* b, void* y, std::int64_t n) noexcept;
  /// y[i] = condition[i] != 0 ? a[i] : b[i], elements of 4, 2 or 1 bytes.
  void (*select)(std::size_t element, const float* condition, const void* a, const void* b, void* y, std::int64_t n) noexcept;
  void (*widen)(const bf16* x, float* y, std::int64_t n) noexcept;
  void (*narrow)(const float* x, bf16* y, std::int64_t n) noexcept;
};

std::span<const Row<BinaryFunctions>> binary_rows();

}  // namespace tessera::kernels

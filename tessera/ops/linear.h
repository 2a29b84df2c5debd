// y = x W^T + b with what follows it fused in: activation, gate, residual. Weights are packed once for the kernel row that will run.
// May not keep the unpacked weights. Test: tests/ops/linear_test.cpp; page: docs/ops/linear.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// gelu is the erf form.
enum class Activation : std::uint8_t { none, gelu_tanh, silu, relu, relu6, hardswish, gelu };

/// Weights of one linear layer in the layout of one kernel row: opaque, shared, immutable.
class PreparedLinear {
 public:
  PreparedLinear() = default;
  bool defined() const noexcept { return impl_ != nullptr; }
  /// Output width seen by the caller (for a gated pair: the width of one half).
  std::int64_t n() const noexcept;
  std::int64_t k() const noexcept;
  /// f32, bf16 or i8: what the matrix kernel multiplies.
  DType dtype() const noexcept;
  /// What x is best kept as before the product: f32 for f32 weights, else bf16.
  DType input_dtype() const noexcept { return dtype() == DType::f32 ? DType::f32 : DType::bf16; }
  bool gated() const noexcept;
  bool has_bias() const noexcept;
  /// Bytes held, padding included.
  std::size_t bytes() const noexcept;
  /// Name of the kernel row that it was packed for, "avx2_f32".
  std::string_view row() const noexcept;

  struct Impl;

 private:
  friend struct LinearAccess;
  std::shared_ptr<const Impl> impl_;
};

/// One block of weights as it stands in the file: [n, k] (out, in), any of f32, bf16, f16, row-major; bias [n] or undefined.
struct LinearPart {
  Tensor weight;
  Tensor bias;
};

/// Stacks the parts along n (q, k, v: one product for all) and packs them for `precision` (f32, bf16, or i8: one scale per output, k up to 65536).
/// Parts are read once, front to back, so that mapped files can be let go. Either all parts have a bias or none.
PreparedLinear prepare_linear(Context& ctx, std::span<const LinearPart> parts, DType precision);
inline PreparedLinear prepare_linear(Context& ctx, const LinearPart& part, DType precision) {
  return prepare_linear(ctx, std::span<const LinearPart>(&part, 1), precision);
}
/// Packs gate and up of the same shape so that linear() yields act(x gate^T) * (x up^T) in one pass.
PreparedLinear prepare_gated_linear(Context& ctx, const LinearPart& gate, const LinearPart& up, DType precision);

/// What int8 would make of a weight [n, k] (f32, bf16 or f16): root mean square of what rounding changes, over the mean magnitude of the weights. Of
/// at most 512 rows, evenly spread. 0 for weights of zero; infinite where one is NaN or infinite, and where k is beyond what int8 takes. A bell curve
/// has about 0.01; outliers raise it.
double int8_error(Context& ctx, const Tensor& weight);

/// The bytes of prepared weights, for files that hold them: valid as long as the PreparedLinear.
struct PackedLinear {
  std::string_view row;  // name of the kernel row whose layout it is
  std::int64_t n = 0;    // as PreparedLinear::n()
  std::int64_t k = 0;
  bool gated = false;
  std::span<const std::byte> weights;  // to be aligned to 64
  std::span<const float> bias;         // padded to whole panels, or empty
};
PackedLinear packed(const PreparedLinear& w);
/// Prepared weights that stay where they are: `keep` holds the memory. Throws Error when this build has no such row, when the context may not run it,
/// or when the sizes are not those that the row would pack; the bytes themselves are not looked at (any bytes are weights).
PreparedLinear from_packed(const Context& ctx, const PackedLinear& packed, std::shared_ptr<const void> keep);

struct Linear {
  Activation activation = Activation::none;  // applied after the bias; to the gate half of a gated pair
  /// y = residual + gate * f(x): residual [m, n] f32 or bf16, may be the same tensor as y. Undefined: none.
  Tensor residual;
  /// Multiplies f(x) before the residual is added: f32 [n], or [m, n]. Undefined: 1. (pi0.5's adaptive residual gate.)
  Tensor gate;
};

/// x: [..., k] f32 or bf16, rows may be strided; y: [..., n] f32 or bf16 with the same leading sizes, rows may be strided.
/// bf16 weights: x is rounded to bf16, products are summed in f32, the epilogue is f32, y is rounded once.
/// int8 weights: every row of x is rounded to 127ths of its largest magnitude (to nearest, ties to even), sums are exact; a row with NaN or Inf gives
/// NaN, one below 2^-100 counts as zero.
/// NaN and Inf propagate as in IEEE arithmetic. FLOPs 2 m n k. Source: torch.nn.functional.linear.
void linear(Context& ctx, const Tensor& x, const PreparedLinear& w, const Linear& options, Tensor& y);
/// The same into a fresh tensor of `dtype`.
Tensor linear(Context& ctx, const Tensor& x, const PreparedLinear& w, const Linear& options = {}, DType dtype = DType::f32);

}  // namespace tessera::ops

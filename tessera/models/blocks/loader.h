// Turns named weights into what blocks hold: packed linears and f32 vectors, one tensor at a time, letting go of each source page as soon
// as it is packed. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/weights.h"
#include "tessera/ops/linear.h"
#include "tessera/ops/norm.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

class BlockLoader {
 public:
  /// `elements`: how many the whole model reads (for the progress).
  BlockLoader(Context& ctx, const WeightSource& source, Progress progress, double elements);

  struct Part {
    std::string prefix;  // "….self_attn.q_proj": ".weight" and ".bias" are added
    std::int64_t n;
  };
  /// Stacked along n and packed for `precision`.
  ops::PreparedLinear linear(std::initializer_list<Part> parts, std::int64_t k, bool bias, DType precision);
  ops::PreparedLinear gated_linear(const std::string& gate, const std::string& up, std::int64_t n, std::int64_t k, DType precision);
  /// Packs values made by the caller.
  ops::PreparedLinear linear(const Tensor& weight, const Tensor& bias, DType precision);
  ops::LayerNorm layer_norm(const std::string& prefix, float eps);
  ops::RmsNorm rms_norm(const std::string& prefix, float eps);
  /// An f32 copy of the tensor, which stays with the model.
  Tensor f32(const std::string& name);
  /// An f32 copy that the caller will drop.
  Tensor copy(const std::string& name);

  /// Of everything packed so far.
  std::size_t bytes() const noexcept { return bytes_; }
  /// Matrices that were asked for in int8 and are kept in bf16, with what int8 would have lost.
  const std::vector<Int8Exception>& exceptions() const noexcept { return exceptions_; }

 private:
  Tensor matrix(const std::string& name, std::int64_t n, std::int64_t k);
  void done(const std::string& name, const Tensor& tensor);
  /// `precision`, or bf16 where int8 would lose too much of a part.
  DType allowed(const std::string& name, const Tensor& weight, DType precision);

  Context& ctx_;
  const WeightSource& source_;
  Progress progress_;
  double elements_;
  double read_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Int8Exception> exceptions_;
};

}  // namespace tessera::models

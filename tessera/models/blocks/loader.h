// Turns named weights into what blocks hold: packed linears and f32 vectors, one tensor at a time, letting go of each source page as soon
// as it is packed. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
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
  /// The same for one use while loading: nothing that a packed file would hold ready.
  ops::PreparedLinear passing_linear(std::initializer_list<Part> parts, std::int64_t k, bool bias, DType precision);
  ops::PreparedLinear gated_linear(const std::string& gate, const std::string& up, std::int64_t n, std::int64_t k, DType precision);

  /// Values that are computed from tensors before they are packed.
  struct Made {
    std::string name;                  // in packed files; no tensor's
    std::vector<std::string> tensors;  // that `make` reads, and nobody else
    std::int64_t n = 0;
    std::int64_t k = 0;
    bool bias = false;
    std::function<ops::LinearPart()> make;  // not called where the source has them ready
  };
  ops::PreparedLinear linear(const Made& made, DType precision);
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
  struct Wanted {
    std::string name;
    std::vector<std::string> tensors;
    std::int64_t n = 0;
    std::int64_t k = 0;
    bool gated = false;
    bool bias = false;
    DType precision = DType::f32;
  };
  /// What the source has ready under that name, else what `pack` makes; the source is told of that.
  ops::PreparedLinear ready_or(const Wanted& wanted, const std::function<ops::PreparedLinear()>& pack);
  Tensor matrix(const std::string& name, std::int64_t n, std::int64_t k);
  void done(const std::string& name, const Tensor& tensor);
  void advance(double elements);
  struct Named {
    std::string name;
    const Tensor* weight;
  };
  /// Of the parts of one product: `precision`, or bf16 where int8 would lose too much of one; then all of them are exceptions.
  DType allowed(std::span<const Named> parts, DType precision);

  Context& ctx_;
  const WeightSource& source_;
  Progress progress_;
  double elements_;
  double read_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Int8Exception> exceptions_;
};

}  // namespace tessera::models

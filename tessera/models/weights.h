// Where a model's weights come from, by canonical name, and the reader that answers with the full list of what is wrong.
// Never a silent default. Test: tests/models/names_test.cpp.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// What the matrix kernels multiply. Norms, softmax, RoPE, residual stream and small projections are f32 in all. int8: weights per output,
/// activations per row; what is no matrix product of the blocks is as in bf16.
enum class Precision : std::uint8_t { f32, bf16, int8 };
std::string_view name(Precision precision);
constexpr DType dtype_of(Precision precision) {
  return precision == Precision::f32 ? DType::f32 : precision == Precision::bf16 ? DType::bf16 : DType::i8;
}

/// int8 may change the weights of a matrix by this share of their magnitude (ops::int8_error); a matrix that would lose more stays bf16. Three times
/// what a bell curve loses.
constexpr double kMostInt8Error = 0.03;
struct Int8Exception {
  std::string name;
  double error = 0;
};

/// One product's weights, and which of their parts were to be int8 and are not.
struct PackedWeights {
  ops::PreparedLinear linear;
  std::vector<Int8Exception> exceptions;
};

/// Called from time to time during long work: what is being done, and how much of it (0 to 1).
using Progress = std::function<void(std::string_view what, double share)>;

struct WeightInfo {
  Shape shape;
  DType dtype = DType::f32;  // f32, bf16 or f16
  std::string stored_name;   // as the file calls it
};

/// Tensors by canonical name (openpi's converted names, "paligemma_with_expert.paligemma.model.vision_tower...").
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// Sorted by canonical name.
  virtual const std::map<std::string, WeightInfo, std::less<>>& tensors() const = 0;
  /// Row-major, shape and dtype as announced; may lie in a mapped file. Throws Error when the name is not there.
  virtual Tensor load(std::string_view name) const = 0;
  /// The caller has copied what it needs of this tensor: its pages may leave memory.
  virtual void release(std::string_view) const {}
  /// File or folder, for messages.
  virtual std::string where() const = 0;

  /// Weights that lie ready under this name (BlockLoader gives it): undefined where the source has none, and they are packed from tensors.
  virtual PackedWeights packed(const Context&, std::string_view) const { return {}; }
  /// Says that these tensors went into packed weights of that name, and are read nowhere else: what writes a packed file keeps those instead.
  virtual void was_packed(std::string_view, std::span<const std::string>, const PackedWeights&) const {}
};

/// Reads weights while keeping account. get() never throws for a missing or misshapen tensor: it notes it and answers an undefined Tensor;
/// check() then throws one Error with every complaint. Loading code asks for everything first, then checks, then packs.
class WeightReader {
 public:
  explicit WeightReader(const WeightSource& source) : source_(source) {}

  bool has(std::string_view name) const { return source_.tensors().find(name) != source_.tensors().end(); }
  /// Notes that `name` of `shape` is needed.
  void need(std::string_view name, const Shape& shape);
  /// Loads a needed tensor (need() is implied).
  Tensor get(std::string_view name, const Shape& shape);
  void release(std::string_view name) const { source_.release(name); }
  /// Marks names as known and deliberately not used (lm_head).
  void ignore(std::string_view name) { used_.emplace(name); }

  const std::vector<std::string>& missing() const noexcept { return missing_; }
  const std::vector<std::string>& misshapen() const noexcept { return misshapen_; }  // "name: expected [..], got [..]"
  std::vector<std::string> unused() const;
  /// Throws Error with the complete list of missing and misshapen names, if any.
  void check() const;
  /// The same, and unused tensors are an Error too: for models whose tensors are all known.
  void check_all() const;

 private:
  [[noreturn]] void complain(bool list_unused) const;

  const WeightSource& source_;
  std::set<std::string, std::less<>> used_;
  std::vector<std::string> missing_;
  std::vector<std::string> misshapen_;
};

}  // namespace tessera::models

// A checkpoint in a packed file: what its sections mean, its weights as a source, and the reasons for which this machine cannot use it. Private to
// models/policy (not installed). Test: tests/models/pack_test.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/packed_file.h"
#include "tessera/models/policy/checkpoint_source.h"
#include "tessera/models/policy/policy.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// Kinds of sections, by how their names begin; "file/" is CheckpointFiles' business.
inline constexpr std::string_view kLinearSection = "linear/";  // prepared weights, then their bias at the next multiple of 64
inline constexpr std::string_view kTensorSection = "tensor/";  // as the checkpoint stores it, by canonical name
inline constexpr std::string_view kBufferSection = "buffer/";  // float64, by stored name

/// Kernel rows that weights were packed for.
struct PackedRow {
  std::string name;
  DType dtype = DType::f32;
  std::uint64_t layout = 0;  // row_layout()
};

/// What stands in the file's meta object.
struct PackedMeta {
  std::string made_by;
  std::string source;
  Precision precision = Precision::f32;
  std::vector<PackedRow> rows;
  Catalogue catalogue;
  // As the checkpoint was packed.
  std::string robot;
  std::optional<TimeSchedule> schedule;
  bool allow_nonfinite = false;
  bool padded_state_prompt = false;
  bool any_prompt = false;
  bool legacy_resize = false;

  io::Json json() const;
  /// Throws Error naming file and key.
  static PackedMeta read(const io::Json& json);
};

/// A sum of what the row makes of made-up weights of odd sizes, with and without a gate: another layout gives another sum, so that no one has to
/// remember to raise a number. Throws Error when the context may not run the row.
std::uint64_t row_layout(const Context& ctx, std::string_view row, DType dtype);

/// Of packed weights: the object that describes their section.
io::Json linear_info(const PackedWeights& weights);
/// Where the bias begins behind so many bytes of weights.
constexpr std::size_t bias_offset(std::size_t weights) { return (weights + 63) / 64 * 64; }

class PackedCheckpoint {
 public:
  /// Throws Error when the meta object is not that of a policy.
  static std::shared_ptr<const PackedCheckpoint> open(std::shared_ptr<const io::PackedFile> file);

  const std::shared_ptr<const io::PackedFile>& file() const noexcept { return file_; }
  std::shared_ptr<const CheckpointSource> source() const noexcept { return source_; }
  /// Fills in what the caller left open.
  void complete(PolicyOptions& options) const;
  /// Throw Error that says what to do: when the caller asks for what the file does not hold; when this machine, build or context cannot run a kernel
  /// row of the file, or lays its weights out otherwise; when weights are damaged (all of them are read).
  void check_options(const PolicyOptions& options) const;
  void check_rows(const Context& ctx) const;
  void check_sums(Context& ctx, const Progress& progress) const;
  PackedContents contents() const;
  /// Of a file in int8: what of it is bf16.
  std::vector<Int8Exception> int8_exceptions() const;

 private:
  PackedCheckpoint() = default;
  std::string again() const;

  std::shared_ptr<const io::PackedFile> file_;
  std::shared_ptr<const CheckpointSource> source_;
  PackedMeta meta_;
};

}  // namespace tessera::models

// safetensors files: named tensors over a mapped file, and the writer. Trusts no number in the file.
// Test: tests/io/safetensors_test.cpp; fuzzer: tests/fuzz/safetensors_fuzz.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/io/file.h"

namespace tessera::io {

/// The element types of the format. Those that Tensor has no dtype for can still be read through the typed readers below.
enum class StoredType : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean, f8_e4m3, f8_e5m2 };
std::string_view name(StoredType type);  // "F64", "F32", ..., "BOOL"
std::size_t size_of(StoredType type);

struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  Shape shape;
  std::size_t begin = 0;  // byte offsets in the data section
  std::size_t end = 0;
};

/// One mapped file. Opening checks all of the header: length, JSON, UTF-8, duplicate names, types, shapes against byte ranges, ranges
/// inside the file, not overlapping and without holes. Throws Error naming file and tensor. Opening takes memory by the number of tensors only.
/// Source: https://github.com/huggingface/safetensors (README, "Format").
class SafetensorsFile {
 public:
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);
  /// The same from memory that the caller keeps alive; `name` stands for the path in messages.
  static std::shared_ptr<const SafetensorsFile> parse(std::span<const std::byte> bytes, const std::filesystem::path& name);

  const std::filesystem::path& path() const noexcept;
  /// In the order of their bytes.
  const std::vector<StoredTensor>& tensors() const noexcept;
  const StoredTensor* find(std::string_view name) const noexcept;
  /// The header's __metadata__.
  const std::map<std::string, std::string>& metadata() const noexcept;
  std::span<const std::byte> bytes(const StoredTensor& tensor) const noexcept;

  /// A tensor over the mapped bytes, without a copy where they are aligned (else a copy); keeps the file mapped. Throws Error for stored
  /// types without a DType (f64, i64, ...).
  Tensor tensor(std::string_view name) const;
  /// Converted copies of any stored type. floats() and doubles() round to nearest, and throw Error where a finite value is too large for
  /// float32; integers() throws Error unless each value is an integer of 64 bits. All throw Error when the name is missing.
  std::vector<float> floats(std::string_view name) const;
  std::vector<double> doubles(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;
  /// Lets the pages of one tensor leave the resident set.
  void release(std::string_view name) const noexcept;

 private:
  SafetensorsFile() = default;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// All tensors of a checkpoint: one file, or the shards that model.safetensors.index.json names.
class Checkpoint {
 public:
  /// `path`: a .safetensors file, an index file, or a directory with model.safetensors or model.safetensors.index.json. Throws Error when
  /// an index names a tensor that its shard lacks, a shard outside the directory, or one name twice.
  static Checkpoint open(const std::filesystem::path& path);

  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const noexcept { return files_; }
  /// Sorted by name.
  const std::map<std::string, std::size_t, std::less<>>& names() const noexcept { return names_; }  // name -> index into files()
  const SafetensorsFile* file_of(std::string_view name) const noexcept;
  const StoredTensor* find(std::string_view name) const noexcept;

 private:
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, std::size_t, std::less<>> names_;
};

/// Writes row-major contiguous tensors, in the given order, through io::write_file. Throws Error on a name that is used twice, is no UTF-8 or is
/// "__metadata__". A tensor of wider elements after an odd number of bytes stands misaligned, which costs a copy when it is read.
void write_safetensors(const std::filesystem::path& path, std::span<const std::pair<std::string, Tensor>> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tessera::io

// One file of named sections that is mapped and used where it lies: what `tessera pack` writes. Every part has a sum. Knows nothing of what the
// sections mean; trusts no number in the file. Test: tests/io/packed_file_test.cpp; fuzzer: tests/fuzz/packed_file_fuzz.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/json.h"

namespace tessera::io {

/// XXH3 of 64 bits: finds damage, not forgery.
std::uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// Whether the file begins as packed files of any version do. Never throws: a file that cannot be read is none.
bool is_packed_file(const std::filesystem::path& path) noexcept;

/// What a message tells a user to type: the command that makes the file anew.
std::string pack_command(const std::string& file);

struct PackedSection {
  std::string name;
  std::size_t offset = 0;  // in the file; a multiple of kPackedAlignment
  std::size_t size = 0;
  std::uint64_t sum = 0;
  Json info;  // what the writer said of it; null or an object
};
inline constexpr std::size_t kPackedAlignment = 4096;

/// A mapped file. Opening checks magic, version, length, the index's sum, and that the sections tile the file; sections themselves are looked at when
/// asked (intact(), checked()). Throws Error naming the file. The table of the format is in docs/CHECKPOINTS.md.
class PackedFile {
 public:
  /// Raised when bytes of the container or the meaning of a section's content change: other versions are refused.
  static constexpr std::uint32_t kVersion = 1;

  static std::shared_ptr<const PackedFile> open(const std::filesystem::path& path);
  /// The same from memory that the caller keeps alive; `name` stands for the path in messages.
  static std::shared_ptr<const PackedFile> parse(std::span<const std::byte> bytes, const std::filesystem::path& name);

  const std::filesystem::path& path() const noexcept;
  std::size_t bytes() const noexcept;  // of the whole file
  /// What the writer said of the whole: an object.
  const Json& meta() const noexcept;
  /// In the order of their bytes.
  const std::vector<PackedSection>& sections() const noexcept;
  const PackedSection* find(std::string_view name) const noexcept;
  std::span<const std::byte> bytes(const PackedSection& section) const noexcept;

  /// Whether the section's bytes are those that were written. Reads all of them; `passing`: they leave the resident set again. Thread-safe.
  bool intact(const PackedSection& section, bool passing = false) const noexcept;
  /// The section's bytes after that look at them. Throws Error when there is none of the name, or it is damaged.
  std::span<const std::byte> checked(std::string_view name) const;
  [[noreturn]] void fail_damaged(const PackedSection& section) const;
  /// Lets the section's pages leave the resident set (they stay readable).
  void release(const PackedSection& section) const noexcept;

 private:
  PackedFile() = default;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// Writes section after section. The file stands under its name only after finish(); before, nothing is left when the writer goes.
class PackedWriter {
 public:
  /// Throws Error as FileWriter does.
  PackedWriter(const std::filesystem::path& path, bool replace);
  ~PackedWriter();

  /// The parts follow each other without a gap. Throws Error on a name that is empty, used twice or no plain UTF-8, and on a full disk.
  void add(std::string name, std::span<const std::span<const std::byte>> parts, Json info = {});
  void add(std::string name, std::span<const std::byte> bytes, Json info = {}) { add(std::move(name), std::span(&bytes, 1), std::move(info)); }
  /// Writes the index and answers the size of the file.
  std::size_t finish(const Json& meta);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::io

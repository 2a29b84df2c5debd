// Files: mapped for reading, written whole or not at all. The only place with operating-system calls in io.
// Test: tests/io/file_test.cpp.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tessera::io {

/// A read-only mapping. Throws Error naming the path when it is missing, a directory, a device or pipe, or unreadable. An empty file maps to
/// zero bytes. The file must not be shortened in place while it is mapped (replacing it, as write_file does, is fine).
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  /// Tells the system that this part was read and will not be needed soon: the pages that lie wholly in it leave the resident set (they stay
  /// readable). What lies outside the mapping is left alone.
  void release(std::span<const std::byte> part) const noexcept;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A file that is written piece by piece and stands under its name only when it is whole: until commit() it lies beside it without a name (or, where
/// the file system has no such files, under another one), and is gone when the writer is destroyed before.
class FileWriter {
 public:
  /// Throws Error naming the path when it is a directory, a device or a pipe, when it is there and `replace` is false, or when its folder cannot be
  /// written. Keeps the permissions of a file that it replaces; follows a symbolic link.
  FileWriter(const std::filesystem::path& path, bool replace);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  /// Both throw Error with the system's reason (a full disk).
  void append(std::span<const std::byte> bytes);
  /// Over bytes that were appended before.
  void overwrite(std::size_t offset, std::span<const std::byte> bytes);
  /// Flushes to the disk, then gives the file its name. Throws Error as the constructor does.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The whole file as text. Throws Error as MappedFile does, and when it is larger than `limit` bytes.
std::string read_text(const std::filesystem::path& path, std::size_t limit = std::size_t{64} << 20);

/// Replaces `path` by `bytes`: written beside it, flushed, then renamed, so that after any failure (a full disk, no permission) the old
/// file stands whole and no partial one is left. Keeps the permissions of the old file; follows a symbolic link. A device or a pipe is
/// written directly. Throws Error naming the path and the system's reason.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);
/// The same from parts that follow each other, without joining them in memory.
void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts);

}  // namespace tessera::io

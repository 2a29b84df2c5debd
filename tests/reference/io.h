// Helpers of the io tests: a folder that goes away, files made byte by byte, the message of an error. Shares nothing with the readers.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "tessera/core/error.h"

namespace tessera::reference {

/// An empty folder for one test, removed at its end.
class Folder {
 public:
  explicit Folder(const std::filesystem::path& below = std::filesystem::temp_directory_path()) {
    std::string name = (below / "tessera_io_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder for the test");
    path_ = name;
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path put(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

inline std::string get(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

/// The bytes of values in memory order (little-endian on every machine that this builds for).
template <class... T>
std::string raw(T... values) {
  std::string out;
  const auto add = [&](auto v) {
    char b[sizeof v];
    std::memcpy(b, &v, sizeof v);
    out.append(b, sizeof v);
  };
  (add(values), ...);
  return out;
}

/// What tessera::Error says; "no error" when there was none. Other exceptions pass and fail the test.
template <class Do>
std::string error_of(Do what) {
  try {
    what();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace tessera::reference

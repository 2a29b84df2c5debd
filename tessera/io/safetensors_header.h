// The header of a safetensors file: its JSON checked against the size of the file while it is read. Private to io; memory grows with the number of
// tensors only, whatever the header holds. Test: tests/io/safetensors_test.cpp; fuzzer: tests/fuzz/safetensors_fuzz.cpp.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/safetensors.h"

namespace tessera::io {

inline constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
inline constexpr std::string_view kMetadataName = "__metadata__";

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;                        // in the order of their bytes, then of the header
  std::map<std::string, std::size_t, std::less<>> by_name;  // index into tensors
  std::map<std::string, std::string> metadata;
  std::size_t data_begin = 0;  // where the data section begins in the file
};

/// `bytes`: the whole file; `where`: the file's name for messages. Throws Error as SafetensorsFile::open says.
SafetensorsHeader read_header(std::span<const std::byte> bytes, const std::string& where);

}  // namespace tessera::io

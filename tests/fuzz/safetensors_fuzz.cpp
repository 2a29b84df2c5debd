// Any bytes are a safetensors file or an Error; the tensors of a file that was accepted tile its data, and all of them can be read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/io/safetensors.h"

using tessera::io::SafetensorsFile;
using tessera::io::StoredTensor;

namespace {

template <class Read>
void try_to(Read read) {
  try {
    read();
  } catch (const tessera::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = SafetensorsFile::parse(std::as_bytes(std::span(data, size)), "fuzz.safetensors");
    std::size_t at = 0;
    std::uint64_t sum = 0;
    for (const StoredTensor& t : file->tensors()) {
      if (t.begin != at || t.end < t.begin || file->find(t.name) != &t) std::abort();
      if (t.end - t.begin != static_cast<std::size_t>(t.shape.numel()) * size_of(t.type)) std::abort();
      at = t.end;
      for (const std::byte b : file->bytes(t)) sum += static_cast<unsigned>(b);
      try_to([&] { (void)file->tensor(t.name); });
      try_to([&] { (void)file->floats(t.name); });
      try_to([&] { (void)file->doubles(t.name); });
      try_to([&] { (void)file->integers(t.name); });
      file->release(t.name);
    }
    if (sum > 255 * static_cast<std::uint64_t>(size)) std::abort();
  } catch (const tessera::Error& e) {
    for (const char c : std::string_view(e.what()))
      if (static_cast<unsigned char>(c) < 32) std::abort();
  }
  return 0;
}

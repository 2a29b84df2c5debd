// Any bytes are a .npy file or an Error; a tensor that was accepted has no more elements than the file has bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/io/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const tessera::Tensor t = tessera::io::parse_npy(std::as_bytes(std::span(data, size)), "fuzz.npy");
    if (!t.defined() || static_cast<std::size_t>(t.numel()) > size) std::abort();
    const auto* bytes = static_cast<const unsigned char*>(t.raw());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < t.bytes(); ++i) sum += bytes[i];  // AddressSanitizer checks each
    if (sum > 255 * static_cast<std::uint64_t>(t.bytes())) std::abort();
  } catch (const tessera::Error& e) {
    for (const char c : std::string_view(e.what()))
      if (static_cast<unsigned char>(c) < 32) std::abort();
  }
  return 0;
}

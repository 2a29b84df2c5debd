// Any bytes are pixels or an Error: decode_image never crashes, leaks or reads outside its input.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "tessera/core/error.h"
#include "tessera/io/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const tessera::Tensor pixels = tessera::io::decode_image(std::as_bytes(std::span(data, size)), "fuzz", true);
    if (pixels.shape().rank() != 3 || pixels.shape()[2] != 3 || pixels.numel() == 0) std::abort();
    // What was decoded can be written, and comes back the same.
    if (pixels.numel() > 1 << 16) return 0;
    const tessera::Tensor again = tessera::io::decode_image(tessera::io::encode_png(pixels), "again");
    const auto a = pixels.span<std::uint8_t>();
    const auto b = again.span<std::uint8_t>();
    if (a.size() != b.size()) std::abort();
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i] != b[i]) std::abort();
  } catch (const tessera::Error&) {
  }
  return 0;
}

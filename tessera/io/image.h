// PNG and JPEG to 8-bit RGB and back to PNG. Trusts no size in the file. Test: tests/io/image_test.cpp; fuzzer: tests/fuzz/image_fuzz.cpp.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"

namespace tessera::io {

/// Most pixels that a reader accepts (a 20000 x 20000 file is refused before memory is taken).
inline constexpr std::int64_t kMaxPixels = std::int64_t{64} << 20;

/// uint8 [H, W, 3]: as PIL's Image.open(path).convert("RGB"): grey and palette become RGB, alpha is dropped, 16-bit keeps the upper byte.
/// JPEG is decoded with the accurate integer DCT and fancy upsampling (libjpeg-turbo's and PIL's default). EXIF orientation is applied
/// when `exif_orientation` is set; PIL's open() does not, so the default is off. The format is told from the bytes, not the name.
/// Throws Error naming `where` on anything malformed, truncated, empty or too large.
Tensor decode_image(std::span<const std::byte> bytes, std::string_view where, bool exif_orientation = false);
Tensor read_image(const std::filesystem::path& path, bool exif_orientation = false);

/// x: uint8 [H, W, 3], [H, W, 1] or [H, W, 4].
std::vector<std::byte> encode_png(const Tensor& x);
void write_png(const std::filesystem::path& path, const Tensor& x);

}  // namespace tessera::io

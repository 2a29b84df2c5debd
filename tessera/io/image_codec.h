// What the two image decoders share: a picture as rows of RGB bytes and the EXIF tag that turns it. Private to this room.
// May not choose between formats; image.cpp does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"

namespace tessera::io::codec {

struct Picture {
  Tensor rgb;                   // uint8 [H, W, 3]
  std::vector<std::byte> exif;  // the TIFF block, without "Exif\0\0"; empty when absent or not asked for
};

Picture decode_jpeg(std::span<const std::byte> bytes, std::string_view where, bool want_exif);
Picture decode_png(std::span<const std::byte> bytes, std::string_view where, bool want_exif);

/// Throws Error unless 1 <= width, height and width * height <= kMaxPixels.
void check_size(std::uint64_t width, std::uint64_t height, std::string_view where);

/// 1 to 8; 1 (as stored) when the block has no orientation that can be read.
int exif_orientation(std::span<const std::byte> tiff) noexcept;

/// The picture upright: `orientation` as in the EXIF standard, 1 to 8.
Tensor turn_upright(const Tensor& rgb, int orientation);

}  // namespace tessera::io::codec

#include "tessera/io/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/image_codec.h"

namespace tessera::io {
namespace codec {

void check_size(std::uint64_t width, std::uint64_t height, std::string_view where) {
  if (width == 0 || height == 0) fail_expected(where, "an image with at least one pixel", fmt::format("{} x {}", width, height));
  if (width > static_cast<std::uint64_t>(kMaxPixels) || height > static_cast<std::uint64_t>(kMaxPixels) / width)
    fail_expected(where, fmt::format("at most {} pixels", kMaxPixels), fmt::format("{} x {}", width, height));
}

int exif_orientation(std::span<const std::byte> tiff) noexcept {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == std::byte{'I'} && tiff[1] == std::byte{'I'};
  const bool big = tiff[0] == std::byte{'M'} && tiff[1] == std::byte{'M'};
  if (!little && !big) return 1;
  const auto u16 = [&](std::size_t at) -> std::uint32_t {
    const auto a = std::to_integer<std::uint32_t>(tiff[at]), b = std::to_integer<std::uint32_t>(tiff[at + 1]);
    return little ? a | b << 8 : a << 8 | b;
  };
  const auto u32 = [&](std::size_t at) -> std::uint32_t { return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2); };
  constexpr std::uint32_t kMagic = 42, kTagOrientation = 0x0112, kTypeShort = 3;
  if (u16(2) != kMagic) return 1;
  const std::size_t directory = u32(4);
  if (directory > tiff.size() - 2) return 1;
  const std::size_t entries = u16(directory);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (entry > tiff.size() || tiff.size() - entry < 12) return 1;
    if (u16(entry) != kTagOrientation) continue;
    if (u16(entry + 2) != kTypeShort || u32(entry + 4) != 1) return 1;
    const std::uint32_t value = u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Tensor turn_upright(const Tensor& rgb, int orientation) {
  if (orientation <= 1 || orientation > 8) return rgb;
  const std::int64_t h = rgb.shape()[0], w = rgb.shape()[1];
  const bool transposed = orientation >= 5;
  const std::int64_t out_h = transposed ? w : h, out_w = transposed ? h : w;
  Tensor out = Tensor::empty({out_h, out_w, 3}, DType::u8);
  // Output pixel (y, x) is stored at (y, x), or at (x, y) for the transposed four, with the row or column counted from the far end.
  const bool flip_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool flip_cols = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const std::uint8_t* from = rgb.data<std::uint8_t>();
  std::uint8_t* to = out.data<std::uint8_t>();
  for (std::int64_t y = 0; y < out_h; ++y) {
    for (std::int64_t x = 0; x < out_w; ++x) {
      std::int64_t row = transposed ? x : y, col = transposed ? y : x;
      if (flip_rows) row = h - 1 - row;
      if (flip_cols) col = w - 1 - col;
      std::memcpy(to, from + (row * w + col) * 3, 3);
      to += 3;
    }
  }
  return out;
}

}  // namespace codec

Tensor decode_image(std::span<const std::byte> bytes, std::string_view where, bool exif_orientation) {
  constexpr std::array<std::uint8_t, 8> kPng = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  constexpr std::array<std::uint8_t, 3> kJpeg = {0xff, 0xd8, 0xff};
  if (bytes.empty()) fail_expected(where, "a PNG or JPEG image", "an empty file");
  codec::Picture picture;
  if (bytes.size() >= kPng.size() && std::memcmp(bytes.data(), kPng.data(), kPng.size()) == 0) {
    picture = codec::decode_png(bytes, where, exif_orientation);
  } else if (bytes.size() >= kJpeg.size() && std::memcmp(bytes.data(), kJpeg.data(), kJpeg.size()) == 0) {
    picture = codec::decode_jpeg(bytes, where, exif_orientation);
  } else {
    std::string first;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 4); ++i)
      first += fmt::format("{}{:02x}", i == 0 ? "" : " ", std::to_integer<unsigned>(bytes[i]));
    fail_expected(where, "a PNG or JPEG image", fmt::format("{} bytes that begin with {}", bytes.size(), first));
  }
  return exif_orientation ? codec::turn_upright(picture.rgb, codec::exif_orientation(picture.exif)) : picture.rgb;
}

Tensor read_image(const std::filesystem::path& path, bool exif_orientation) {
  const auto file = MappedFile::open(path);
  return decode_image(file->bytes(), path.string(), exif_orientation);
}

void write_png(const std::filesystem::path& path, const Tensor& x) { write_file(path, encode_png(x)); }

}  // namespace tessera::io

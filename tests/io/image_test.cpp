// Images against what Pillow made of them (tests/goldens/images, made by tools/make_image_goldens.py), and against files that are wrong.
#include "tessera/io/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>

#include "tessera/core/error.h"

namespace tessera::io {
namespace {

std::filesystem::path goldens() { return std::filesystem::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / "images"; }

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::span<const std::byte> view(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

/// uint8 [H, W, 3] from a .npy of version 1, as NumPy writes it.
Tensor expected_pixels(const std::filesystem::path& path) {
  const std::string bytes = bytes_of(path);
  EXPECT_TRUE(bytes.starts_with("\x93NUMPY\x01")) << path;
  const auto header = static_cast<std::size_t>(static_cast<unsigned char>(bytes[8]) | static_cast<unsigned char>(bytes[9]) << 8);
  const std::string text = bytes.substr(10, header);
  EXPECT_NE(text.find("'|u1'"), std::string::npos);
  std::int64_t h = 0, w = 0;
  EXPECT_EQ(std::sscanf(text.c_str() + text.find("'shape': ("), "'shape': (%ld, %ld, 3)", &h, &w), 2);
  return Tensor::from_bytes(view(bytes).subspan(10 + header), {h, w, 3}, DType::u8);
}

std::filesystem::path pixels_of(const std::filesystem::path& image) {
  return goldens() / (image.stem().string() + "_" + image.extension().string().substr(1) + ".npy");
}

void expect_pixels(const Tensor& got, const Tensor& want, int tolerance) {
  ASSERT_EQ(got.str(), want.str());
  const auto a = got.span<std::uint8_t>(), b = want.span<std::uint8_t>();
  int worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(int{a[i]} - int{b[i]}));
  EXPECT_LE(worst, tolerance);
}

template <class Fn>
std::string error_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; }
#define EXPECT_ERROR(statement, part) EXPECT_PRED2(holds, error_of([&] { (void)(statement); }), part)

TEST(Image, GivesPillowsPixels) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens())) {
    const auto& path = entry.path();
    if (path.extension() == ".npy" || path.filename().string().starts_with("exif")) continue;
    SCOPED_TRACE(path.filename());
    // Both decode with libjpeg-turbo's accurate integer transform, whose results are the same on every machine: no tolerance.
    expect_pixels(read_image(path), expected_pixels(pixels_of(path)), 0);
    ++files;
  }
  EXPECT_GE(files, 35);
}

TEST(Image, TurnsByExifOnlyWhenAsked) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens())) {
    const auto& path = entry.path();
    if (path.extension() == ".npy" || !path.filename().string().starts_with("exif")) continue;
    SCOPED_TRACE(path.filename());
    expect_pixels(read_image(path, true), expected_pixels(pixels_of(path)), 0);
    // The stored pixels are those of orientation 1, in every file.
    if (path.extension() == ".png") expect_pixels(read_image(path), expected_pixels(goldens() / "exif_1_png.npy"), 0);
    ++files;
  }
  EXPECT_EQ(files, 10);
}

TEST(Image, IgnoresExifThatCannotBeRead) {
  const std::string good = bytes_of(goldens() / "exif_6.jpg");
  const std::size_t at = good.find("Exif");
  ASSERT_NE(at, std::string::npos);
  const Tensor stored = decode_image(view(good), "stored");
  const auto size = static_cast<std::size_t>(static_cast<unsigned char>(good[at - 2]) << 8 | static_cast<unsigned char>(good[at - 1]));
  for (std::size_t i = at; i < at - 2 + size; ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0xff);
    const Tensor got = decode_image(view(bad), "bad", true);
    EXPECT_EQ(got.numel(), stored.numel());
  }
}

TEST(Image, RoundTripsThroughPng) {
  std::mt19937 rng(3);
  const std::filesystem::path path = std::filesystem::path(TESSERA_BINARY_DIR) / "image_test.png";
  for (const std::int64_t channels : {1, 3, 4}) {
    for (const auto& [h, w] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 17}, {19, 1}, {23, 37}}) {
      Tensor x = Tensor::empty({h, w, channels}, DType::u8);
      for (auto& v : x.span<std::uint8_t>()) v = static_cast<std::uint8_t>(rng());
      write_png(path, x);
      const Tensor back = read_image(path);
      ASSERT_EQ(back.shape(), (Shape{h, w, 3}));
      const auto a = std::as_const(x).span<std::uint8_t>(), b = back.span<std::uint8_t>();
      for (std::int64_t i = 0; i < h * w; ++i)
        for (std::int64_t c = 0; c < 3; ++c)
          ASSERT_EQ(b[static_cast<std::size_t>(i * 3 + c)], a[static_cast<std::size_t>(i * channels + (channels == 1 ? 0 : c))]);
    }
  }
  Tensor rgba = Tensor::empty({4, 5, 4}, DType::u8);
  for (auto& v : rgba.span<std::uint8_t>()) v = static_cast<std::uint8_t>(rng());
  const Tensor back = decode_image(encode_png(rgba.columns(0, 3)), "columns");
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t c = 0; c < 3; ++c) EXPECT_EQ(back.span<std::uint8_t>()[i * 3 + c], rgba.span<std::uint8_t>()[i * 4 + c]);
  std::filesystem::remove(path);
}

TEST(Image, RefusesTensorsThatAreNoImages) {
  EXPECT_ERROR(encode_png(Tensor()), "no tensor");
  EXPECT_ERROR(encode_png(Tensor::zeros({4, 4}, DType::u8)), "got uint8[4, 4]");
  EXPECT_ERROR(encode_png(Tensor::zeros({4, 4, 2}, DType::u8)), "[4, 4, 2]");
  EXPECT_ERROR(encode_png(Tensor::zeros({4, 4, 3}, DType::f32)), "float32");
  EXPECT_ERROR(encode_png(Tensor::zeros({0, 4, 3}, DType::u8)), "[0, 4, 3]");
}

TEST(Image, RefusesEveryTruncation) {
  for (const char* file :
       {"rgb.png", "rgb_interlaced.png", "palette.png", "grey_16.png", "rgb_420.jpg", "progressive.jpg", "cmyk.jpg", "restart.jpg"}) {
    const std::string good = bytes_of(goldens() / file);
    EXPECT_EQ(decode_image(view(good), "whole").shape().rank(), 3u);
    for (std::size_t length = 0; length < good.size(); length += length < 64 || good.size() - length < 64 ? 1 : 13)
      EXPECT_ERROR(decode_image(view(good).first(length), "cut"), "[cut] ") << file << " cut to " << length;
  }
}

TEST(Image, RefusesDamage) {
  EXPECT_ERROR(decode_image({}, "x"), "empty file");
  EXPECT_ERROR(decode_image(view("GIF89a"), "x"), "47 49 46 38");
  EXPECT_ERROR(decode_image(view("\xff\xd8"), "x"), "PNG or JPEG");
  // Every byte of a PNG behind its length fields is under a checksum, and those fields move all that follows.
  for (const char* file : {"rgb.png", "palette_transparency.png", "profile_and_text.png"}) {
    const std::string good = bytes_of(goldens() / file);
    for (std::size_t i = 0; i < good.size(); i += 3) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 0x10);
      EXPECT_ERROR(decode_image(view(bad), "bad"), "[bad] ") << file << " byte " << i;
    }
  }
  // A JPEG has no checksum: pixels or an Error, never a crash.
  for (const char* file : {"rgb_420.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string good = bytes_of(goldens() / file);
    for (std::size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
      error_of([&] { decode_image(view(bad), "bad", true); });
    }
  }
}

std::uint32_t crc(std::string_view bytes) {
  std::uint32_t value = 0xffffffff;
  for (const char c : bytes) {
    value ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) value = (value & 1) ? 0xedb88320u ^ (value >> 1) : value >> 1;
  }
  return ~value;
}

std::string big_endian(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

/// rgb.png with another size in its header, checksum and all.
std::string png_of_size(std::uint32_t width, std::uint32_t height) {
  std::string png = bytes_of(goldens() / "rgb.png");
  png.replace(16, 8, big_endian(width) + big_endian(height));
  png.replace(29, 4, big_endian(crc(std::string_view(png).substr(12, 17))));
  return png;
}

TEST(Image, RefusesSizesBeforeTakingMemory) {
  EXPECT_ERROR(decode_image(view(png_of_size(20000, 20000)), "x"), "20000 x 20000");
  EXPECT_ERROR(decode_image(view(png_of_size(0xffffffff, 0xffffffff)), "x"), "[x] ");
  EXPECT_ERROR(decode_image(view(png_of_size(0, 5)), "x"), "[x] ");
  EXPECT_ERROR(decode_image(view(png_of_size(8000, 8000)), "x"), "cannot hold 8000 x 8000");  // allowed, but not in so few bytes
  std::string jpeg = bytes_of(goldens() / "rgb_444.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\x4e\x20\x4e\x20");
  EXPECT_ERROR(decode_image(view(jpeg), "x"), "20000 x 20000");
  jpeg.replace(frame + 5, 4, std::string("\0\0\0\0", 4));
  EXPECT_ERROR(decode_image(view(jpeg), "x"), "[x] ");
}

TEST(Image, RefusesColoursOutsideThePalette) {
  // A palette of 40 colours cut to 2: the indices stay.
  std::string png = bytes_of(goldens() / "palette_8_interlaced.png");
  const std::size_t at = png.find("PLTE");
  ASSERT_NE(at, std::string::npos);
  const std::string body = png.substr(at, 4 + 6);
  const std::size_t end = png.find("IDAT") - 4;
  png.replace(at - 4, end - (at - 4), big_endian(6) + body + big_endian(crc(body)));
  EXPECT_ERROR(decode_image(view(png), "x"), "of a palette of 2");
}

}  // namespace
}  // namespace tessera::io

#include "tessera/core/block_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/core/tensor.h"
#include "tests/reference/typecast.h"

namespace tessera {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::uint8_t> packed(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(tile_size_of(dtype));
  pack_tile(dtype, values.data(), bytes.data());
  std::vector<std::uint8_t> all;
  for (const std::byte b : bytes) all.push_back(static_cast<std::uint8_t>(b));
  return all;
}

std::vector<float> unpacked(DType dtype, const std::vector<std::uint8_t>& bytes) {
  std::vector<float> values(1024);
  unpack_tile(dtype, reinterpret_cast<const std::byte*>(bytes.data()), values.data());
  return values;
}

/// A tile of zeros but for its first block.
std::vector<float> tile_of(const std::vector<float>& block) {
  std::vector<float> values(1024, 0.0f);
  std::copy(block.begin(), block.end(), values.begin());
  return values;
}

bool same_bits(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

TEST(BlockFloat, SizesOfTiles) {
  EXPECT_EQ(tile_size_of(DType::bfloat8_b), 1088u);
  EXPECT_EQ(tile_size_of(DType::bfloat4_b), 576u);
  EXPECT_EQ(tile_size_of(DType::bf16), 2048u);
  EXPECT_EQ(size_of(DType::bfloat8_b), 0u);
  EXPECT_EQ(name(DType::bfloat4_b), "bfloat4_b");
  EXPECT_TRUE(is_block_float(DType::bfloat8_b));
  EXPECT_FALSE(is_block_float(DType::u8));
}

TEST(BlockFloat, AHandmadeTileOf8Bits) {
  // 1 has exponent 127; under it a mantissa counts 1/64: 64 is 1, 96 is 1.5, 32 is 0.5, 1 is 1/64, 127 is the largest.
  const std::vector<float> block = {1.0f,
                                    -1.5f,
                                    0.5f,
                                    -0.25f,
                                    1.0f / 64,
                                    1.0f / 128,         // a tie between 0 and 1: even
                                    3.0f / 128,         // between 1 and 2: even is 2
                                    -1.0f / 256,        // rounds to 0, which has no sign
                                    1.9999f,            // rounds up to 2, held at 127
                                    -1.9999f,           //
                                    0.0f,               //
                                    -0.0f,              //
                                    1.0f + 1.0f / 128,  // tie: 64 is even
                                    1.0f + 3.0f / 128,  // tie: 66 is even
                                    1.0f + 1.1f / 128,  // above the tie
                                    0x1p-126f};         // 126 places down: nothing is left
  std::vector<std::uint8_t> expected(1088, 0);
  expected[0] = 127;
  const std::uint8_t mantissas[] = {64, 0x80 | 96, 32, 0x80 | 16, 1, 0, 2, 0, 127, 0x80 | 127, 0, 0, 64, 66, 65, 0};
  std::copy(std::begin(mantissas), std::end(mantissas), expected.begin() + 64);
  EXPECT_EQ(packed(DType::bfloat8_b, tile_of(block)), expected);
  const std::vector<float> back = unpacked(DType::bfloat8_b, expected);
  const float values[] = {1, -1.5f, 0.5f, -0.25f, 1.0f / 64, 0, 2.0f / 64, 0, 127.0f / 64, -127.0f / 64, 0, 0, 1, 66.0f / 64, 65.0f / 64, 0};
  for (std::size_t i = 0; i < 16; ++i) EXPECT_TRUE(same_bits(back[i], values[i])) << i << " " << back[i];
}

TEST(BlockFloat, TtnnsOwnExamplesOfRounding) {
  // 64 has exponent 133: a mantissa counts 1.
  const auto mantissa = [](float v) { return to_block_float(v, 133, 7); };
  EXPECT_EQ(mantissa(64.75f), 0x41u);
  EXPECT_EQ(mantissa(65.25f), 0x41u);
  EXPECT_EQ(mantissa(64.5f), 0x40u);
  EXPECT_EQ(mantissa(65.5f), 0x42u);
  EXPECT_EQ(mantissa(-65.5f), 0xc2u);
  EXPECT_EQ(from_block_float(0xc2, 133, 7), -66.0f);
}

TEST(BlockFloat, AHandmadeTileOf4Bits) {
  // Under exponent 127 a mantissa counts 1/4: 4 is 1, 7 is 1.75. Two values a byte, the first in the low half.
  const std::vector<float> block = {1.0f, -1.5f, 1.75f, 0.25f, -0.5f, 0.125f, 0.375f, -1.9f, 1.125f, 1.375f, 0, 0, 0, 0, -0.75f, 1.0f};
  std::vector<std::uint8_t> expected(576, 0);
  expected[0] = 127;
  const std::uint8_t halves[] = {4, 8 | 6, 7, 1, 8 | 2, 0, 2, 8 | 7, 4, 6, 0, 0, 0, 0, 8 | 3, 4};
  for (std::size_t i = 0; i < 8; ++i) expected[64 + i] = static_cast<std::uint8_t>(halves[2 * i] | halves[2 * i + 1] << 4);
  EXPECT_EQ(packed(DType::bfloat4_b, tile_of(block)), expected);
  const float values[] = {1, -1.5f, 1.75f, 0.25f, -0.5f, 0, 0.5f, -1.75f, 1, 1.5f, 0, 0, 0, 0, -0.75f, 1};
  const std::vector<float> back = unpacked(DType::bfloat4_b, expected);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_TRUE(same_bits(back[i], values[i])) << i << " " << back[i];
}

TEST(BlockFloat, ExponentsComeFirstBlockByBlock) {
  std::vector<float> values(1024);
  for (std::size_t block = 0; block < 64; ++block)
    for (std::size_t i = 0; i < 16; ++i) values[block * 16 + i] = std::ldexp(i == 7 ? 1.0f : 0.5f, static_cast<int>(block) - 30);
  for (const DType dtype : {DType::bfloat8_b, DType::bfloat4_b}) {
    const auto bytes = packed(dtype, values);
    for (std::size_t block = 0; block < 64; ++block) ASSERT_EQ(bytes[block], 127 - 30 + block);
    EXPECT_EQ(unpacked(dtype, bytes), values);
  }
}

TEST(BlockFloat, WhatIsShiftedOutDoesNotBreakATie) {
  // 1 + 2^-23 is 0.5 + 2^-24 of the last place but one under the exponent of 2^7: the last bit falls off, what remains is a tie to even.
  const float just_above = std::bit_cast<float>(0x3f800001u);
  EXPECT_EQ(to_block_float(just_above, 127 + 7, 7), 0u);
  EXPECT_EQ(to_block_float(std::bit_cast<float>(0x3f800100u), 127 + 7, 7), 1u);  // a bit that stays in view
  EXPECT_EQ(to_block_float(10 * just_above, 127 + 8, 7), 2u);                    // 2.5 and a little of 4
}

TEST(BlockFloat, NanInfinityAndSubnormals) {
  // Exponent 255: infinity is a mantissa of 64, a quiet NaN one of 96 or more; everything else of the block is 128 places down or more.
  const std::vector<float> block = {kInf, -kInf, kNan, 1.0f, 3e38f, -3e38f, 1e38f, 0x1p-149f, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto bytes = packed(DType::bfloat8_b, tile_of(block));
  EXPECT_EQ(bytes[0], 255);
  const std::vector<float> back = unpacked(DType::bfloat8_b, bytes);
  EXPECT_EQ(back[0], kInf);
  EXPECT_EQ(back[1], -kInf);
  EXPECT_TRUE(std::isnan(back[2]));
  EXPECT_EQ(back[3], 0.0f);
  EXPECT_NEAR(back[4], 3e38f, 3e38f / 32);  // under exponent 255 the largest finite numbers have 6 bits left
  EXPECT_NEAR(back[5], -3e38f, 3e38f / 32);
  EXPECT_EQ(back[7], 0.0f);
  // A NaN whose bits all stand below the mantissa's 7 becomes infinity, as on TTNN.
  EXPECT_EQ(from_block_float(to_block_float(std::bit_cast<float>(0x7f800001u), 255, 7), 255, 7), kInf);
  // Of 4 bits: infinity 4, a quiet NaN 6.
  EXPECT_EQ(unpacked(DType::bfloat4_b, packed(DType::bfloat4_b, tile_of(block)))[0], kInf);
  EXPECT_TRUE(std::isnan(unpacked(DType::bfloat4_b, packed(DType::bfloat4_b, tile_of(block)))[2]));
  // Subnormals are zeros, also in a block of nothing else.
  const auto zeros = packed(DType::bfloat8_b, tile_of(std::vector<float>(16, -0x1p-127f)));
  EXPECT_EQ(zeros, std::vector<std::uint8_t>(1088, 0));
}

TEST(BlockFloat, BytesThatNoPackingMakes) {
  EXPECT_TRUE(same_bits(from_block_float(0x80, 130, 7), -0.0f));  // a sign without a mantissa
  EXPECT_TRUE(same_bits(from_block_float(0x81, 5, 7), 0.0f));     // an exponent of -1: flushed, sign and all
  EXPECT_TRUE(same_bits(from_block_float(0x81, 7, 7), -0x1p-126f));
  // Exponent 0 without its leading one: mantissa 3 under exponent 5 is 1.5 * 2^-127, read as the subnormal of its fraction.
  EXPECT_EQ(std::bit_cast<std::uint32_t>(from_block_float(3, 5, 7)), 0x400000u);
  EXPECT_TRUE(same_bits(from_block_float(9, 3, 3), -0x1p-126f));
}

TEST(BlockFloat, EveryByteIsItsNumberAndPacksToItself) {
  for (const int bits : {7, 3})
    for (std::uint32_t shared = 8; shared < 255; ++shared)
      for (std::uint32_t x = 0; x < 2u << bits; ++x) {
        const std::uint32_t mantissa = x & ((1u << bits) - 1);
        const float v = from_block_float(x, shared, bits);
        const double expected = std::ldexp(static_cast<double>(mantissa), static_cast<int>(shared) - 126 - bits);
        ASSERT_EQ(static_cast<double>(v), (x >> bits) != 0 ? -expected : expected);
        ASSERT_EQ(to_f32(to_bf16(v)), v);
        ASSERT_EQ(to_block_float(v, shared, bits), mantissa == 0 ? 0 : x) << shared;
      }
}

TEST(BlockFloat, RandomBlocksMatchTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    std::vector<float> values(1024);
    const int spread = 1 + round % 40;
    for (float& v : values) {
      const auto bits = static_cast<std::uint32_t>(random());
      const int exponent = 127 - static_cast<int>(random() % static_cast<unsigned>(spread));
      v = std::bit_cast<float>((bits & 0x807fffffu) | static_cast<std::uint32_t>(exponent) << 23);
      if (bits % 7 == 0) v = std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & 0xffff0000u);  // ties
      if (bits % 11 == 0) v = 0;
    }
    for (const DType dtype : {DType::bfloat8_b, DType::bfloat4_b}) {
      const int bits = dtype == DType::bfloat8_b ? 7 : 3;
      const std::vector<double> expected = reference::quantised({values.begin(), values.end()}, 16, bits);
      const std::vector<float> got = unpacked(dtype, packed(dtype, values));
      for (std::size_t i = 0; i < 1024; ++i) ASSERT_EQ(static_cast<double>(got[i]), expected[i]) << values[i] << " " << name(dtype);
      // What is in the format already stays as it is.
      ASSERT_EQ(unpacked(dtype, packed(dtype, got)), got);
    }
  }
}

TEST(BlockFloat, TensorsHoldThemInTilesOnly) {
  const Tensor t = Tensor::zeros(Shape{2, 33, 40}, DType::bfloat8_b, Layout::tile);
  EXPECT_EQ(t.bytes(), 2u * 2 * 2 * 1088);
  EXPECT_EQ(Tensor::zeros(Shape{5}, DType::bfloat4_b, Layout::tile).bytes(), 576u);
  EXPECT_EQ(Tensor::empty(Shape{0, 5}, DType::bfloat4_b, Layout::tile).bytes(), 0u);
  EXPECT_EQ(t.str(), "bfloat8_b[2, 33, 40] TILE INTERLEAVED DRAM");
  const std::vector<std::byte> bytes(1088, std::byte{1});
  const Tensor copy = Tensor::from_bytes(bytes, Shape{3, 4}, DType::bfloat8_b, Layout::tile);
  EXPECT_EQ(static_cast<const std::byte*>(copy.raw())[1087], std::byte{1});
  const auto message_of = [](const auto& call) {
    try {
      call();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const std::string text =
      "[tensor] expected tile layout for bfloat8_b, whose exponents belong to tiles, got ROW_MAJOR; ops::typecast converts to and from float32 and "
      "bfloat16 of either layout";
  std::byte one{};
  EXPECT_EQ(message_of([] { Tensor::empty(Shape{32, 32}, DType::bfloat8_b); }), text);
  EXPECT_EQ(message_of([&] { Tensor::borrow(&one, Shape{32, 32}, DType::bfloat8_b); }), text);
  EXPECT_EQ(message_of([&] { Tensor::from_bytes(bytes, Shape{32, 32}, DType::bfloat8_b); }), text);
  EXPECT_NE(message_of([&] { Tensor::from_bytes(bytes, Shape{33, 32}, DType::bfloat8_b, Layout::tile); }).find("2176 bytes"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)t.data<std::uint8_t>(); }).find("expected uint8, got bfloat8_b"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)t.narrow(0, 1); }).find("row-major"), std::string::npos);
  EXPECT_NE(message_of([] {
              Tensor::empty(Shape{std::int64_t{1} << 31, std::int64_t{1} << 31}, DType::bfloat8_b, Layout::tile);
            }).find("2^62 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera

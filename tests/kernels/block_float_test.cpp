#include "tessera/kernels/block_float/block_float.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tessera/core/block_float.h"

namespace tessera::kernels {
namespace {

TEST(BlockFloatKernels, ScalarStandsLast) {
  ASSERT_FALSE(block_float_rows().empty());
  EXPECT_STREQ(block_float_rows().back().info.name, "scalar");
}

/// All kinds of floats: any bits, or exponents that lie together as they do in tensors.
std::vector<float> values_of(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(1024);
  for (float& v : values) {
    auto bits = static_cast<std::uint32_t>(random());
    if (seed % 4 != 0) bits = (bits & 0x807fffffu) | (90 + random() % (seed % 40 + 1)) << 23;
    if (seed % 3 == 0) bits &= 0xffff0000u;  // ties
    if (random() % 16 == 0) bits &= 0x80000000u;
    if (seed % 4 == 1) bits &= 0x83ffffffu;  // small exponents
    std::memcpy(&v, &bits, sizeof v);
  }
  return values;
}

TEST(BlockFloatKernels, EveryRowMakesTheBitsOfCore) {
  for (const auto& row : block_float_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (const DType dtype : {DType::bfloat8_b, DType::bfloat4_b})
      for (unsigned seed = 0; seed < 200; ++seed) {
        const std::vector<float> values = values_of(seed);
        const std::size_t bytes = tile_size_of(dtype);
        std::vector<std::byte> expected(bytes), got(bytes + 2, std::byte{0x5a});
        pack_tile(dtype, values.data(), expected.data());
        row.functions.pack(dtype, values.data(), got.data() + 1);
        ASSERT_EQ(std::memcmp(got.data() + 1, expected.data(), bytes), 0) << row.info.name << " " << seed;
        ASSERT_EQ(got.front(), std::byte{0x5a});
        ASSERT_EQ(got.back(), std::byte{0x5a});
      }
  }
}

TEST(BlockFloatKernels, EveryRowReadsEveryByteUnderEveryExponent) {
  for (const auto& row : block_float_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (const DType dtype : {DType::bfloat8_b, DType::bfloat4_b})
      for (unsigned shift = 0; shift < 256; ++shift) {
        // 64 blocks, each under its own exponent; a step of `shift` brings every byte under every exponent.
        std::vector<std::byte> tile(tile_size_of(dtype));
        for (std::size_t i = 0; i < 64; ++i) tile[i] = static_cast<std::byte>(i * 4 + shift % 4);
        for (std::size_t i = 64; i < tile.size(); ++i) tile[i] = static_cast<std::byte>((i - 64) * 17 / 16 + shift);
        std::vector<float> expected(1024), got(1026, 3.0f);
        unpack_tile(dtype, tile.data(), expected.data());
        row.functions.unpack(dtype, tile.data(), got.data() + 1);
        ASSERT_EQ(std::memcmp(got.data() + 1, expected.data(), 1024 * sizeof(float)), 0) << row.info.name << " " << shift;
        ASSERT_EQ(got.front(), 3.0f);
        ASSERT_EQ(got.back(), 3.0f);
      }
  }
}

}  // namespace
}  // namespace tessera::kernels

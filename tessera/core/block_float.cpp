#include "tessera/core/block_float.h"

namespace tessera {
namespace {

constexpr int kBlocks = 64;

template <int kBits>
void pack(const float* values, std::uint8_t* tile) {
  std::uint8_t* to = tile + kBlocks;
  for (int block = 0; block < kBlocks; ++block, values += kBlockSize) {
    const std::uint8_t shared = block_exponent(values);
    tile[block] = shared;
    if constexpr (kBits == 7) {
      for (int i = 0; i < kBlockSize; ++i) *to++ = static_cast<std::uint8_t>(to_block_float(values[i], shared, kBits));
    } else {
      for (int i = 0; i < kBlockSize; i += 2)
        *to++ = static_cast<std::uint8_t>(to_block_float(values[i], shared, kBits) | to_block_float(values[i + 1], shared, kBits) << 4);
    }
  }
}

template <int kBits>
void unpack(const std::uint8_t* tile, float* values) {
  const std::uint8_t* from = tile + kBlocks;
  for (int block = 0; block < kBlocks; ++block, values += kBlockSize) {
    const std::uint32_t shared = tile[block];
    if constexpr (kBits == 7) {
      for (int i = 0; i < kBlockSize; ++i) values[i] = from_block_float(*from++, shared, kBits);
    } else {
      for (int i = 0; i < kBlockSize; i += 2) {
        values[i] = from_block_float(*from & 0xfu, shared, kBits);
        values[i + 1] = from_block_float(std::uint32_t{*from++} >> 4, shared, kBits);
      }
    }
  }
}

}  // namespace

void pack_tile(DType dtype, const float* values, std::byte* tile) noexcept {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(tile);
  dtype == DType::bfloat8_b ? pack<7>(values, bytes) : pack<3>(values, bytes);
}

void unpack_tile(DType dtype, const std::byte* tile, float* values) noexcept {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(tile);
  dtype == DType::bfloat8_b ? unpack<7>(bytes, values) : unpack<3>(bytes, values);
}

}  // namespace tessera

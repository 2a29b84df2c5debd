#include "tessera/kernels/block_float/block_float.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/block_float/block_float.cpp"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

static constexpr int kBlocks = 64;  // of a tile
static constexpr int kBlock = 16;   // values of a block

using DF = hn::CappedTag<float, kBlock>;
using DU = hn::Rebind<std::uint32_t, DF>;
using DI = hn::Rebind<std::int32_t, DF>;
using DB = hn::Rebind<std::uint8_t, DF>;
using U = hn::Vec<DU>;

/// The largest exponent of 16 values.
static HWY_INLINE std::uint32_t shared_exponent(const float* values) noexcept {
  const DF df;
  const DI di;
  const auto magnitude = [&](int i) { return hn::And(hn::BitCast(di, hn::LoadU(df, values + i)), hn::Set(di, 0x7f800000)); };
  auto most = magnitude(0);
  for (int i = static_cast<int>(hn::Lanes(df)); i < kBlock; i += static_cast<int>(hn::Lanes(df))) most = hn::Max(most, magnitude(i));
  return static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(di, most))) >> 23;
}

template <int kBits>
static HWY_INLINE void pack_block(const float* values, std::uint32_t shared, std::uint8_t* to) noexcept {
  const DF df;
  const DU du;
  const DI di;
  const DB db;
  constexpr int kCut = 24 - kBits;
  for (int i = 0; i < kBlock; i += static_cast<int>(hn::Lanes(df))) {
    const U u = hn::BitCast(du, hn::LoadU(df, values + i));
    const U exponent = hn::And(hn::ShiftRight<23>(u), hn::Set(du, 0xff));
    const U away = hn::Min(hn::Sub(hn::Set(du, shared), exponent), hn::Set(du, 31));
    const U aligned = hn::Shr(hn::Or(hn::And(u, hn::Set(du, 0x7fffff)), hn::Set(du, 0x800000)), away);
    const U odd = hn::And(hn::ShiftRight<kCut>(aligned), hn::Set(du, 1));
    const U rounded = hn::ShiftRight<kCut>(hn::Add(aligned, hn::Add(hn::Set(du, (1u << (kCut - 1)) - 1), odd)));
    const U mantissa = hn::Min(rounded, hn::Set(du, (1u << kBits) - 1));
    const U sign = hn::ShiftLeft<kBits>(hn::ShiftRight<31>(u));
    const auto nothing = hn::Or(hn::Eq(mantissa, hn::Zero(du)), hn::Eq(exponent, hn::Zero(du)));
    hn::StoreU(hn::DemoteTo(db, hn::BitCast(di, hn::IfThenZeroElse(nothing, hn::Or(sign, mantissa)))), db, to + i);
  }
}

template <int kBits>
static HWY_INLINE void unpack_block(const std::uint8_t* from, std::uint32_t shared, float* values) noexcept {
  const DF df;
  const DU du;
  const DI di;
  const DB db;
  // As a float the mantissa shows its leading one: 127 + its position is the exponent, the rest the fraction.
  const auto more = hn::Set(di, static_cast<std::int32_t>(shared) - 126 - kBits);
  for (int i = 0; i < kBlock; i += static_cast<int>(hn::Lanes(df))) {
    const U u = hn::PromoteTo(du, hn::LoadU(db, from + i));
    const U mantissa = hn::And(u, hn::Set(du, (1u << kBits) - 1));
    const U sign = hn::ShiftLeft<31>(hn::ShiftRight<kBits>(u));
    const auto bits = hn::BitCast(di, hn::ConvertTo(df, hn::BitCast(di, mantissa)));
    const auto below = hn::Lt(hn::Add(hn::ShiftRight<23>(bits), more), hn::Zero(di));
    const U value = hn::Or(sign, hn::BitCast(du, hn::Add(bits, hn::ShiftLeft<23>(more))));
    const U zero_or_value = hn::IfThenElse(hn::Eq(mantissa, hn::Zero(du)), sign, hn::IfThenZeroElse(hn::RebindMask(du, below), value));
    hn::StoreU(hn::BitCast(df, zero_or_value), df, values + i);
  }
}

static void pack(DType dtype, const float* values, std::byte* tile) noexcept {
  auto* const exponents = reinterpret_cast<std::uint8_t*>(tile);
  std::uint8_t* to = exponents + kBlocks;
  for (int block = 0; block < kBlocks; ++block, values += kBlock) {
    const std::uint32_t shared = shared_exponent(values);
    exponents[block] = static_cast<std::uint8_t>(shared);
    if (dtype == DType::bfloat8_b) {
      pack_block<7>(values, shared, to);
      to += kBlock;
    } else {
      std::uint8_t wide[kBlock];
      pack_block<3>(values, shared, wide);
      for (int i = 0; i < kBlock; i += 2) *to++ = static_cast<std::uint8_t>(wide[i] | wide[i + 1] << 4);
    }
  }
}

static void unpack(DType dtype, const std::byte* tile, float* values) noexcept {
  const auto* const exponents = reinterpret_cast<const std::uint8_t*>(tile);
  const std::uint8_t* from = exponents + kBlocks;
  for (int block = 0; block < kBlocks; ++block, values += kBlock) {
    if (dtype == DType::bfloat8_b) {
      unpack_block<7>(from, exponents[block], values);
      from += kBlock;
    } else {
      std::uint8_t wide[kBlock];
      for (int i = 0; i < kBlock; i += 2, ++from) {
        wide[i] = *from & 0xf;
        wide[i + 1] = static_cast<std::uint8_t>(*from >> 4);
      }
      unpack_block<3>(wide, exponents[block], values);
    }
  }
}

static constexpr BlockFloatFunctions make_functions() { return {&pack, &unpack}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(BlockFloatFunctions, block_float_rows, "bfloat8_b and bfloat4_b, a tile of 1024 values")
}
#endif

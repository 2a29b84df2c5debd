// The int8 rows that need nothing beyond the base architecture: plain loops, and NEON's widening multiply-accumulate.
#include "tessera/kernels/gemm/byte_block.h"
#include "tessera/kernels/gemm/matrix_rows.h"

#if defined(__aarch64__) && !defined(TESSERA_SCALAR_ONLY)
#include <arm_neon.h>
#endif

namespace tessera::kernels::gemm {
namespace {

struct PlainUnit {
  using Operand = std::int16_t;
  struct Sums {
    std::int32_t lane[8];
  };
  struct Weights {
    std::int8_t lane[16];
  };
  struct Values {
    std::int16_t pair[2];
  };
  static constexpr std::int64_t kLanes = 8;
  static constexpr std::int64_t kGroup = 2;
  static constexpr int kRows = 2;
  static constexpr std::int32_t kOffset = 0;
  static Sums zero() noexcept { return Sums{}; }
  static Sums load(const float* p) noexcept {
    Sums s;
    std::memcpy(s.lane, p, sizeof s.lane);
    return s;
  }
  static void store(float* p, const Sums& s) noexcept { std::memcpy(p, s.lane, sizeof s.lane); }
  static Weights load_weights(const std::int8_t* p) noexcept {
    Weights w;
    std::memcpy(w.lane, p, sizeof w.lane);
    return w;
  }
  static Values broadcast(const Operand* p) noexcept { return {{p[0], p[1]}}; }
  static Sums dot(const Sums& sum, const Values& x, const Weights& w) noexcept {
    Sums s = sum;
    for (int i = 0; i < 8; ++i) s.lane[i] += x.pair[0] * w.lane[2 * i] + x.pair[1] * w.lane[2 * i + 1];
    return s;
  }
};

#if defined(__aarch64__) && !defined(TESSERA_SCALAR_ONLY)
struct NeonUnit {
  using Operand = std::int16_t;
  struct Sums {
    int32x4_t low, high;
  };
  using Weights = int16x8_t;
  using Values = int16x8_t;
  static constexpr std::int64_t kLanes = 8;
  static constexpr std::int64_t kGroup = 1;
  static constexpr int kRows = 6;  // 24 sums
  static constexpr std::int32_t kOffset = 0;
  static Sums zero() noexcept { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Sums load(const float* p) noexcept { return {vreinterpretq_s32_f32(vld1q_f32(p)), vreinterpretq_s32_f32(vld1q_f32(p + 4))}; }
  static void store(float* p, const Sums& s) noexcept {
    vst1q_f32(p, vreinterpretq_f32_s32(s.low));
    vst1q_f32(p + 4, vreinterpretq_f32_s32(s.high));
  }
  static Weights load_weights(const std::int8_t* p) noexcept { return vmovl_s8(vld1_s8(p)); }
  static Values broadcast(const Operand* p) noexcept { return vdupq_n_s16(*p); }
  static Sums dot(const Sums& s, Values x, Weights w) noexcept {
    return {vmlal_s16(s.low, vget_low_s16(x), vget_low_s16(w)), vmlal_high_s16(s.high, x, w)};
  }
};
#endif

}  // namespace

#if defined(__aarch64__) && !defined(TESSERA_SCALAR_ONLY)
constinit const GemmFunctions kNeonI8 = ByteGemm<NeonUnit>::kFunctions;
#endif
constinit const GemmFunctions kScalarI8 = ByteGemm<PlainUnit>::kFunctions;

}  // namespace tessera::kernels::gemm

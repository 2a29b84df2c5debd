#include "tessera/kernels/gemm/matrix_rows.h"

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
#include <immintrin.h>

#include "hwy/base.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/gemm/tile_walk.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "tessera/kernels/gemm/byte_block.h"

namespace tessera::kernels::gemm {
namespace avx512_vnni_i8 {
namespace {

// vpdpbusd wants unsigned values: 128 is added to those of x, and what that adds to a sum is taken off at the end.
struct Unit {
  using Operand = std::uint8_t;
  using Sums = __m512i;
  using Weights = __m512i;
  using Values = __m512i;
  static constexpr std::int64_t kLanes = 16;
  static constexpr std::int64_t kGroup = 4;
  static constexpr int kRows = 14;  // 28 sums, two weights and a broadcast in 32 registers
  static constexpr std::int32_t kOffset = 128;
  static HWY_INLINE Sums zero() { return _mm512_setzero_si512(); }
  static HWY_INLINE Sums load(const float* p) { return _mm512_load_si512(p); }
  static HWY_INLINE void store(float* p, Sums s) { _mm512_store_si512(p, s); }
  static HWY_INLINE Weights load_weights(const std::int8_t* p) { return _mm512_load_si512(p); }
  static HWY_INLINE Values broadcast(const Operand* p) {
    int four;
    std::memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static HWY_INLINE Sums dot(Sums s, Values x, Weights w) { return _mm512_dpbusd_epi32(s, x, w); }
};

}  // namespace
}  // namespace avx512_vnni_i8

constinit const GemmFunctions kAvx512VnniI8 = ByteGemm<avx512_vnni_i8::Unit>::kFunctions;

}  // namespace tessera::kernels::gemm
HWY_POP_ATTRIBUTES
#endif

#include "tessera/kernels/gemm/matrix_rows.h"

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
#include <immintrin.h>

#include "hwy/base.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/gemm/tile_walk.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#include "tessera/kernels/gemm/dot_block.h"

namespace tessera::kernels::gemm {
namespace avx512_bf16 {
namespace {

struct Unit {
  using Sums = __m512;
  using Pairs = __m512bh;
  static HWY_INLINE Sums zero() { return _mm512_setzero_ps(); }
  static HWY_INLINE Sums load(const float* p) { return _mm512_load_ps(p); }
  static HWY_INLINE void store(float* p, Sums s) { _mm512_store_ps(p, s); }
  static HWY_INLINE Pairs load_pairs(const bf16* p) { return reinterpret_cast<Pairs>(_mm512_load_si512(p)); }
  static HWY_INLINE Pairs broadcast_pair(const bf16* p) {
    int pair;
    std::memcpy(&pair, p, sizeof pair);
    return reinterpret_cast<Pairs>(_mm512_set1_epi32(pair));
  }
  static HWY_INLINE Sums dot(Sums s, Pairs a, Pairs b) { return _mm512_dpbf16_ps(s, a, b); }
};

}  // namespace
}  // namespace avx512_bf16

constinit const GemmFunctions kAvx512Bf16 = DotGemm<avx512_bf16::Unit>::kFunctions;

}  // namespace tessera::kernels::gemm
HWY_POP_ATTRIBUTES
#endif

#include "tessera/kernels/gemm/matrix_rows.h"

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
#include <immintrin.h>

#include "hwy/base.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/gemm/tile_walk.h"

HWY_PUSH_ATTRIBUTES("avx,avx2,fma")
#include "tessera/kernels/gemm/byte_block.h"

namespace tessera::kernels::gemm {
namespace avx2_i8 {
namespace {

// vpmaddwd over widened values: exact, twice the products of an FMA an instruction; with the addition 1.46 times its rate on a Zen 3. vpmaddubsw
// would do four times as many but saturates, and keeping its pairs from it (signs moved to the weights) takes as many instructions again.
struct Unit {
  using Operand = std::int16_t;
  using Sums = __m256i;
  using Weights = __m256i;
  using Values = __m256i;
  static constexpr std::int64_t kLanes = 8;
  static constexpr std::int64_t kGroup = 2;
  static constexpr int kRows = 6;  // 12 sums, two weights, a broadcast and a product in 16 registers
  static constexpr std::int32_t kOffset = 0;
  static HWY_INLINE Sums zero() { return _mm256_setzero_si256(); }
  static HWY_INLINE Sums load(const float* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static HWY_INLINE void store(float* p, Sums s) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), s); }
  static HWY_INLINE Weights load_weights(const std::int8_t* p) { return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(p))); }
  static HWY_INLINE Values broadcast(const Operand* p) {
    int pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  static HWY_INLINE Sums dot(Sums s, Values x, Weights w) {
    Sums product;
    // As one: GCC adds the products of several groups first and spills them (102 GOP/s instead of 139), or moves sums about (2 to 5 % slower than
    // this).
    asm("vpmaddwd %[w], %[x], %[product]\n\tvpaddd %[product], %[s], %[s]" : [s] "+x"(s), [product] "=&x"(product) : [x] "x"(x), [w] "x"(w));
    return s;
  }
};

}  // namespace
}  // namespace avx2_i8

constinit const GemmFunctions kAvx2I8 = ByteGemm<avx2_i8::Unit>::kFunctions;

}  // namespace tessera::kernels::gemm
HWY_POP_ATTRIBUTES
#endif

#include "tessera/runtime/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <tuple>

#include "tessera/core/tensor.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tessera::runtime {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kSeconds = 0.1;   // of one round
constexpr int kUnrolled = 32;      // repetitions of plain_loop's body between two loads of its factor
constexpr int kAccumulators = 12;  // independent chains: more than latency times width of any of these units

/// Runs `reps` repetitions of a register-bound loop; answers something that depends on all of them, so that none is dropped.
using Loop = float (*)(std::int64_t reps);

struct Unit {
  const char* what;
  device::Isa isa;
  Loop loop;
  double flops;  // of one repetition
  DType operands;
};

float plain_loop(std::int64_t reps) {
  float s[kAccumulators] = {};
  float a = 1.000001f;
  for (std::int64_t i = 0; i < reps; ++i) {
    for (int unrolled = 0; unrolled < kUnrolled; ++unrolled)
      for (float& v : s) v = v * a + 0.5f;
    asm volatile("" : "+m"(a));  // reloads a: rarely, so that the wait for it does not count
  }
  float sum = 0;
  for (const float v : s) sum += v;
  return sum;
}

#if defined(__x86_64__) && defined(__GNUC__)

__attribute__((target("avx2,fma"))) float avx2_loop(std::int64_t reps) {
  __m256 s[kAccumulators];
  for (auto& v : s) v = _mm256_setzero_ps();
  __m256 a = _mm256_set1_ps(0.999f);
  __m256 b = _mm256_set1_ps(0.501f);
  for (std::int64_t i = 0; i < reps; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
    for (auto& v : s) v = _mm256_fmadd_ps(a, b, v);
  }
  for (int i = 1; i < kAccumulators; ++i) s[0] = _mm256_add_ps(s[0], s[i]);
  return _mm256_cvtss_f32(s[0]);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) float avx512_loop(std::int64_t reps) {
  __m512 s[kAccumulators];
  for (auto& v : s) v = _mm512_setzero_ps();
  __m512 a = _mm512_set1_ps(0.999f);
  __m512 b = _mm512_set1_ps(0.501f);
  for (std::int64_t i = 0; i < reps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (auto& v : s) v = _mm512_fmadd_ps(a, b, v);
  }
  for (int i = 1; i < kAccumulators; ++i) s[0] = _mm512_add_ps(s[0], s[i]);
  return _mm512_cvtss_f32(s[0]);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))) float avx512_bf16_loop(std::int64_t reps) {
  __m512 s[kAccumulators];
  for (auto& v : s) v = _mm512_setzero_ps();
  __m512i a = _mm512_set1_epi16(0x3f7f);
  __m512i b = _mm512_set1_epi16(0x3f00);
  for (std::int64_t i = 0; i < reps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (auto& v : s) v = _mm512_dpbf16_ps(v, (__m512bh)a, (__m512bh)b);
  }
  for (int i = 1; i < kAccumulators; ++i) s[0] = _mm512_add_ps(s[0], s[i]);
  return _mm512_cvtss_f32(s[0]);
}

// What int8 products are made of without a unit for bytes: exact sums of pairs of widened values, and an addition. In one statement, as the product
// is always the same, and a compiler that sees it alone moves it out of the loop or the sums into memory.
__attribute__((target("avx2"))) float avx2_i8_loop(std::int64_t reps) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero, s9 = zero, s10 = zero, s11 = zero;
  const __m256i a = _mm256_set1_epi16(3);
  const __m256i b = _mm256_set1_epi16(5);
#define TESSERA_MULTIPLY_ADD(SUM) "vpmaddwd %12, %13, %%ymm15\n\tvpaddd %%ymm15, %" #SUM ", %" #SUM "\n\t"
  for (std::int64_t i = 0; i < reps; ++i)
    asm volatile(TESSERA_MULTIPLY_ADD(0) TESSERA_MULTIPLY_ADD(1) TESSERA_MULTIPLY_ADD(2) TESSERA_MULTIPLY_ADD(3) TESSERA_MULTIPLY_ADD(4)
                     TESSERA_MULTIPLY_ADD(5) TESSERA_MULTIPLY_ADD(6) TESSERA_MULTIPLY_ADD(7) TESSERA_MULTIPLY_ADD(8) TESSERA_MULTIPLY_ADD(9)
                         TESSERA_MULTIPLY_ADD(10) TESSERA_MULTIPLY_ADD(11)
                 : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "+x"(s8), "+x"(s9), "+x"(s10), "+x"(s11)
                 : "x"(a), "x"(b)
                 : "xmm15");
#undef TESSERA_MULTIPLY_ADD
  for (const __m256i s : {s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11}) s0 = _mm256_add_epi32(s0, s);
  return static_cast<float>(_mm256_extract_epi32(s0, 0));
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))) float avx512_vnni_loop(std::int64_t reps) {
  __m512i s[kAccumulators];
  for (auto& v : s) v = _mm512_setzero_si512();
  __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(5);
  for (std::int64_t i = 0; i < reps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (auto& v : s) v = _mm512_dpbusd_epi32(v, a, b);
  }
  for (int i = 1; i < kAccumulators; ++i) s[0] = _mm512_add_epi32(s[0], s[i]);
  return static_cast<float>(_mm512_cvtsi512_si32(s[0]));
}

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

__attribute__((target("amx-tile,amx-bf16,amx-int8"))) float amx_loop(std::int64_t reps, bool bytes) {
  const TileConfig config;
  alignas(64) float out[256];
  alignas(64) std::uint16_t in[512];
  std::fill(std::begin(in), std::end(in), std::uint16_t{0x3f00});
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, in, 64);
  _tile_loadd(5, in, 64);
  _tile_loadd(6, in, 64);
  _tile_loadd(7, in, 64);
  for (std::int64_t i = 0; bytes && i < reps; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  for (std::int64_t i = 0; !bytes && i < reps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, 64);
  _tile_release();
  return out[0];
}
float amx_bf16_loop(std::int64_t reps) { return amx_loop(reps, false); }
float amx_i8_loop(std::int64_t reps) { return amx_loop(reps, true); }

#endif

std::vector<Unit> units() {
  std::vector<Unit> list;
#if defined(__x86_64__) && defined(__GNUC__)
  list.push_back({"AMX bf16, tiles resident", device::Isa::amx, &amx_bf16_loop, 4.0 * 16 * 16 * 32 * 2, DType::bf16});
  list.push_back({"AMX int8, tiles resident", device::Isa::amx, &amx_i8_loop, 4.0 * 16 * 16 * 64 * 2, DType::i8});
  list.push_back({"vpdpbusd (AVX-512), registers", device::Isa::avx512_vnni, &avx512_vnni_loop, kAccumulators * 128.0, DType::i8});
  list.push_back({"vpmaddwd and addition (AVX2), registers", device::Isa::avx2, &avx2_i8_loop, kAccumulators * 32.0, DType::i8});
  list.push_back({"vdpbf16ps (AVX-512), registers", device::Isa::avx512_bf16, &avx512_bf16_loop, kAccumulators * 64.0, DType::bf16});
  list.push_back({"f32 FMA (AVX-512), registers", device::Isa::avx512, &avx512_loop, kAccumulators * 32.0, DType::f32});
  list.push_back({"f32 FMA (AVX2), registers", device::Isa::avx2, &avx2_loop, kAccumulators * 16.0, DType::f32});
#endif
  list.push_back({"f32 multiply and add, as compiled", device::Isa::scalar, &plain_loop, kUnrolled * kAccumulators * 2.0, DType::f32});
  return list;
}

/// Work per second when all of `threads` run body(thread) at once; body answers the work that it did.
double rate(Context& ctx, int threads, int rounds, const std::function<double(int)>& body) {
  double best = 0;
  for (int r = 0; r < rounds; ++r) {
    std::atomic<int> ready{0};
    std::atomic<double> work{0};
    std::atomic<std::int64_t> first{INT64_MAX};
    std::atomic<std::int64_t> last{0};
    ctx.pool().parallel_for(threads, [&](std::int64_t item, int) {
      // Every item must run on a thread of its own: wait until all have begun.
      ready.fetch_add(1);
      const auto give_up = Clock::now() + std::chrono::seconds(1);
      while (ready.load() < threads && Clock::now() < give_up) std::this_thread::yield();
      const auto start = Clock::now().time_since_epoch().count();
      const double done = body(static_cast<int>(item));
      const auto end = Clock::now().time_since_epoch().count();
      for (auto old = first.load(); start < old && !first.compare_exchange_weak(old, start);) {
      }
      for (auto old = last.load(); end > old && !last.compare_exchange_weak(old, end);) {
      }
      for (double old = work.load(); !work.compare_exchange_weak(old, old + done);) {
      }
    });
    const double seconds =
        static_cast<double>(last.load() - first.load()) * static_cast<double>(Clock::period::num) / static_cast<double>(Clock::period::den);
    if (seconds > 0) best = std::max(best, work.load() / seconds);
  }
  return best;
}

double unit_rate(Context& ctx, const Unit& unit, int threads, int rounds) {
  std::int64_t reps = 1000;  // as many as take a round
  for (;;) {
    const auto start = Clock::now();
    volatile float sink = unit.loop(reps);
    (void)sink;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds > kSeconds / 10) {
      reps = static_cast<std::int64_t>(static_cast<double>(reps) * kSeconds / seconds);
      break;
    }
    reps *= 4;
  }
  return rate(ctx, threads, rounds, [&](int) {
    volatile float sink = unit.loop(reps);
    (void)sink;
    return unit.flops * static_cast<double>(reps);
  });
}

// The readers answer something that depends on all that they read: the whole blocks of 64 or 256 bytes.
std::uint64_t read_words(const std::byte* data, std::size_t bytes) {
  std::uint64_t s[8] = {};
  for (std::size_t i = 0; i + 64 <= bytes; i += 64) {
    std::uint64_t w[8];
    std::memcpy(w, data + i, 64);
    for (int k = 0; k < 8; ++k) s[k] ^= w[k];
  }
  return s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) std::uint64_t read_avx2(const std::byte* data, std::size_t bytes) {
  __m256i s[8];
  for (auto& v : s) v = _mm256_setzero_si256();
  for (std::size_t i = 0; i + 256 <= bytes; i += 256)
    for (std::size_t k = 0; k < 8; ++k) s[k] = _mm256_xor_si256(s[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 32 * k)));
  for (int k = 1; k < 8; ++k) s[0] = _mm256_xor_si256(s[0], s[k]);
  return static_cast<std::uint64_t>(_mm256_extract_epi64(s[0], 0) ^ _mm256_extract_epi64(s[0], 3));
}

__attribute__((target("avx512f"))) std::uint64_t read_avx512(const std::byte* data, std::size_t bytes) {
  __m512i s[4];
  for (auto& v : s) v = _mm512_setzero_si512();
  for (std::size_t i = 0; i + 256 <= bytes; i += 256)
    for (std::size_t k = 0; k < 4; ++k) s[k] = _mm512_xor_si512(s[k], _mm512_loadu_si512(data + i + 64 * k));
  for (int k = 1; k < 4; ++k) s[0] = _mm512_xor_si512(s[0], s[k]);
  std::uint64_t out[8];
  _mm512_storeu_si512(out, s[0]);
  return out[0] ^ out[7];
}
#endif

double read_rate(Context& ctx, const std::vector<Tensor>& buffers, std::size_t bytes, int threads, int rounds) {
  const auto reps = std::max<std::size_t>(1, (std::size_t{256} << 20) / bytes);
  return rate(ctx, threads, rounds, [&](int thread) {
    std::uint64_t sum = 0;
    for (std::size_t r = 0; r < reps; ++r) sum ^= read_memory(ctx, buffers[static_cast<std::size_t>(thread)].raw(), bytes);
    volatile std::uint64_t sink = sum;
    (void)sink;
    return static_cast<double>(reps * bytes);
  });
}

}  // namespace

std::uint64_t read_memory(const Context& ctx, const void* data, std::size_t bytes) {
  const auto* const from = static_cast<const std::byte*>(data);
#if defined(__x86_64__) && defined(__GNUC__)
  if (ctx.allows(device::Isa::avx512)) return read_avx512(from, bytes);
  if (ctx.allows(device::Isa::avx2)) return read_avx2(from, bytes);
#endif
  (void)ctx;
  return read_words(from, bytes);
}

CeilingReport measure_ceilings(Context& ctx, int rounds) {
  CeilingReport report;
  const int threads = ctx.threads();
  for (const Unit& unit : units()) {
    if (!ctx.allows(unit.isa)) continue;
    const double one = unit_rate(ctx, unit, 1, rounds) * 1e-9;
    const double all = threads == 1 ? one : unit_rate(ctx, unit, threads, rounds) * 1e-9;
    report.rows.push_back({unit.what, "GFLOP/s", one, all});
    double Ceilings::*field = unit.operands == DType::f32    ? &Ceilings::f32_gflops
                              : unit.operands == DType::bf16 ? &Ceilings::bf16_gflops
                                                             : &Ceilings::int8_gflops;
    report.one.*field = std::max(report.one.*field, one);
    report.all.*field = std::max(report.all.*field, all);
  }
  // Without a unit for bf16 operands, or with one that is slower, they are widened and multiplied in f32.
  report.one.bf16_gflops = std::max(report.one.bf16_gflops, report.one.f32_gflops);
  report.all.bf16_gflops = std::max(report.all.bf16_gflops, report.all.f32_gflops);

  report.one.int8_gflops = std::max(report.one.int8_gflops, report.one.f32_gflops);
  report.all.int8_gflops = std::max(report.all.int8_gflops, report.all.f32_gflops);

  const device::Cpu& cpu = device::cpu();
  const std::size_t large = std::size_t{128} << 20;  // a thread
  std::vector<Tensor> buffers;
  for (int t = 0; t < threads; ++t) buffers.push_back(Tensor::zeros(Shape{static_cast<std::int64_t>(large)}, DType::u8));
  const auto add = [&](const std::string& what, std::size_t bytes) {
    const double one = read_rate(ctx, buffers, bytes, 1, rounds) * 1e-9;
    const double all = threads == 1 ? one : read_rate(ctx, buffers, bytes, threads, rounds) * 1e-9;
    report.rows.push_back({what, "GB/s", one, all});
    return std::pair(one, all);
  };
  if (cpu.l1d > 0) add("read half of L1", cpu.l1d / 2);
  if (cpu.l2 > 0) add("read half of L2", cpu.l2 / 2);
  if (cpu.l3 > 0 && cpu.l3 / 8 > cpu.l2 && cpu.l3 / 8 < large) add("read an eighth of L3", cpu.l3 / 8);
  std::tie(report.one.read_gbs, report.all.read_gbs) = add("read 128 MiB a thread (memory)", large);
  return report;
}

}  // namespace tessera::runtime

// Packing of weights, one template for all rows: reads each source row once, writes it where the row's layout wants it.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tessera/core/dtype.h"

namespace tessera::kernels::gemm {

inline float widened(float x) { return x; }
inline float widened(bf16 x) { return to_f32(x); }
inline float widened(f16 x) { return to_f32(x); }
inline void store(float x, float* to) { *to = x; }
inline void store(float x, bf16* to) { *to = to_bf16(x); }

/// Layout: `using Element` (float or bf16), `offset(k)` and `column(c)`: element (k, c) stands at offset(k) + column(c), and inside an
/// aligned run of kRun values of k offset(k + 1) - offset(k) alternates as the layout says.
template <class Layout, class Source>
void pack_weight(const Source* w, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  auto* out = reinterpret_cast<typename Layout::Element*>(panel);
  // Stretches of k, so that the lines written stay in L1 while the panel's columns pass over them.
  constexpr std::int64_t kStretch = 64;
  for (std::int64_t k0 = 0; k0 < k; k0 += kStretch) {
    const std::int64_t k1 = k0 + kStretch < k ? k0 + kStretch : k;
    for (std::int64_t c = 0; c < columns; ++c) {
      const Source* row = w + c * k;
      auto* to = out + Layout::column(first + c);
      for (std::int64_t i = k0; i < k1; ++i) store(widened(row[i]), to + Layout::offset(i));
    }
  }
}

template <class Layout>
void pack_weight(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
  if (dtype == DType::f32) pack_weight<Layout>(static_cast<const float*>(w), first, columns, k, panel);
  if (dtype == DType::bf16) pack_weight<Layout>(static_cast<const bf16*>(w), first, columns, k, panel);
  if (dtype == DType::f16) pack_weight<Layout>(static_cast<const f16*>(w), first, columns, k, panel);
}

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace tessera::kernels::gemm

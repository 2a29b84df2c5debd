// Turns one Highway source, compiled once per target, into table rows: avx512, avx2, neon, scalar, whichever were compiled in.
// Included once, in the HWY_ONCE part of a kernel source, which defines in every HWY_NAMESPACE a function `Functions make_functions()`.
#pragma once

#include <vector>

#include "tessera/kernels/table.h"

#if HWY_TARGETS & HWY_AVX3
#define TESSERA_ROW_AVX512(SERVES) table.push_back({{"avx512", ::tessera::device::Isa::avx512, SERVES}, N_AVX3::make_functions()});
#else
#define TESSERA_ROW_AVX512(SERVES)
#endif
#if HWY_TARGETS & HWY_AVX2
#define TESSERA_ROW_AVX2(SERVES) table.push_back({{"avx2", ::tessera::device::Isa::avx2, SERVES}, N_AVX2::make_functions()});
#else
#define TESSERA_ROW_AVX2(SERVES)
#endif
#if HWY_TARGETS & HWY_NEON
#define TESSERA_ROW_NEON(SERVES) table.push_back({{"neon", ::tessera::device::Isa::neon, SERVES}, N_NEON::make_functions()});
#else
#define TESSERA_ROW_NEON(SERVES)
#endif
#if HWY_TARGETS & HWY_SCALAR
#define TESSERA_ROW_SCALAR(SERVES) table.push_back({{"scalar", ::tessera::device::Isa::scalar, SERVES}, N_SCALAR::make_functions()});
#else
#error "kernels are compiled with the scalar target as the baseline (see cmake/TesseraKernels.cmake)"
#endif

/// Defines `std::span<const Row<FUNCTIONS>> NAME()`, built on first use.
#define TESSERA_HWY_ROWS(FUNCTIONS, NAME, SERVES)          \
  std::span<const Row<FUNCTIONS>> NAME() {                 \
    static const std::vector<Row<FUNCTIONS>> kTable = [] { \
      std::vector<Row<FUNCTIONS>> table;                   \
      TESSERA_ROW_AVX512(SERVES)                           \
      TESSERA_ROW_AVX2(SERVES)                             \
      TESSERA_ROW_NEON(SERVES)                             \
      TESSERA_ROW_SCALAR(SERVES)                           \
      return table;                                        \
    }();                                                   \
    return kTable;                                         \
  }

// Turns one Highway source, compiled once per target, into table rows: avx512, avx2, neon, scalar, whichever were compiled in.
// Included once, in the HWY_ONCE part of a kernel source, which defines in every HWY_NAMESPACE a `constexpr Functions make_functions()`.
// It must be evaluated by the compiler: run here, its own code (compiled for the row's instruction set) would be an illegal instruction on
// a machine that lacks the set, as soon as the compiler copies a few pointers through a vector register.
#pragma once

#include <vector>

#include "tessera/kernels/table.h"

#define TESSERA_ROW(NAME, ISA, TARGET, SERVES)                                  \
  {                                                                             \
    static constexpr auto kFunctions = TARGET::make_functions();                \
    table.push_back({{NAME, ::tessera::device::Isa::ISA, SERVES}, kFunctions}); \
  }

#if HWY_TARGETS & HWY_AVX3
#define TESSERA_ROW_AVX512(SERVES) TESSERA_ROW("avx512", avx512, N_AVX3, SERVES)
#else
#define TESSERA_ROW_AVX512(SERVES)
#endif
#if HWY_TARGETS & HWY_AVX2
#define TESSERA_ROW_AVX2(SERVES) TESSERA_ROW("avx2", avx2, N_AVX2, SERVES)
#else
#define TESSERA_ROW_AVX2(SERVES)
#endif
#if HWY_TARGETS & HWY_NEON
#define TESSERA_ROW_NEON(SERVES) TESSERA_ROW("neon", neon, N_NEON, SERVES)
#else
#define TESSERA_ROW_NEON(SERVES)
#endif
#if HWY_TARGETS & HWY_SCALAR
#define TESSERA_ROW_SCALAR(SERVES) TESSERA_ROW("scalar", scalar, N_SCALAR, SERVES)
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

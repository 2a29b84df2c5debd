// The rows that are not Highway's, each compiled in its own file for its own instruction set. All without epilogue.
// Private to kernels/gemm. Tests: tests/kernels/gemm_test.cpp, tests/kernels/gemm_int8_test.cpp.
#pragma once

#include "tessera/kernels/gemm/gemm.h"

namespace tessera::kernels::gemm {

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
extern const GemmFunctions kAmxBf16;
extern const GemmFunctions kAvx512Bf16;
extern const GemmFunctions kAmxI8;
extern const GemmFunctions kAvx512VnniI8;
extern const GemmFunctions kAvx2I8;
#endif
#if defined(__aarch64__) && !defined(TESSERA_SCALAR_ONLY)
extern const GemmFunctions kNeonI8;
#endif
extern const GemmFunctions kScalarI8;

}  // namespace tessera::kernels::gemm

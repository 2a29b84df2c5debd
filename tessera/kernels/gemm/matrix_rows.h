// The rows with matrix instructions, each compiled in its own file for its own instruction set; absent elsewhere than on x86-64.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include "tessera/kernels/gemm/gemm.h"

namespace tessera::kernels::gemm {

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
/// Without epilogue.
extern const GemmFunctions kAmxBf16;
extern const GemmFunctions kAvx512Bf16;
#endif

}  // namespace tessera::kernels::gemm

// Rows written in Highway, one source for all instruction sets: f32 weights, and bf16 weights widened to f32 on the way.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include <vector>

#include "tessera/kernels/gemm/gemm.h"

namespace tessera::kernels::gemm {

/// Without epilogue. Rows are named "avx512_widen" / "avx512_f32", ..., scalar: "scalar" / "scalar_f32".
void add_widen_rows(std::vector<Row<GemmFunctions>>& table, bool scalar);
void add_f32_rows(std::vector<Row<GemmFunctions>>& table, bool scalar);

}  // namespace tessera::kernels::gemm

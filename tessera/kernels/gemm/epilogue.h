// What follows a product, over f32 scratch: bias, activation or gated pair, gate, residual, f32 or bf16 out.
// Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
#pragma once

#include "tessera/device/cpu.h"
#include "tessera/kernels/gemm/gemm.h"

namespace tessera::kernels::gemm {

using Epilogue = void (*)(const GemmEpilogue&) noexcept;

/// The widest epilogue whose instruction set is contained in `isa` and compiled in.
Epilogue epilogue_for(device::Isa isa) noexcept;

}  // namespace tessera::kernels::gemm

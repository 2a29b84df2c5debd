#include "tessera/kernels/gemm/gemm.h"

#include <vector>

#include "tessera/kernels/gemm/epilogue.h"
#include "tessera/kernels/gemm/matrix_rows.h"
#include "tessera/kernels/gemm/vector.h"

namespace tessera::kernels {

std::span<const Row<GemmFunctions>> gemm_rows() {
  static const std::vector<Row<GemmFunctions>> kTable = [] {
    std::vector<Row<GemmFunctions>> table;
#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
    table.push_back({{"amx_bf16", device::Isa::amx, "bf16 weights; any shape"}, gemm::kAmxBf16});
    // Intel's cores do 30 FLOPs a cycle with vdpbf16ps and 60 with FMA (Sapphire Rapids), AMD's 64 and 32 (Zen 4).
    const bool intel = device::cpu().vendor == "GenuineIntel";
    const Row<GemmFunctions> dot = {{"avx512_bf16", device::Isa::avx512_bf16, "bf16 weights; any shape; on Intel slower than FMA"},
                                    gemm::kAvx512Bf16};
    if (!intel) table.push_back(dot);
    gemm::add_widen_rows(table, false);
    if (intel) table.push_back(dot);
#else
    gemm::add_widen_rows(table, false);
#endif
    gemm::add_f32_rows(table, false);
    constexpr const char* kInt8 = "int8 weights; k up to 65536";
#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
    table.push_back({{"amx_i8", device::Isa::amx, kInt8}, gemm::kAmxI8});
    table.push_back({{"avx512_vnni_i8", device::Isa::avx512_vnni, kInt8}, gemm::kAvx512VnniI8});
    table.push_back({{"avx2_i8", device::Isa::avx2, kInt8}, gemm::kAvx2I8});
#elif defined(__aarch64__) && !defined(TESSERA_SCALAR_ONLY)
    table.push_back({{"neon_i8", device::Isa::neon, kInt8}, gemm::kNeonI8});
#endif
    gemm::add_widen_rows(table, true);
    gemm::add_f32_rows(table, true);
    table.push_back({{"scalar_i8", device::Isa::scalar, kInt8}, gemm::kScalarI8});
    for (Row<GemmFunctions>& row : table) row.functions.epilogue = gemm::epilogue_for(row.info.isa);
    return table;
  }();
  return kTable;
}

}  // namespace tessera::kernels

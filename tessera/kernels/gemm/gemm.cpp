#include "tessera/kernels/gemm/gemm.h"

#include <vector>

#include "tessera/kernels/gemm/epilogue.h"
#include "tessera/kernels/gemm/vector.h"

namespace tessera::kernels {

std::span<const Row<GemmFunctions>> gemm_rows() {
  static const std::vector<Row<GemmFunctions>> kTable = [] {
    std::vector<Row<GemmFunctions>> table;
    gemm::add_widen_rows(table, false);
    gemm::add_f32_rows(table, false);
    gemm::add_widen_rows(table, true);
    gemm::add_f32_rows(table, true);
    for (Row<GemmFunctions>& row : table) row.functions.epilogue = gemm::epilogue_for(row.info.isa);
    return table;
  }();
  return kTable;
}

std::span<const Row<GemmFunctions>> gemm_emulated_rows() { return {}; }

}  // namespace tessera::kernels

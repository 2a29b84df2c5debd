// Weights in panels and the product with them, shared by linear and matmul. Private to ops (not installed). Test: tests/ops/linear_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/linear.h"

namespace tessera::ops {

struct PreparedLinear::Impl {
  const kernels::Row<kernels::GemmFunctions>* row = nullptr;
  std::int64_t n = 0;  // of one half, for a gated pair
  std::int64_t k = 0;
  bool gated = false;
  std::int64_t panels = 0;
  std::size_t panel_bytes = 0;
  std::shared_ptr<const std::byte> weights;  // [panels]; gated: gate and up panels in turn
  std::vector<float> bias;                   // [panels * panel_columns] in their order, or empty
};

struct LinearAccess {
  static const PreparedLinear::Impl* get(const PreparedLinear& w) noexcept { return w.impl_.get(); }
  static PreparedLinear make(std::shared_ptr<const PreparedLinear::Impl> impl) {
    PreparedLinear w;
    w.impl_ = std::move(impl);
    return w;
  }
};

/// Packed weights wherever they lie: in a PreparedLinear, or in the workspace for one call.
struct Panels {
  const kernels::GemmFunctions* functions = nullptr;
  std::int64_t n = 0;  // of one half, for a gated pair
  std::int64_t k = 0;
  bool gated = false;
  std::int64_t panels = 0;
  std::size_t panel_bytes = 0;
  const std::byte* weights = nullptr;  // aligned to 64
  const float* bias = nullptr;         // [panels * panel_columns], or null
};

inline constexpr std::size_t kPanelAlignment = 64;
inline constexpr std::int64_t panels_of(const kernels::GemmFunctions& f, std::int64_t n) noexcept {
  return (n + f.panel_columns - 1) / f.panel_columns;
}

/// The row that multiplies `precision`: the forced row of the family "linear", else the best one. Errors name `op`.
const kernels::Row<kernels::GemmFunctions>& choose_gemm_row(const Context& ctx, std::string_view op, DType precision, std::int64_t k);
kernels::GemmActivation kernel_activation(Activation activation);
/// Memory for packed weights; throws Error when there is none.
std::shared_ptr<std::byte> allocate_panels(std::size_t bytes);
/// Element i of a tensor of f32, bf16 or f16.
float weight_element(const Tensor& t, std::int64_t i);
/// Depth up to which panels are read from the second-level cache as fast as they are used, and packing x would not pay: rows that have a direct way
/// go it.
inline constexpr std::int64_t kDirectDepth = 2048;
/// y = what Linear says of x and w; everything has been checked. Opens no zone.
void run_product(Context& ctx, const Tensor& x, const Panels& w, const Linear& options, Tensor& y);

}  // namespace tessera::ops

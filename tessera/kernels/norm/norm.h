// One row of LayerNorm and RMSNorm: f32 or bf16 in and out, f32 statistics; and the sum of two rows that goes before. Test:
// tests/kernels/norm_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// y[i] = (x[i] - mean) / sqrt(var + eps) * weight[i] + bias[i]; both may be null: 1 and 0.
template <class X, class Y>
using LayerNormFunction = void (*)(const X* x, std::int64_t n, const float* weight, const float* bias, float eps, Y* y) noexcept;
/// y[i] = x[i] / sqrt(mean(x^2) + eps) * (offset + scale[i]) + shift[i]; scale may be null: no factor at all; shift too.
template <class X, class Y>
using RmsNormFunction = void (*)(const X* x, std::int64_t n, float offset, const float* scale, const float* shift, float eps, Y* y) noexcept;
/// sum[i] = x[i] + z[i]
template <class X, class Z>
using AddRowsFunction = void (*)(const X* x, const Z* z, std::int64_t n, float* sum) noexcept;

struct NormFunctions {
  LayerNormFunction<float, float> layer_norm_f32_f32;
  LayerNormFunction<float, bf16> layer_norm_f32_bf16;
  LayerNormFunction<bf16, float> layer_norm_bf16_f32;
  LayerNormFunction<bf16, bf16> layer_norm_bf16_bf16;
  RmsNormFunction<float, float> rms_norm_f32_f32;
  RmsNormFunction<float, bf16> rms_norm_f32_bf16;
  RmsNormFunction<bf16, float> rms_norm_bf16_f32;
  RmsNormFunction<bf16, bf16> rms_norm_bf16_bf16;
  AddRowsFunction<float, float> add_f32_f32;
  AddRowsFunction<float, bf16> add_f32_bf16;
  AddRowsFunction<bf16, float> add_bf16_f32;
  AddRowsFunction<bf16, bf16> add_bf16_bf16;
};

std::span<const Row<NormFunctions>> norm_rows();

}  // namespace tessera::kernels

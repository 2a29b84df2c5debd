// What a prepared convolution holds, shared by its preparation and its call. Private to ops (not installed).
// Test: tests/ops/conv2d_test.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tessera/kernels/depthwise/depthwise.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/linear.h"

namespace tessera::ops {

enum class ConvPath : std::uint8_t { depthwise, product, fold, window };

struct PreparedConv2d::Impl {
  Conv2d options;  // padding as it is applied, also where it was asked for as "same"
  ConvPath path = ConvPath::window;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kh = 0;
  std::int64_t kw = 0;
  DType precision = DType::f32;
  // depthwise
  const kernels::Row<kernels::DepthwiseFunctions>* row = nullptr;
  Tensor packed;
  // the others: one product a group, k = (kh, kw, in / groups) for nhwc and (in / groups, kh, kw) for nchw
  std::vector<PreparedLinear> products;
};

struct Conv2dAccess {
  static const PreparedConv2d::Impl* get(const PreparedConv2d& w) noexcept { return w.impl_.get(); }
  static PreparedConv2d make(std::shared_ptr<const PreparedConv2d::Impl> impl) {
    PreparedConv2d w;
    w.impl_ = std::move(impl);
    return w;
  }
};

}  // namespace tessera::ops

// Elements in another dtype: floats, integers and TTNN's block floats. Test: tests/ops/typecast_test.cpp; page: docs/ops/typecast.md.
#pragma once

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// y = x in y's dtype, every pair of dtypes. Floats round to nearest even; integers become floats through float32; floats become integers as on
/// TTNN's devices: toward zero, then uint8 and int8 keep the low 8 bits, uint32 saturates, int32 is -2^31 beyond its range; uint16 rounds half up and
/// saturates, from integers too, which otherwise keep their low bits. Block floats are quantised from float32, elements of the padding counting as 0.
/// Equal dtypes: a copy. Layouts are equal (rows may be strided), or one side is a block float. Source: ttnn.typecast.
void typecast(Context& ctx, const Tensor& x, Tensor& y);
/// The same into a fresh tensor: in tiles when `dtype` is a block float, else in x's layout.
Tensor typecast(Context& ctx, const Tensor& x, DType dtype);

}  // namespace tessera::ops

// The row of a kernel table: one implementation of one family, what it needs and what it serves. Tables are ordered, best first, scalar last.
// May not choose (that is ops/choose.h) or call. Test: tests/ops/kernel_table_test.cpp.
#pragma once

#include "tessera/device/cpu.h"

namespace tessera::kernels {

struct RowInfo {
  const char* name;    // "avx2", "avx512_bf16": unique in its family
  device::Isa isa;     // what the machine must have
  const char* serves;  // for people: "f32 and bf16, any width"
};

/// `Functions` is a struct of pointers to noexcept functions on pointers and sizes.
template <class Functions>
struct Row {
  RowInfo info;
  Functions functions;
};

}  // namespace tessera::kernels

// Rows of a table by index. Test: tests/ops/embedding_test.cpp; page: docs/ops/embedding.md.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// y[i] = scale * table[ids[i]]: table [vocab, width] f32, bf16 or f16 (may be a mapped file: only the rows asked for are touched);
/// y [ids, width] f32 or bf16, rows may be strided. Throws Error on an id outside the table. Source: torch.nn.functional.embedding.
void embedding(Context& ctx, const Tensor& table, std::span<const std::int32_t> ids, float scale, Tensor& y);

}  // namespace tessera::ops

// Picks a row of a kernel table for one call: the forced row, else the first that this context may run and that serves the call.
// Private to ops (not installed). Test: tests/ops/kernel_table_test.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/kernels/table.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// `declines(row)` answers why the row cannot serve this call, or nullptr when it can. Does not allocate unless it throws.
template <class Functions, class Declines>
const kernels::Row<Functions>& choose(const Context& ctx, std::string_view family, std::span<const kernels::Row<Functions>> table,
                                      Declines declines) {
  const std::string_view forced = ctx.forced(family);
  for (const kernels::Row<Functions>& row : table) {
    if (!forced.empty() && forced != row.info.name) continue;
    const char* reason = ctx.allows(row.info.isa) ? declines(row) : "this machine, or the cap on instruction sets, lacks what it needs";
    if (reason == nullptr) return row;
    if (!forced.empty()) fail(family, std::string("the forced row '").append(forced).append("' cannot serve this call: ").append(reason));
  }
  if (!forced.empty()) fail(family, std::string("there is no row '").append(forced).append("' to force; tessera info --ops lists them"));
  fail(family, "no kernel row serves this call");
}

template <class Functions>
const kernels::Row<Functions>& choose(const Context& ctx, std::string_view family, std::span<const kernels::Row<Functions>> table) {
  return choose(ctx, family, table, [](const kernels::Row<Functions>&) -> const char* { return nullptr; });
}

}  // namespace tessera::ops

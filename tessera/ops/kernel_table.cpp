#include "tessera/ops/kernel_table.h"

#include <algorithm>

#include "tessera/core/error.h"
#include "tessera/kernels/attention/attention.h"
#include "tessera/kernels/binary/binary.h"
#include "tessera/kernels/block_float/block_float.h"
#include "tessera/kernels/depthwise/depthwise.h"
#include "tessera/kernels/elementwise/elementwise.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/norm/norm.h"
#include "tessera/kernels/pool/pool.h"
#include "tessera/kernels/reduce/reduce.h"
#include "tessera/kernels/rope/rope.h"
#include "tessera/kernels/softmax/softmax.h"
#include "tessera/kernels/transpose/transpose.h"
#include "tessera/kernels/unary/unary.h"

namespace tessera::ops {
namespace {

/// A row and the kind of call that it competes for: rows of the same kind stand in each other's way, others do not.
struct Entry {
  kernels::RowInfo info;
  std::string kind;
};

struct Family {
  std::string name;
  std::vector<Entry> rows;
};

template <class Functions>
Family family(std::string name, std::span<const kernels::Row<Functions>> table) {
  Family f{std::move(name), {}};
  for (const kernels::Row<Functions>& row : table) {
    std::string kind;
    if constexpr (requires { row.functions.weights; }) kind = tessera::name(row.functions.weights);
    f.rows.push_back({row.info, kind});
  }
  return f;
}

/// One line a family, in alphabetical order.
std::vector<Family> families() {
  return {family("attention", kernels::attention_rows()),
          family("binary", kernels::binary_rows()),
          family("block_float", kernels::block_float_rows()),
          family("depthwise", kernels::depthwise_rows()),
          family("elementwise", kernels::elementwise_rows()),
          family("linear", kernels::gemm_rows()),
          family("norm", kernels::norm_rows()),
          family("pool", kernels::pool_rows()),
          family("reduce", kernels::reduce_rows()),
          family("rope", kernels::rope_rows()),
          family("softmax", kernels::softmax_rows()),
          family("transpose", kernels::transpose_rows()),
          family("unary", kernels::unary_rows())};
}

}  // namespace

std::vector<RowStatus> kernel_rows(const Context& ctx) {
  std::vector<RowStatus> out;
  for (const Family& f : families()) {
    const std::string_view forced = ctx.forced(f.name);
    std::vector<std::pair<std::string, std::string>> taken;  // kind -> the row that serves it
    for (const Entry& row : f.rows) {
      RowStatus status{f.name, row.info.name, row.info.serves, false, {}};
      const auto winner = std::ranges::find(taken, row.kind, &std::pair<std::string, std::string>::first);
      if (!device::usable(row.info.isa)) {
        status.reason = "needs " + std::string(device::name(row.info.isa)) + ", which this machine lacks";
      } else if (!ctx.allows(row.info.isa)) {
        status.reason = "needs " + std::string(device::name(row.info.isa)) + ", above the cap " + std::string(device::name(ctx.isa()));
      } else if (!forced.empty() && forced != row.info.name) {
        status.reason = "'" + std::string(forced) + "' is forced";
      } else if (winner != taken.end()) {
        status.reason = winner->second + " stands before it";
      } else {
        status.used = true;
        taken.emplace_back(row.kind, row.info.name);
      }
      out.push_back(std::move(status));
    }
  }
  return out;
}

std::vector<std::string> runnable_rows(const Context& ctx, std::string_view family) {
  for (const Family& f : families()) {
    if (f.name != family) continue;
    std::vector<std::string> names;
    for (const Entry& row : f.rows)
      if (ctx.allows(row.info.isa)) names.emplace_back(row.info.name);
    return names;
  }
  std::string known;
  for (const Family& f : families()) known.append(known.empty() ? "" : ", ").append(f.name);
  fail_expected("kernel_table", "a kernel family (" + known + ")", "'" + std::string(family) + "'");
}

std::vector<std::string> kernel_families() {
  std::vector<std::string> names;
  for (const Family& f : families()) names.push_back(f.name);
  return names;
}

}  // namespace tessera::ops

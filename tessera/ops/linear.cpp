#include "tessera/ops/linear.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/core/memory.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/linear_impl.h"

namespace tessera::ops {

using kernels::GemmFunctions;
using GemmRow = kernels::Row<GemmFunctions>;

namespace {

constexpr std::string_view kOp = "linear";
constexpr std::string_view kPrepare = "prepare_linear";
constexpr std::size_t kAlignment = kPanelAlignment;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::shared_ptr<std::byte> allocate_panels(std::size_t bytes) {
  std::shared_ptr<std::byte> p = allocate_bytes(bytes);
  if (p == nullptr) fail(kPrepare, "no memory for " + std::to_string(bytes) + " bytes of packed weights");
  return p;
}

std::int64_t PreparedLinear::n() const noexcept { return impl_ == nullptr ? 0 : impl_->n; }
std::int64_t PreparedLinear::k() const noexcept { return impl_ == nullptr ? 0 : impl_->k; }
DType PreparedLinear::dtype() const noexcept { return impl_ == nullptr ? DType::f32 : impl_->row->functions.weights; }
bool PreparedLinear::gated() const noexcept { return impl_ != nullptr && impl_->gated; }
bool PreparedLinear::has_bias() const noexcept { return impl_ != nullptr && !impl_->bias.empty(); }
std::size_t PreparedLinear::bytes() const noexcept {
  return impl_ == nullptr ? 0 : static_cast<std::size_t>(impl_->panels) * impl_->panel_bytes + impl_->bias.size() * sizeof(float);
}
std::string_view PreparedLinear::row() const noexcept { return impl_ == nullptr ? std::string_view() : impl_->row->info.name; }

namespace {

void check_weight(const Tensor& w, std::int64_t k) {
  if (!w.defined() || w.shape().rank() != 2 || w.numel() == 0)
    fail_expected(kPrepare, "a weight [n, k] with n and k of 1 or more", w.defined() ? w.str() : "an undefined tensor");
  if (w.dtype() != DType::f32 && w.dtype() != DType::bf16 && w.dtype() != DType::f16)
    fail_expected(kPrepare, "a weight of float32, bfloat16 or float16", w.str());
  if (!w.is_contiguous()) fail_expected(kPrepare, "a contiguous row-major weight", w.str(), "ops::to_layout converts");
  if (w.cols() != k) fail_expected(kPrepare, "parts of one width, k = " + std::to_string(k), w.str());
}

void check_bias(const LinearPart& part, bool wanted) {
  if (part.bias.defined() != wanted) fail(kPrepare, "expected either all parts to have a bias or none");
  if (!wanted) return;
  const Tensor& b = part.bias;
  if (b.shape() != Shape{part.weight.rows()} || b.layout() != Layout::row_major ||
      (b.dtype() != DType::f32 && b.dtype() != DType::bf16 && b.dtype() != DType::f16))
    fail_expected(kPrepare, "a bias [" + std::to_string(part.weight.rows()) + "] of float32, bfloat16 or float16, row-major", b.str(),
                  "ops::to_layout converts");
}

}  // namespace

float weight_element(const Tensor& t, std::int64_t i) {
  switch (t.dtype()) {
    case DType::bf16: return to_f32(t.data<bf16>()[i]);
    case DType::f16: return to_f32(t.data<f16>()[i]);
    default: return t.data<float>()[i];
  }
}

const GemmRow& choose_gemm_row(const Context& ctx, std::string_view op, DType precision, std::int64_t k) {
  if (precision != DType::f32 && precision != DType::bf16 && precision != DType::i8)
    fail_expected(op, "a precision of float32, bfloat16 or int8", std::string(name(precision)));
  if (precision == DType::i8 && k > kernels::kGemmMostInt8Depth)
    fail_expected(op, "k of at most " + std::to_string(kernels::kGemmMostInt8Depth) + " for int8", std::to_string(k), "bfloat16 takes any");
  const std::string_view forced = ctx.forced(kOp);
  if (!forced.empty())
    for (const GemmRow& row : kernels::gemm_emulated_rows())
      if (forced == row.info.name && row.functions.weights == precision) return row;
  return choose(ctx, kOp, kernels::gemm_rows(), [&](const GemmRow& row) -> const char* {
    if (row.functions.weights == precision) return nullptr;
    return row.functions.weights == DType::f32    ? "it multiplies f32 weights"
           : row.functions.weights == DType::bf16 ? "it multiplies bf16 weights"
                                                  : "it multiplies int8 weights";
  });
}

namespace {

struct Source {
  const Tensor* weight;
  const Tensor* bias;
  std::int64_t first;  // its first row in the stack
};

// Packs columns [first, first + columns) of the stack into a panel.
void pack_panel(const std::vector<Source>& sources, const GemmFunctions& f, std::int64_t first, std::int64_t columns, std::int64_t k,
                std::byte* panel, std::size_t panel_bytes) {
  std::memset(panel, 0, panel_bytes);
  for (const Source& s : sources) {
    const std::int64_t from = std::max(first, s.first);
    const std::int64_t to = std::min(first + columns, s.first + s.weight->rows());
    if (from >= to) continue;
    const auto* w = static_cast<const std::byte*>(s.weight->raw()) + static_cast<std::size_t>((from - s.first) * k) * size_of(s.weight->dtype());
    f.pack_w(w, s.weight->dtype(), from - first, to - from, k, panel);
  }
}

// `halves`: the stacks whose panels take turns: one, or gate and up.
PreparedLinear prepare(Context& ctx, const std::vector<std::vector<Source>>& halves, std::int64_t n, std::int64_t k, bool bias, DType precision) {
  auto impl = std::make_shared<PreparedLinear::Impl>();
  const GemmRow& row = choose_gemm_row(ctx, kPrepare, precision, k);
  const GemmFunctions& f = row.functions;
  const auto turns = static_cast<std::int64_t>(halves.size());
  impl->row = &row;
  impl->n = n;
  impl->k = k;
  impl->gated = turns == 2;
  impl->panels = ceil_div(n, f.panel_columns) * turns;
  impl->panel_bytes = f.panel_bytes(k);
  const std::shared_ptr<std::byte> memory = allocate_panels(static_cast<std::size_t>(impl->panels) * impl->panel_bytes);
  impl->weights = memory;
  std::byte* const weights = memory.get();
  const std::size_t panel_bytes = impl->panel_bytes;
  ctx.pool().parallel_for(impl->panels, [&](std::int64_t item, int) {
    const std::int64_t first = item / turns * f.panel_columns;
    pack_panel(halves[static_cast<std::size_t>(item % turns)], f, first, std::min(f.panel_columns, n - first), k,
               weights + static_cast<std::size_t>(item) * panel_bytes, panel_bytes);
  });
  if (bias) {
    impl->bias.assign(static_cast<std::size_t>(impl->panels * f.panel_columns), 0.0f);
    for (std::int64_t h = 0; h < turns; ++h)
      for (const Source& s : halves[static_cast<std::size_t>(h)])
        for (std::int64_t i = 0; i < s.bias->numel(); ++i) {
          const std::int64_t column = s.first + i;
          const std::int64_t panel = column / f.panel_columns * turns + h;
          impl->bias[static_cast<std::size_t>(panel * f.panel_columns + column % f.panel_columns)] = weight_element(*s.bias, i);
        }
  }
  return LinearAccess::make(std::move(impl));
}

void check_matrix(const char* what, const Tensor& t, std::int64_t m, std::int64_t n, bool bf16_too = false) {
  const bool right = t.dtype() == DType::f32 || (bf16_too && t.dtype() == DType::bf16);
  if (!right || t.layout() != Layout::row_major || t.rows() != m || t.cols() != n)
    fail_expected(
        kOp, std::string(what) + (bf16_too ? " float32 or bfloat16 [" : " float32 [") + std::to_string(m) + ", " + std::to_string(n) + "] row-major",
        t.str(), "ops::to_layout converts");
}

void check_call(const Context& ctx, const Tensor& x, const PreparedLinear::Impl& w, const Linear& options, const Tensor& y) {
  const std::string_view row = w.row->info.name;
  const auto float_type = [](const Tensor& t) { return t.dtype() == DType::f32 || t.dtype() == DType::bf16; };
  if (!x.defined() || x.shape().rank() == 0 || x.cols() != w.k || !float_type(x) || x.layout() != Layout::row_major)
    fail_expected(kOp, "x [..., " + std::to_string(w.k) + "] float32 or bfloat16, row-major", x.defined() ? x.str() : "an undefined tensor",
                  "ops::to_layout converts");
  if (!y.defined() || y.shape() != x.shape().with(-1, w.n) || !float_type(y) || y.layout() != Layout::row_major)
    fail_expected(kOp, "y " + x.shape().with(-1, w.n).str() + " float32 or bfloat16, row-major", y.defined() ? y.str() : "an undefined tensor",
                  "ops::to_layout converts");
  const std::int64_t m = x.rows();
  if (options.residual.defined()) check_matrix("a residual", options.residual, m, w.n, true);
  if (options.gate.defined() &&
      (options.gate.shape() != Shape{w.n} || options.gate.dtype() != DType::f32 || options.gate.layout() != Layout::row_major))
    check_matrix("a gate, one row or a matrix,", options.gate, m, w.n);
  if (w.gated && options.activation == Activation::none) fail_expected(kOp, "an activation for the gate half of a gated pair", "none");
  const std::string_view forced = ctx.forced(kOp);
  if (!forced.empty() && forced != row)
    fail(kOp, std::string("the forced row '").append(forced).append("' cannot serve weights that were prepared for '").append(row).append("'"));
  if (!ctx.allows(w.row->info.isa))
    fail(kOp, std::string("weights were prepared for the row '")
                  .append(row)
                  .append("', which needs ")
                  .append(device::name(w.row->info.isa))
                  .append(", but this context is capped at ")
                  .append(device::name(ctx.isa())));
}

}  // namespace

kernels::GemmActivation kernel_activation(Activation a) {
  switch (a) {
    case Activation::gelu_tanh: return kernels::GemmActivation::gelu_tanh;
    case Activation::silu: return kernels::GemmActivation::silu;
    case Activation::relu: return kernels::GemmActivation::relu;
    case Activation::relu6: return kernels::GemmActivation::relu6;
    case Activation::hardswish: return kernels::GemmActivation::hardswish;
    case Activation::gelu: return kernels::GemmActivation::gelu;
    case Activation::none: break;
  }
  return kernels::GemmActivation::none;
}

namespace {

// How one product is cut: tiles of rows, blocks of tiles; groups of panels, taken in steps. It decides who computes an element, never how.
struct Plan {
  std::int64_t tiles;
  std::int64_t blocks;
  std::int64_t block_tiles;  // most tiles of a block
  std::int64_t panels;
  std::int64_t group;  // panels of one item
  std::int64_t small;  // panels of one of the last items
  std::int64_t large;  // items of `group` panels; the others are small
  std::int64_t groups;
  std::int64_t step;  // panels of one call of block()

  /// First panel of a group; that of the group behind the last one: all panels.
  std::int64_t first_panel(std::int64_t g) const { return std::min(panels, g <= large ? g * group : large * group + (g - large) * small); }
};

Plan plan_of(const GemmFunctions& f, std::int64_t m, std::int64_t panels, bool gated, int threads) {
  constexpr std::int64_t kItemsPerThread = 4;
  Plan p{};
  p.tiles = ceil_div(m, f.tile_rows);
  p.blocks = ceil_div(p.tiles, std::max<std::int64_t>(1, f.block_rows / f.tile_rows));
  p.block_tiles = ceil_div(p.tiles, p.blocks);
  const std::int64_t pair = gated ? 2 : 1;
  const std::int64_t pairs = panels / pair;
  std::int64_t group = std::max<std::int64_t>(1, f.item_columns / f.panel_columns / pair);
  if (threads > 1) {
    const std::int64_t wanted = ceil_div(kItemsPerThread * threads, p.blocks);
    group = std::clamp<std::int64_t>(pairs / wanted, 1, group);
  }
  p.groups = ceil_div(pairs, group);
  group = ceil_div(pairs, p.groups);  // equal ones
  p.groups = ceil_div(pairs, group);
  // The last items, a quarter of them but no more than two a thread, are cut in four: a thread that a neighbour slows is not waited for as long.
  // Products of several blocks have items enough without.
  p.large = p.groups;
  p.small = group;
  if (threads > 1 && p.blocks == 1 && group >= 4) {
    p.large = p.groups - std::min<std::int64_t>(ceil_div(p.groups, 4), 2 * threads);
    p.small = ceil_div(group, 4);
    p.groups = p.large + ceil_div(pairs - p.large * group, p.small);
  }
  const std::int64_t steps = ceil_div(group, std::max<std::int64_t>(1, f.block_columns / f.panel_columns / pair));
  p.panels = panels;
  p.group = group * pair;
  p.small *= pair;
  p.step = ceil_div(group, steps) * pair;
  return p;
}

// Weights that stay in the caches: more are streamed, which the packed way does ahead of time (51 x 4096 x 1024: 1.5 times as fast on a Zen 3).
constexpr std::size_t kDirectBytes = std::size_t{2} << 20;

// Items are stretches of rows times groups of panels; few rows are cut along the panels.
void run_direct(Context& ctx, const GemmFunctions& f, const kernels::GemmDirect& whole, std::int64_t m, std::int64_t panels) {
  const std::int64_t wanted = ctx.threads() == 1 ? 1 : 4 * ctx.threads();
  const std::int64_t rows = std::clamp<std::int64_t>(m / (4 * f.tile_rows), 1, wanted);
  const std::int64_t columns = std::clamp<std::int64_t>(ceil_div(wanted, rows), 1, panels);
  const std::size_t bytes = (f.direct_scratch(whole.k) + kAlignment - 1) / kAlignment * kAlignment;
  runtime::Workspace::Scope scope(ctx.workspace());
  auto* const scratch = static_cast<std::byte*>(scope.bytes(bytes * static_cast<std::size_t>(ctx.threads())));
  ctx.pool().parallel_for(rows * columns, [&](std::int64_t item, int thread) {
    kernels::GemmDirect part = whole;
    part.row_first = item % rows * m / rows;
    part.row_last = (item % rows + 1) * m / rows;
    part.panel_first = item / rows * panels / columns;
    part.panel_last = (item / rows + 1) * panels / columns;
    part.scratch = scratch + static_cast<std::size_t>(thread) * bytes;
    f.direct(part);
  });
}

}  // namespace

PreparedLinear prepare_linear(Context& ctx, std::span<const LinearPart> parts, DType precision) {
  if (parts.empty()) fail_expected(kPrepare, "one part or more", "none");
  const std::int64_t k = parts[0].weight.defined() ? parts[0].weight.cols() : 0;
  const bool bias = parts[0].bias.defined();
  std::vector<std::vector<Source>> stack(1);
  std::int64_t n = 0;
  for (const LinearPart& part : parts) {
    check_weight(part.weight, k);
    check_bias(part, bias);
    stack[0].push_back({&part.weight, &part.bias, n});
    n += part.weight.rows();
  }
  return prepare(ctx, stack, n, k, bias, precision);
}

PreparedLinear prepare_gated_linear(Context& ctx, const LinearPart& gate, const LinearPart& up, DType precision) {
  const std::int64_t k = gate.weight.defined() ? gate.weight.cols() : 0;
  check_weight(gate.weight, k);
  check_weight(up.weight, k);
  if (gate.weight.shape() != up.weight.shape()) fail_expected(kPrepare, "an up half of " + gate.weight.shape().str(), up.weight.str());
  const bool bias = gate.bias.defined();
  check_bias(gate, bias);
  check_bias(up, bias);
  return prepare(ctx, {{{&gate.weight, &gate.bias, 0}}, {{&up.weight, &up.bias, 0}}}, gate.weight.rows(), k, bias, precision);
}

PackedLinear packed(const PreparedLinear& prepared) {
  if (!prepared.defined()) fail_expected("packed", "prepared weights", "none");
  const PreparedLinear::Impl& w = *LinearAccess::get(prepared);
  return {w.row->info.name, w.n, w.k, w.gated, {w.weights.get(), static_cast<std::size_t>(w.panels) * w.panel_bytes}, w.bias};
}

PreparedLinear from_packed(const Context& ctx, const PackedLinear& p, std::shared_ptr<const void> keep) {
  constexpr std::string_view kFrom = "from_packed";
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const auto row = std::ranges::find(kernels::gemm_rows(), p.row, [](const GemmRow& r) { return std::string_view(r.info.name); });
  if (row == kernels::gemm_rows().end())
    fail_expected(kFrom, "weights packed for a kernel row of this build", "'" + std::string(p.row) + "'", "pack the checkpoint again");
  if (!ctx.allows(row->info.isa))
    fail_expected(kFrom, "weights packed for a row that this machine can run, under the cap on instruction sets",
                  "'" + std::string(p.row) + "', which needs " + std::string(device::name(row->info.isa)),
                  "pack the checkpoint again on this machine");
  const GemmFunctions& f = row->functions;
  if (p.n < 1 || p.k < 1 || p.n > kMost || p.k > kMost)
    fail_expected(kFrom, "n and k of 1 to 2^31", std::to_string(p.n) + " and " + std::to_string(p.k));
  auto impl = std::make_shared<PreparedLinear::Impl>();
  impl->row = &*row;
  impl->n = p.n;
  impl->k = p.k;
  impl->gated = p.gated;
  impl->panels = ceil_div(p.n, f.panel_columns) * (p.gated ? 2 : 1);
  impl->panel_bytes = f.panel_bytes(p.k);
  if (f.weights == DType::i8 && p.k > kernels::kGemmMostInt8Depth)
    fail_expected(kFrom, "k of at most " + std::to_string(kernels::kGemmMostInt8Depth) + " for int8", std::to_string(p.k));
  if (impl->panel_bytes > (std::size_t{1} << 62) / static_cast<std::size_t>(impl->panels))
    fail_expected(kFrom, "weights that fit a memory", "[" + std::to_string(p.n) + ", " + std::to_string(p.k) + "]");
  const std::size_t wanted = static_cast<std::size_t>(impl->panels) * impl->panel_bytes;
  if (p.weights.size() != wanted || reinterpret_cast<std::uintptr_t>(p.weights.data()) % kAlignment != 0)
    fail_expected(kFrom, std::to_string(wanted) + " aligned bytes for the row '" + std::string(p.row) + "'", std::to_string(p.weights.size()),
                  "pack the checkpoint again with this version");
  const std::size_t padded = static_cast<std::size_t>(impl->panels * f.panel_columns);
  if (!p.bias.empty() && p.bias.size() != padded) fail_expected(kFrom, "a bias of " + std::to_string(padded), std::to_string(p.bias.size()));
  impl->weights = std::shared_ptr<const std::byte>(std::move(keep), p.weights.data());
  impl->bias.assign(p.bias.begin(), p.bias.end());
  return LinearAccess::make(std::move(impl));
}

void run_product(Context& ctx, const Tensor& x, const Panels& w, const Linear& options, Tensor& y) {
  const GemmFunctions& f = *w.functions;
  const std::int64_t m = x.rows();
  const std::int64_t k = w.k;
  kernels::GemmEpilogue base{};
  base.panel_columns = f.panel_columns;
  base.gated = w.gated;
  base.activation = kernel_activation(options.activation);
  base.y_bf16 = y.dtype() == DType::bf16;
  base.y_stride = y.row_stride();
  const auto* const residual = options.residual.defined() ? static_cast<const std::byte*>(options.residual.raw()) : nullptr;
  base.residual_bf16 = residual != nullptr && options.residual.dtype() == DType::bf16;
  const std::size_t residual_size = base.residual_bf16 ? sizeof(bf16) : sizeof(float);
  base.residual_stride = residual != nullptr ? options.residual.row_stride() : 0;
  const float* const gate = options.gate.defined() ? options.gate.data<float>() : nullptr;
  base.gate_stride = gate != nullptr && options.gate.shape() != Shape{w.n} ? options.gate.row_stride() : 0;
  auto* const out = static_cast<std::byte*>(y.raw());

  if (f.direct != nullptr && !w.gated && k <= kDirectDepth && static_cast<std::size_t>(w.panels) * w.panel_bytes <= kDirectBytes) {
    kernels::GemmDirect g{};
    g.x = x.raw();
    g.x_dtype = x.dtype();
    g.x_stride = x.row_stride();
    g.w = w.weights;
    g.k = k;
    g.epilogue = base;
    g.epilogue.columns = w.n;
    g.epilogue.bias = w.bias;
    g.epilogue.gate = gate;
    g.epilogue.residual = residual;
    g.epilogue.y = out;
    g.finish = f.epilogue;
    run_direct(ctx, f, g, m, w.panels);
    return;
  }

  const Plan plan = plan_of(f, m, w.panels, w.gated, ctx.threads());
  const std::size_t tile_bytes = f.tile_bytes(k);
  runtime::Workspace::Scope scope(ctx.workspace());
  auto* const a = static_cast<std::byte*>(scope.bytes(static_cast<std::size_t>(plan.tiles) * tile_bytes));
  // Scratch of every thread: the C block, then what the kernel asks for.
  const std::size_t c_bytes =
      static_cast<std::size_t>(plan.step * plan.block_tiles * f.tile_rows * f.panel_columns) * sizeof(float) / kAlignment * kAlignment + kAlignment;
  const std::size_t scratch_bytes = c_bytes + (f.scratch_bytes + kAlignment - 1) / kAlignment * kAlignment;
  auto* const scratch = static_cast<std::byte*>(scope.bytes(scratch_bytes * static_cast<std::size_t>(ctx.threads())));

  const auto* const source = static_cast<const std::byte*>(x.raw());
  const std::int64_t x_stride = x.row_stride();
  const std::size_t x_row_bytes = static_cast<std::size_t>(x_stride) * size_of(x.dtype());
  ctx.pool().parallel_for(plan.tiles, [&](std::int64_t tile, int) {
    const std::int64_t first = kernels::gemm_tile_row(tile, m, plan.tiles);
    const std::int64_t rows = kernels::gemm_tile_row(tile + 1, m, plan.tiles) - first;
    f.pack_a(source + static_cast<std::size_t>(first) * x_row_bytes, x.dtype(), x_stride, rows, k, a + static_cast<std::size_t>(tile) * tile_bytes);
  });
  const std::int64_t panel_of_y = w.gated ? 2 : 1;

  // Blocks inside groups: one group's weights come from memory once and serve all rows.
  ctx.pool().parallel_for(plan.groups * plan.blocks, [&](std::int64_t item, int thread) {
    const std::int64_t group = item / plan.blocks;
    const std::int64_t part = item % plan.blocks;
    std::byte* const mine = scratch + static_cast<std::size_t>(thread) * scratch_bytes;
    kernels::GemmBlock b{};
    b.first_tile = kernels::gemm_tile_row(part, plan.tiles, plan.blocks);
    b.last_tile = kernels::gemm_tile_row(part + 1, plan.tiles, plan.blocks);
    b.a = a + static_cast<std::size_t>(b.first_tile) * tile_bytes;
    b.m = m;
    b.tiles = plan.tiles;
    b.k = k;
    b.c = reinterpret_cast<float*>(mine);
    b.scratch = mine + c_bytes;
    const std::int64_t tile_floats = f.tile_rows * f.panel_columns;
    kernels::GemmEpilogue e = base;
    e.c_panel_stride = (b.last_tile - b.first_tile) * tile_floats;
    const std::int64_t end = plan.first_panel(group + 1);
    for (std::int64_t panel = plan.first_panel(group); panel < end; panel += plan.step) {
      b.w = w.weights + static_cast<std::size_t>(panel) * w.panel_bytes;
      b.panels = std::min(plan.step, end - panel);
      f.block(b);

      const std::int64_t column = panel / panel_of_y * f.panel_columns;
      e.columns = std::min(w.n - column, b.panels / panel_of_y * f.panel_columns);
      e.bias = w.bias == nullptr ? nullptr : w.bias + panel * f.panel_columns;
      for (std::int64_t tile = b.first_tile; tile < b.last_tile; ++tile) {
        const std::int64_t row = kernels::gemm_tile_row(tile, m, plan.tiles);
        e.rows = kernels::gemm_tile_row(tile + 1, m, plan.tiles) - row;
        e.c = b.c + (tile - b.first_tile) * tile_floats;
        e.gate = gate == nullptr ? nullptr : gate + row * e.gate_stride + column;
        e.residual = residual == nullptr ? nullptr : residual + static_cast<std::size_t>(row * e.residual_stride + column) * residual_size;
        e.y = out + static_cast<std::size_t>(row * e.y_stride + column) * size_of(y.dtype());
        f.epilogue(e);
      }
    }
  });
}

void linear(Context& ctx, const Tensor& x, const PreparedLinear& prepared, const Linear& options, Tensor& y) {
  if (!prepared.defined()) fail_expected(kOp, "prepared weights", "none");
  const PreparedLinear::Impl& w = *LinearAccess::get(prepared);
  check_call(ctx, x, w, options, y);
  const std::int64_t m = x.rows();
  if (m == 0) return;
  const GemmFunctions& f = w.row->functions;
  const std::int64_t k = w.k;
  const double outputs = static_cast<double>(m) * static_cast<double>(w.n);
  const double halves = w.gated ? 2 : 1;
  double bytes = static_cast<double>(w.n) * static_cast<double>(k) * halves * static_cast<double>(size_of(f.weights));
  bytes += static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(size_of(x.dtype()));
  bytes += outputs * static_cast<double>(size_of(y.dtype()));
  if (options.residual.defined()) bytes += outputs * static_cast<double>(size_of(options.residual.dtype()));
  runtime::Zone zone(ctx.profiler(), "linear", w.row->info.name, 2 * outputs * static_cast<double>(k) * halves, bytes, f.weights);
  run_product(ctx, x, {&f, w.n, w.k, w.gated, w.panels, w.panel_bytes, w.weights.get(), w.bias.empty() ? nullptr : w.bias.data()}, options, y);
}

Tensor linear(Context& ctx, const Tensor& x, const PreparedLinear& w, const Linear& options, DType dtype) {
  if (!w.defined()) fail_expected(kOp, "prepared weights", "none");
  if (!x.defined() || x.shape().rank() == 0)
    fail_expected(kOp, "x [..., " + std::to_string(w.k()) + "]", x.defined() ? x.str() : "an undefined tensor");
  Tensor y = Tensor::empty(x.shape().with(-1, w.n()), dtype);
  linear(ctx, x, w, options, y);
  return y;
}

}  // namespace tessera::ops

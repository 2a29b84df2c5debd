#include "tessera/ops/matmul.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/linear_impl.h"
#include "tessera/ops/strided_copy.h"

namespace tessera::ops {
namespace {

using kernels::GemmFunctions;

constexpr const char* kOp = "matmul";
constexpr const char* kPrepare = "prepare_matmul";

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::size_t aligned(std::size_t bytes) { return (bytes + kPanelAlignment - 1) / kPanelAlignment * kPanelAlignment; }

/// One product, or a stack of them.
struct Sizes {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Shape batch;  // of y
  Shape y;
};

std::span<const std::int64_t> leading(const Shape& s) { return s.sizes().first(s.rank() < 2 ? 0 : s.rank() - 2); }

Sizes sizes_of(const Shape& a, const Shape& b, const Matmul& options) {
  if (a.rank() == 0 || b.rank() == 0) fail_expected(kOp, "operands of one dimension or more", a.str() + " and " + b.str());
  if ((a.rank() == 1 && options.transpose_a) || (b.rank() == 1 && options.transpose_b))
    fail_expected(kOp, "two dimensions or more to transpose", (options.transpose_a && a.rank() == 1 ? a : b).str());
  Sizes s;
  s.k = a[options.transpose_a ? -2 : -1];
  s.m = a.rank() == 1 ? 1 : a[options.transpose_a ? -1 : -2];
  const std::int64_t inner = b.rank() == 1 ? b[0] : b[options.transpose_b ? -1 : -2];
  s.n = b.rank() == 1 ? 1 : b[options.transpose_b ? -2 : -1];
  if (inner != s.k) fail_expected(kOp, "operands with the same inner size", a.str() + " and " + b.str());
  const auto la = leading(a);
  const auto lb = leading(b);
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  std::size_t rank = std::max(la.size(), lb.size());
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t x = i + la.size() < rank ? 1 : la[i + la.size() - rank];
    const std::int64_t z = i + lb.size() < rank ? 1 : lb[i + lb.size() - rank];
    if (x != z && x != 1 && z != 1) fail_expected(kOp, "leading sizes that broadcast", a.str() + " and " + b.str());
    sizes[i] = x == 1 ? z : x;
  }
  s.batch = Shape(std::span<const std::int64_t>(sizes.data(), rank));
  if (a.rank() > 1) sizes[rank++] = s.m;
  if (b.rank() > 1) sizes[rank++] = s.n;
  s.y = Shape(std::span<const std::int64_t>(sizes.data(), rank));
  return s;
}

/// Which matrix of an operand meets matrix `flat` of the result.
std::int64_t matrix_of(std::int64_t flat, const Shape& batch, std::span<const std::int64_t> own) {
  std::int64_t at = 0;
  std::int64_t step = 1;
  for (std::size_t i = batch.rank(); i-- > 0;) {
    const std::int64_t index = flat % batch.sizes()[i];
    flat /= batch.sizes()[i];
    if (i + own.size() < batch.rank()) break;
    const std::int64_t size = own[i + own.size() - batch.rank()];
    if (size != 1) at += index * step;
    step *= size;
  }
  return at;
}

std::int64_t product_of(std::span<const std::int64_t> sizes) {
  std::int64_t n = 1;
  for (const std::int64_t size : sizes) n *= size;
  return n;
}

bool is_float(const Tensor& t) { return t.defined() && t.is_contiguous() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

void check_bias(const char* op, const Tensor& bias, std::int64_t n, bool f16_too = false) {
  if (!bias.defined()) return;
  const bool typed = bias.dtype() == DType::f32 || bias.dtype() == DType::bf16 || (f16_too && bias.dtype() == DType::f16);
  if (!typed || !bias.is_contiguous() || bias.shape().rank() == 0 || bias.cols() != n || bias.rows() != 1)
    fail_expected(op, "a bias [" + std::to_string(n) + "] of float32 or bfloat16, row-major", bias.str(), "ops::to_layout converts");
}

/// Every matrix of x [count][rows][cols] transposed.
void transpose(Context& ctx, const void* x, std::int64_t count, std::int64_t rows, std::int64_t cols, DType dtype, void* y) {
  StridedCopy copy;
  copy.x = x;
  copy.y = y;
  copy.element = static_cast<std::int64_t>(size_of(dtype));
  copy.add(count, rows * cols, rows * cols);
  copy.add(cols, 1, rows);
  copy.add(rows, cols, 1);
  strided_copy(ctx, copy);
}

/// A matrix to pack: [k, n], or [n, k].
struct Source {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  bool turned = false;  // [n, k]
  std::int64_t n = 0;
  std::int64_t k = 0;
};

/// `count` panels from `first` on, one behind the other. Rows of b are read for all of them at a time: a panel alone is a line of each.
void pack(const GemmFunctions& f, const Source& b, std::int64_t first, std::int64_t count, std::byte* to) {
  constexpr std::int64_t kRows = 32;
  const auto size = static_cast<std::int64_t>(size_of(b.dtype));
  const std::size_t panel_bytes = f.panel_bytes(b.k);
  const auto columns = [&](std::int64_t p) { return std::min(f.panel_columns, b.n - (first + p) * f.panel_columns); };
  if (b.turned) {
    std::memset(to, 0, static_cast<std::size_t>(count) * panel_bytes);
    for (std::int64_t p = 0; p < count; ++p)
      f.pack_w(b.data + (first + p) * f.panel_columns * b.k * size, b.dtype, 0, columns(p), b.k, to + static_cast<std::size_t>(p) * panel_bytes);
    return;
  }
  const std::int64_t step = count == 1 ? ceil_div(b.k, kRows) * kRows : kRows;
  for (std::int64_t k = 0; k < b.k; k += step) {
    std::byte* const at = to + (k == 0 ? 0 : f.panel_bytes(k));
    for (std::int64_t p = 0; p < count; ++p)
      f.pack_rows(b.data + (k * b.n + (first + p) * f.panel_columns) * size, b.dtype, b.n, columns(p), std::min(step, b.k - k),
                  at + static_cast<std::size_t>(p) * panel_bytes);
  }
}

void pack_all(Context& ctx, const GemmFunctions& f, const Source& b, std::byte* to) {
  constexpr std::int64_t kMostPanels = 8;
  const std::size_t panel_bytes = f.panel_bytes(b.k);
  const std::int64_t panels = panels_of(f, b.n);
  const std::int64_t grain = std::clamp<std::int64_t>(panels / (4 * ctx.threads()), 1, kMostPanels);
  ctx.pool().parallel_for(ceil_div(panels, grain), [&](std::int64_t item, int) {
    const std::int64_t first = item * grain;
    pack(f, b, first, std::min(grain, panels - first), to + static_cast<std::size_t>(first) * panel_bytes);
  });
}

/// A bias as the epilogue wants it: f32, padded to whole panels.
const float* widen_bias(const Tensor& bias, const GemmFunctions& f, std::int64_t n, float* to) {
  std::int64_t i = 0;
  for (; i < n; ++i) to[i] = weight_element(bias, i);
  for (; i < panels_of(f, n) * f.panel_columns; ++i) to[i] = 0;
  return to;
}

/// A stack of products of one size.
struct Stack {
  const GemmFunctions* f = nullptr;
  std::int64_t count = 0;
  std::int64_t m = 0;
  const std::byte* a = nullptr;  // [m, k] each
  DType a_dtype = DType::f32;
  Source b;
  const Shape* batch = nullptr;  // null: one product
  std::span<const std::int64_t> a_leading;
  std::span<const std::int64_t> b_leading;
  const float* bias = nullptr;
  kernels::GemmActivation activation = kernels::GemmActivation::none;
  std::byte* y = nullptr;
  bool y_bf16 = false;

  const std::byte* a_of(std::int64_t i) const {
    if (batch == nullptr) return a;
    return a + matrix_of(i, *batch, a_leading) * m * b.k * static_cast<std::int64_t>(size_of(a_dtype));
  }
  Source b_of(std::int64_t i) const {
    Source one = b;
    if (batch != nullptr) one.data += matrix_of(i, *batch, b_leading) * b.n * b.k * static_cast<std::int64_t>(size_of(b.dtype));
    return one;
  }
  std::size_t y_size() const { return y_bf16 ? sizeof(bf16) : sizeof(float); }
  std::byte* y_of(std::int64_t i) const { return y + static_cast<std::size_t>(i * m * b.n) * y_size(); }
};

/// How a stack is dealt to items, and what one thread needs for one of them. It decides who computes an element, never how.
struct Plan {
  std::int64_t panels = 0;
  std::int64_t group = 0;       // panels that are packed at a time
  std::int64_t block_rows = 0;  // rows of one call of block()
  std::int64_t step = 0;        // panels of one call of block()
  bool direct = false;
  std::int64_t items = 1;
  std::int64_t down = 1;      // parts of the rows of a product
  std::int64_t across = 1;    // parts of its panels
  std::int64_t together = 1;  // products of an item, where they are not cut
  std::size_t panel_bytes = 0;
  std::size_t w_bytes = 0;
  std::size_t a_bytes = 0;
  std::size_t c_bytes = 0;
  std::size_t bytes = 0;
};

Plan plan_of(const Stack& s, int threads) {
  constexpr double kItemFlops = 5e5;  // about 10 us on one core
  constexpr std::size_t kPackedBytes = 256 << 10;
  constexpr std::int64_t kFewestPanels = 4;  // of deep ones: a block of A is read once for all of them
  const GemmFunctions& f = *s.f;
  Plan p;
  p.panels = panels_of(f, s.b.n);
  p.panel_bytes = f.panel_bytes(s.b.k);
  p.direct = f.direct != nullptr && s.b.k <= kDirectDepth;
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.b.n) * static_cast<double>(s.b.k);
  const double total = flops * static_cast<double>(s.count);
  const auto wanted = static_cast<std::int64_t>(std::min(total / kItemFlops, threads == 1 ? 1.0 : 4.0 * threads));
  if (wanted <= 1) {
    p.together = s.count;
  } else if (s.count >= wanted) {
    p.together = ceil_div(s.count, wanted);
  } else {
    const std::int64_t parts = ceil_div(wanted, s.count);
    p.across = std::clamp<std::int64_t>(p.panels / 4, 1, parts);
    p.down = std::clamp<std::int64_t>(s.m / (4 * f.tile_rows), 1, ceil_div(parts, p.across));
  }
  p.items = ceil_div(s.count, p.together) * p.down * p.across;
  const std::int64_t most = ceil_div(p.panels, p.across);
  p.group = std::min(most, std::max<std::int64_t>(static_cast<std::int64_t>(kPackedBytes / p.panel_bytes), kFewestPanels));
  p.w_bytes = static_cast<std::size_t>(p.group) * p.panel_bytes;
  if (p.direct) {
    p.a_bytes = aligned(f.direct_scratch(s.b.k));
  } else {
    p.block_rows = std::min(ceil_div(s.m, f.tile_rows), std::max<std::int64_t>(1, f.block_rows / f.tile_rows)) * f.tile_rows;
    p.step = std::min(p.group, std::max<std::int64_t>(1, f.block_columns / f.panel_columns));
    p.a_bytes = static_cast<std::size_t>(p.block_rows / f.tile_rows) * f.tile_bytes(s.b.k);
    p.c_bytes = aligned(static_cast<std::size_t>(p.block_rows * p.step * f.panel_columns) * sizeof(float));
  }
  p.bytes = p.w_bytes + p.a_bytes + p.c_bytes + (p.direct ? 0 : aligned(f.scratch_bytes));
  return p;
}

/// What one thread has for an item: panels, then a packed block of A (or what direct() asks for), sums, what block() asks for.
struct Memory {
  std::byte* w;
  std::byte* a;
  float* c;
  std::byte* scratch;

  Memory(const Plan& p, std::byte* from)
      : w(from), a(w + p.w_bytes), c(reinterpret_cast<float*>(a + p.a_bytes)), scratch(a + p.a_bytes + p.c_bytes) {}
};

kernels::GemmEpilogue epilogue_of(const Stack& s) {
  kernels::GemmEpilogue e{};
  e.panel_columns = s.f->panel_columns;
  e.activation = s.activation;
  e.y_bf16 = s.y_bf16;
  e.y_stride = s.b.n;
  return e;
}

/// Rows [row, row_end) of a product times `panels` packed panels, into y from column `first` on: x read where it lies.
void multiply_direct(const Stack& s, const std::byte* a, std::int64_t row, std::int64_t row_end, std::int64_t first, std::int64_t panels,
                     std::byte* y, const Memory& memory) {
  kernels::GemmDirect g{};
  g.x = a;
  g.x_dtype = s.a_dtype;
  g.x_stride = s.b.k;
  g.row_first = row;
  g.row_last = row_end;
  g.w = memory.w;
  g.panel_last = panels;
  g.k = s.b.k;
  g.epilogue = epilogue_of(s);
  g.epilogue.columns = std::min(s.b.n - first, panels * s.f->panel_columns);
  g.epilogue.bias = s.bias == nullptr ? nullptr : s.bias + first;
  g.epilogue.y = y + static_cast<std::size_t>(first) * s.y_size();
  g.finish = s.f->epilogue;
  g.scratch = memory.a;
  s.f->direct(g);
}

void pack_rows(const Stack& s, const std::byte* a, std::int64_t row, std::int64_t m, const Memory& memory) {
  const std::int64_t tiles = ceil_div(m, s.f->tile_rows);
  const std::size_t tile_bytes = s.f->tile_bytes(s.b.k);
  const auto row_bytes = s.b.k * static_cast<std::int64_t>(size_of(s.a_dtype));
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t from = kernels::gemm_tile_row(t, m, tiles);
    s.f->pack_a(a + (row + from) * row_bytes, s.a_dtype, s.b.k, kernels::gemm_tile_row(t + 1, m, tiles) - from, s.b.k,
                memory.a + static_cast<std::size_t>(t) * tile_bytes);
  }
}

/// The same of a block of m rows from `row` on that is packed.
void multiply_packed(const Stack& s, const Plan& p, std::int64_t row, std::int64_t m, std::int64_t first, std::int64_t panels, std::byte* y,
                     const Memory& memory) {
  const GemmFunctions& f = *s.f;
  const std::int64_t tile_floats = f.tile_rows * f.panel_columns;
  kernels::GemmBlock b{};
  b.a = memory.a;
  b.m = m;
  b.tiles = ceil_div(m, f.tile_rows);
  b.last_tile = b.tiles;
  b.k = s.b.k;
  b.c = memory.c;
  b.scratch = memory.scratch;
  kernels::GemmEpilogue e = epilogue_of(s);
  e.c_panel_stride = b.tiles * tile_floats;
  for (std::int64_t panel = 0; panel < panels; panel += p.step) {
    b.w = memory.w + static_cast<std::size_t>(panel) * p.panel_bytes;
    b.panels = std::min(p.step, panels - panel);
    f.block(b);
    const std::int64_t column = first + panel * f.panel_columns;
    e.columns = std::min(s.b.n - column, b.panels * f.panel_columns);
    e.bias = s.bias == nullptr ? nullptr : s.bias + column;
    for (std::int64_t t = 0; t < b.tiles; ++t) {
      const std::int64_t from = kernels::gemm_tile_row(t, m, b.tiles);
      e.rows = kernels::gemm_tile_row(t + 1, m, b.tiles) - from;
      e.c = b.c + t * tile_floats;
      e.y = y + static_cast<std::size_t>((row + from) * s.b.n + column) * s.y_size();
      f.epilogue(e);
    }
  }
}

/// Rows [row_first, row_last) and panels [panel_first, panel_last) of product i.
void multiply(const Stack& s, const Plan& p, std::int64_t i, std::int64_t row_first, std::int64_t row_last, std::int64_t panel_first,
              std::int64_t panel_last, const Memory& memory) {
  const Source b = s.b_of(i);
  const std::byte* const a = s.a_of(i);
  std::byte* const y = s.y_of(i);
  const auto group_at = [&](std::int64_t panel) { return std::min(p.group, panel_last - panel); };
  if (p.direct) {
    for (std::int64_t panel = panel_first; panel < panel_last; panel += p.group) {
      pack(*s.f, b, panel, group_at(panel), memory.w);
      multiply_direct(s, a, row_first, row_last, panel * s.f->panel_columns, group_at(panel), y, memory);
    }
    return;
  }
  // Where all panels fit, they are packed once for all blocks of rows.
  const bool together = panel_last - panel_first <= p.group;
  if (together) pack(*s.f, b, panel_first, panel_last - panel_first, memory.w);
  for (std::int64_t row = row_first; row < row_last; row += p.block_rows) {
    const std::int64_t m = std::min(p.block_rows, row_last - row);
    pack_rows(s, a, row, m, memory);
    for (std::int64_t panel = panel_first; panel < panel_last; panel += p.group) {
      if (!together) pack(*s.f, b, panel, group_at(panel), memory.w);
      multiply_packed(s, p, row, m, panel * s.f->panel_columns, group_at(panel), y, memory);
    }
  }
}

/// Whoever multiplies by panels packs them, a group at a time, and finds them in its own cache.
void run_stack(Context& ctx, const Stack& s) {
  const Plan p = plan_of(s, ctx.threads());
  runtime::Workspace::Scope scope(ctx.workspace());
  auto* const memory = static_cast<std::byte*>(scope.bytes(p.bytes * static_cast<std::size_t>(p.items == 1 ? 1 : ctx.threads())));
  const std::int64_t cuts = p.down * p.across;
  ctx.pool().parallel_for(p.items, [&](std::int64_t item, int thread) {
    const Memory mine(p, memory + p.bytes * static_cast<std::size_t>(thread));
    const std::int64_t down = item % cuts / p.across;
    const std::int64_t across = item % p.across;
    const std::int64_t last = std::min(s.count, (item / cuts + 1) * p.together);
    for (std::int64_t i = item / cuts * p.together; i < last; ++i)
      multiply(s, p, i, down * s.m / p.down, (down + 1) * s.m / p.down, across * p.panels / p.across, (across + 1) * p.panels / p.across, mine);
  });
}

/// Is it worth a pass of its own to pack b for all threads? Where many rows share it, and packing it anew for every part of them would show.
bool packs_first(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr double kFlops = 2e7;
  const double panel = static_cast<double>(n) * static_cast<double>(k);
  return m > 192 && panel > 65536 && 2 * static_cast<double>(m) * panel > kFlops;
}

}  // namespace

Shape matmul_shape(const Shape& a, const Shape& b, const Matmul& options) { return sizes_of(a, b, options).y; }

void matmul(Context& ctx, const Tensor& a, const Tensor& b, const Matmul& options, Tensor& y) {
  constexpr std::string_view kHint = "ops::contiguous, ops::to_layout and ops::typecast convert";
  if (!is_float(a)) fail_expected(kOp, "a as contiguous row-major float32 or bfloat16", a.str(), kHint);
  if (!is_float(b)) fail_expected(kOp, "b as contiguous row-major float32 or bfloat16", b.str(), kHint);
  const Sizes size = sizes_of(a.shape(), b.shape(), options);
  if (!is_float(y) || y.shape() != size.y) fail_expected(kOp, "y as contiguous row-major float32 or bfloat16 " + size.y.str(), y.str(), kHint);
  check_bias(kOp, options.bias, size.n);
  if (overlap(a, y) || overlap(b, y) || (options.bias.defined() && overlap(options.bias, y)))
    fail_expected(kOp, "a y in memory of its own", "one that overlaps an operand");
  const DType precision = a.dtype() == DType::bf16 && b.dtype() == DType::bf16 ? DType::bf16 : DType::f32;
  const auto& row = choose_gemm_row(ctx, kOp, precision, size.k);
  const GemmFunctions& f = row.functions;
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, 2.0 * static_cast<double>(y.numel()) * static_cast<double>(size.k),
                     static_cast<double>(a.bytes() + b.bytes() + y.bytes()), precision);
  if (y.numel() == 0) return;

  runtime::Workspace::Scope scope(ctx.workspace());
  Stack s;
  s.f = &f;
  s.count = size.batch.numel();
  s.m = size.m;
  s.a = static_cast<const std::byte*>(a.raw());
  s.a_dtype = a.dtype();
  s.a_leading = leading(a.shape());
  s.b = {static_cast<const std::byte*>(b.raw()), b.dtype(), options.transpose_b, size.n, size.k};
  s.b_leading = leading(b.shape());
  s.batch = &size.batch;
  s.activation = kernel_activation(options.activation);
  s.y = static_cast<std::byte*>(y.raw());
  s.y_bf16 = y.dtype() == DType::bf16;
  if (size.k == 0) {
    // A sum of nothing: that of one product of zeros.
    const std::int64_t rows = y.numel() / size.n;
    auto* const zeros = scope.array<float>(rows + size.n);
    std::memset(zeros, 0, static_cast<std::size_t>(rows + size.n) * sizeof(float));
    s.a = reinterpret_cast<const std::byte*>(zeros);
    s.b.data = reinterpret_cast<const std::byte*>(zeros + rows);
    s.a_dtype = s.b.dtype = DType::f32;
    s.b.k = 1;
    s.m = rows;
    s.count = 1;
    s.batch = nullptr;
  } else if (options.transpose_a && size.m > 1 && size.k > 1) {
    const std::int64_t matrices = product_of(s.a_leading);
    void* const turned = scope.bytes(static_cast<std::size_t>(a.numel()) * size_of(a.dtype()));
    transpose(ctx, a.raw(), matrices, size.k, size.m, a.dtype(), turned);
    s.a = static_cast<const std::byte*>(turned);
  }
  if (s.batch != nullptr && product_of(s.b_leading) == 1) {  // one b: the matrices of a are one tall one
    s.m *= s.count;
    s.count = 1;
    s.batch = nullptr;
  }
  if (options.bias.defined()) s.bias = widen_bias(options.bias, f, size.n, scope.array<float>(panels_of(f, size.n) * f.panel_columns));
  if (!packs_first(s.m, s.b.n, s.b.k)) return run_stack(ctx, s);

  Panels w{&f, s.b.n, s.b.k, false, panels_of(f, s.b.n), f.panel_bytes(s.b.k), nullptr, s.bias};
  auto* const packed = static_cast<std::byte*>(scope.bytes(static_cast<std::size_t>(w.panels) * w.panel_bytes));
  w.weights = packed;
  const std::byte* before = nullptr;
  for (std::int64_t i = 0; i < s.count; ++i) {
    const Source one = s.b_of(i);
    if (one.data != before) pack_all(ctx, f, one, packed);
    before = one.data;
    const Tensor left = Tensor::borrow(const_cast<std::byte*>(s.a_of(i)), {s.m, s.b.k}, s.a_dtype);
    Tensor out = Tensor::borrow(s.y_of(i), {s.m, s.b.n}, y.dtype());
    run_product(ctx, left, w, {.activation = options.activation, .residual = {}, .gate = {}}, out);
  }
}

PreparedLinear prepare_matmul(Context& ctx, const Tensor& b, bool transpose_b, const Tensor& bias, DType precision) {
  const bool typed = b.defined() && (b.dtype() == DType::f32 || b.dtype() == DType::bf16 || b.dtype() == DType::f16);
  if (!typed || !b.is_contiguous() || b.shape().rank() < 2 || b.numel() == 0 || product_of(leading(b.shape())) != 1)
    fail_expected(kPrepare, "b as contiguous row-major float32, bfloat16 or float16 [k, n], k and n of 1 or more", b.str(),
                  "ops::to_layout converts");
  Source source{static_cast<const std::byte*>(b.raw()), b.dtype(), transpose_b, b.shape()[transpose_b ? -2 : -1], b.shape()[transpose_b ? -1 : -2]};
  check_bias(kPrepare, bias, source.n, true);
  const auto& row = choose_gemm_row(ctx, kPrepare, precision, source.k);
  const GemmFunctions& f = row.functions;
  runtime::Workspace::Scope scope(ctx.workspace());
  if (!source.turned && f.pack_rows == nullptr) {
    auto* const turned = static_cast<std::byte*>(scope.bytes(static_cast<std::size_t>(b.numel()) * size_of(b.dtype())));
    transpose(ctx, source.data, 1, source.k, source.n, b.dtype(), turned);
    source.data = turned;
    source.turned = true;
  }
  auto impl = std::make_shared<PreparedLinear::Impl>();
  impl->row = &row;
  impl->n = source.n;
  impl->k = source.k;
  impl->panels = panels_of(f, source.n);
  impl->panel_bytes = f.panel_bytes(source.k);
  const std::shared_ptr<std::byte> memory = allocate_panels(static_cast<std::size_t>(impl->panels) * impl->panel_bytes);
  pack_all(ctx, f, source, memory.get());
  impl->weights = memory;
  if (bias.defined()) {
    impl->bias.resize(static_cast<std::size_t>(impl->panels * f.panel_columns));
    widen_bias(bias, f, source.n, impl->bias.data());
  }
  return LinearAccess::make(std::move(impl));
}

}  // namespace tessera::ops

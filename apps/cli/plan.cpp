// tessera plan: how an adaptive pool can be computed exactly, for this library and for owners of accelerators with only uniform pools.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/terminal.h"
#include "tessera/io/json.h"
#include "tessera/ops/adaptive_plan.h"

namespace tessera::cli {
namespace {

using ops::AdaptivePlan;
using ops::AdaptivePlans;
using ops::PoolStrategy;
using ops::PoolWindow;
using ops::UniformAxis;

constexpr std::int64_t kMostDrawn = 96;   // input positions of an axis that fit a line
constexpr std::size_t kMostWindows = 40;  // lines of a drawing

std::array<std::int64_t, 2> size_of(const char* option, const std::string& text) {
  std::array<std::int64_t, 2> size{};
  const std::size_t cross = text.find('x');
  const auto number = [](const std::string& word, std::int64_t& value) {
    const char* end = word.data() + word.size();
    const auto [at, error] = std::from_chars(word.data(), end, value);
    return error == std::errc() && at == end && !word.empty();
  };
  const bool one = cross == std::string::npos && number(text, size[0]);
  if (one) size[1] = size[0];
  if (!one && (cross == std::string::npos || !number(text.substr(0, cross), size[0]) || !number(text.substr(cross + 1), size[1])))
    throw UsageError(fmt::format("{}: expected HEIGHTxWIDTH, such as 64x64, got '{}'", option, text));
  return size;
}

io::Json axis_json(const UniformAxis& a) {
  io::Json::Array gaps;
  for (const std::int32_t g : a.gaps) gaps.emplace_back(static_cast<std::int64_t>(g));
  io::Json json;
  json.set("kernel", a.kernel).set("stride", a.stride).set("gaps_before_input", std::move(gaps));
  return json;
}

io::Json windows_json(const std::vector<PoolWindow>& windows) {
  io::Json::Array all;
  for (const PoolWindow& w : windows)
    all.emplace_back(io::Json::Array{static_cast<std::int64_t>(w.first), static_cast<std::int64_t>(w.first) + w.count});
  return all;
}

io::Json plans_json(const std::string& op, const AdaptivePlans& p) {
  io::Json json;
  json.set("op", op).set("input", io::Json::Array{p.in_h, p.in_w}).set("output", io::Json::Array{p.out_h, p.out_w});
  json.set("windows_h", windows_json(p.h)).set("windows_w", windows_json(p.w));
  json.set("kernel_variance", io::Json::Array{p.kernel_variance_h, p.kernel_variance_w});
  json.set("stride_variance", io::Json::Array{p.stride_variance_h, p.stride_variance_w});
  json.set("coverage_gained_percent", p.coverage_gained);
  io::Json::Array exact;
  for (const AdaptivePlan& plan : p.exact) {
    io::Json one;
    one.set("strategy", ops::name(plan.strategy)).set("cost", plan.cost);
    if (plan.strategy != PoolStrategy::direct) {
      one.set("height", axis_json(plan.h)).set("width", axis_json(plan.w));
      one.set("padding", io::Json::Array{plan.padding[0], plan.padding[1], plan.padding[2], plan.padding[3]});
      one.set("dilation", io::Json::Array{plan.dilation[0], plan.dilation[1]});
    }
    if (plan.memory_overhead > 0) one.set("memory_overhead_percent", plan.memory_overhead);
    exact.push_back(std::move(one));
  }
  json.set("exact", std::move(exact));
  io::Json::Array rejected;
  for (const ops::RejectedStrategy& r : p.rejected) {
    io::Json one;
    one.set("strategy", ops::name(r.strategy)).set("exact", r.exact).set("reason", r.reason);
    rejected.push_back(std::move(one));
  }
  json.set("not_chosen", std::move(rejected));
  return json;
}

std::string gaps_text(const UniformAxis& h, const UniformAxis& w) {
  const auto one = [](const char* name, const UniformAxis& a) {
    if (a.gaps.empty()) return std::string();
    std::string text = fmt::format("{} before", name);
    for (std::size_t i = 0; i < a.gaps.size() && i < 8; ++i) text += fmt::format(" {}", a.gaps[i]);
    return a.gaps.size() > 8 ? text + fmt::format(" … ({})", a.gaps.size()) : text;
  };
  const std::string rows = one("rows", h), columns = one("columns", w);
  return rows + (rows.empty() || columns.empty() ? "" : "; ") + columns;
}

/// One line per window: its inputs as bars, what it shares with its neighbours as double bars.
void draw(const char* axis, const std::vector<PoolWindow>& windows, std::int64_t in) {
  fmt::print("\n{}: {} -> {}\n", axis, in, windows.size());
  if (in > kMostDrawn || windows.size() > kMostWindows) {
    fmt::print("  (drawn up to {} inputs and {} windows; --json lists them)\n", kMostDrawn, kMostWindows);
    return;
  }
  for (std::size_t i = 0; i < windows.size(); ++i) {
    std::string line(static_cast<std::size_t>(in), '.');
    for (std::int32_t k = 0; k < windows[i].count; ++k) {
      const std::int32_t x = windows[i].first + k;
      const auto holds = [&](std::size_t j) { return x >= windows[j].first && x < windows[j].first + windows[j].count; };
      const bool shared = (i > 0 && holds(i - 1)) || (i + 1 < windows.size() && holds(i + 1));
      line[static_cast<std::size_t>(x)] = shared ? '+' : '#';
    }
    fmt::print("  {:>3}  {}  {} .. {} ({})\n", i, line, windows[i].first, windows[i].first + windows[i].count - 1, windows[i].count);
  }
}

struct Plan {
  std::string op, input, output;
  bool json = false;

  int run() const {
    const auto in = size_of("--input", input), out = size_of("--output", output);
    const AdaptivePlans p = ops::plan_adaptive_pool(in[0], in[1], out[0], out[1]);
    if (json) {
      fmt::print("{}\n", plans_json(op, p).dump());
      return 0;
    }
    fmt::print("{} {}x{} -> {}x{}\n\n", op, p.in_h, p.in_w, p.out_h, p.out_w);
    Table table({{"exact plan", Align::left},
                 {"kernel", Align::left},
                 {"stride", Align::left},
                 {"padding t,b,l,r", Align::left},
                 {"dilation", Align::left},
                 {"gaps", Align::left},
                 {"memory", Align::right},
                 {"cost", Align::right}});
    for (const AdaptivePlan& plan : p.exact) {
      const std::string memory = plan.memory_overhead > 0 ? fmt::format("+{:.1f} %", plan.memory_overhead) : "";
      const std::string cost = fmt::format("{:.2f}", plan.cost / p.best().cost);
      if (plan.strategy == PoolStrategy::direct)
        table.add({"DIRECT", "variable", "variable", "", "", "", memory, cost});
      else
        table.add({std::string(ops::name(plan.strategy)), fmt::format("{}x{}", plan.h.kernel, plan.w.kernel),
                   fmt::format("{}x{}", plan.h.stride, plan.w.stride),
                   fmt::format("{},{},{},{}", plan.padding[0], plan.padding[1], plan.padding[2], plan.padding[3]),
                   fmt::format("{}x{}", plan.dilation[0], plan.dilation[1]), gaps_text(plan.h, plan.w), memory, cost});
    }
    fmt::print("{}", table.str());
    if (op == "adaptive_avg_pool2d") fmt::print("padding and gaps do not count: an average divides by the inputs that its window really holds\n");
    fmt::print("\nnot chosen:\n");
    for (const ops::RejectedStrategy& r : p.rejected) fmt::print("  {:<18} {}\n", ops::name(r.strategy), r.reason);
    fmt::print("\nvariance of kernels {:.3g} (height), {:.3g} (width); of strides {:.3g}, {:.3g}\n", p.kernel_variance_h, p.kernel_variance_w,
               p.stride_variance_h, p.stride_variance_w);
    fmt::print("outputs that the plain uniform pool (kernel ceil(in / out), stride floor(in / out)) gets wrong: {:.1f} %\n", p.coverage_gained);
    draw("height", p.h, p.in_h);
    draw("width", p.w, p.in_w);
    return 0;
  }
};

}  // namespace

void add_plan(CLI::App& app, Command& chosen) {
  auto plan = std::make_shared<Plan>();
  CLI::App* command = app.add_subcommand("plan", "Explains every exact way to compute an adaptive pool with uniform windows");
  command->add_option("op", plan->op, "adaptive_avg_pool2d or adaptive_max_pool2d")
      ->required()
      ->check(CLI::IsMember({"adaptive_avg_pool2d", "adaptive_max_pool2d"}));
  command->add_option("--input", plan->input, "Input size, HEIGHTxWIDTH")->required();
  command->add_option("--output", plan->output, "Output size, HEIGHTxWIDTH")->required();
  command->add_flag("--json", plan->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  tessera plan adaptive_max_pool2d --input 64x64 --output 5x22\n"
      "  tessera plan adaptive_avg_pool2d --input 17x17 --output 4x3 --json\n"
      "\nIn the drawing '#' is an input of the window, '+' one that it shares with a neighbour.");
  command->callback([plan, &chosen] { chosen = [plan] { return plan->run(); }; });
}

}  // namespace tessera::cli

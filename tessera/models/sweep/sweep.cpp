#include "tessera/models/sweep/sweep.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "tessera/core/error.h"
#include "tessera/device/cpu.h"
#include "tessera/models/sweep/problem.h"
#include "tessera/models/sweep/reference.h"
#include "tessera/models/sweep/runner.h"

namespace tessera::models {
namespace {

constexpr std::array<SweepOp, 5> kAll = {SweepOp::adaptive_avg_pool2d, SweepOp::adaptive_max_pool2d, SweepOp::max_pool2d, SweepOp::avg_pool2d,
                                         SweepOp::depthwise_conv2d};
constexpr std::size_t kFailuresKept = 10;  // of each op

/// Inputs that all windows together read.
std::int64_t reads(const SweepProblem& p) {
  const ops::ImageSize y = expected_size(p);
  if (p.adaptive()) return std::max(p.x.h, p.output[0]) * std::max(p.x.w, p.output[1]) * p.x.n * p.x.c;
  return y.n * y.h * y.w * y.c * p.kernel[0] * p.kernel[1];
}

std::vector<SweepProblem> problems_of(SweepOp op, const SweepOptions& o) {
  std::vector<SweepProblem> all;
  if (o.suite == SweepSuite::brief) {
    all = brief_problems(op, o.seed);
    if (o.only >= 0) std::erase_if(all, [&](const SweepProblem& p) { return p.index != o.only; });
  } else {
    const std::int64_t first = o.only < 0 ? 0 : o.only;
    const std::int64_t last = o.only < 0 ? o.sizes : o.only + 1;
    all.reserve(static_cast<std::size_t>(last - first));
    for (std::int64_t i = first; i < last; ++i) all.push_back(generated_problem(op, o.seed, i));
  }
  if (o.largest > 0) std::erase_if(all, [&](const SweepProblem& p) { return reads(p) > o.largest; });
  return all;
}

/// A result even where the run itself could not be set up.
SweepResult run_guarded(SweepRunner& runner, const SweepProblem& p) noexcept {
  SweepResult result;
  try {
    return runner.run(p);
  } catch (const std::exception& e) {
    result.rows.resize(1);
    result.rows[0].op = p.op;
    result.rows[0].size = p.index;
    result.rows[0].pass = false;
    result.rows[0].error = e.what();
  }
  return result;
}

void count(const SweepResult& result, SweepSummary& summary, SweepReport& report, std::size_t& kept) {
  ++summary.sizes;
  for (const SweepRow& row : result.rows) {
    ++summary.cases;
    summary.runs += row.runs;
    double& worst = row.dtype == "bf16" ? summary.worst_bf16 : summary.worst_f32;
    worst = std::max(worst, row.of_limit);
    if (row.pass) continue;
    ++summary.failures;
    report.pass = false;
    if (kept < kFailuresKept) report.failures.push_back(row);
    ++kept;
  }
  for (const std::string& kind : result.kinds) {
    const auto found = std::ranges::find(summary.kinds, kind, &std::pair<std::string, std::int64_t>::first);
    if (found == summary.kinds.end())
      summary.kinds.emplace_back(kind, 1);
    else
      ++found->second;
  }
}

}  // namespace

std::string_view name(SweepOp op) noexcept {
  switch (op) {
    case SweepOp::adaptive_avg_pool2d: return "adaptive_avg_pool2d";
    case SweepOp::adaptive_max_pool2d: return "adaptive_max_pool2d";
    case SweepOp::max_pool2d: return "max_pool2d";
    case SweepOp::avg_pool2d: return "avg_pool2d";
    case SweepOp::depthwise_conv2d: break;
  }
  return "depthwise_conv2d";
}

std::span<const SweepOp> all_sweep_ops() noexcept { return kAll; }

SweepReport sweep(Context& ctx, const SweepOptions& options, const std::function<void(const SweepRow&)>& sink, const Progress& progress) {
  if (options.sizes < 1) fail_expected("sweep", "1 size or more", std::to_string(options.sizes));
  std::vector<std::unique_ptr<SweepRunner>> runners;
  for (int i = 0; i < ctx.threads(); ++i) runners.push_back(std::make_unique<SweepRunner>(device::name(ctx.isa()), options.suite, options.limits));
  SweepReport report;
  std::int64_t cases = 0, runs = 0, failures = 0, sizes = 0;
  for (std::size_t which = 0; which < options.ops.size(); ++which) {
    const SweepOp op = options.ops[which];
    const std::vector<SweepProblem> problems = problems_of(op, options);
    SweepSummary summary;
    summary.op = op;
    std::size_t kept = 0;
    const std::size_t batch = static_cast<std::size_t>(ctx.threads()) * (options.suite == SweepSuite::brief ? 4 : 64);
    std::vector<SweepResult> results;
    for (std::size_t first = 0; first < problems.size(); first += batch) {
      results.assign(std::min(batch, problems.size() - first), {});
      ctx.pool().parallel_for(static_cast<std::int64_t>(results.size()), [&](std::int64_t item, int thread) {
        const auto i = static_cast<std::size_t>(item);
        results[i] = run_guarded(*runners[static_cast<std::size_t>(thread)], problems[first + i]);
      });
      for (const SweepResult& result : results) {
        count(result, summary, report, kept);
        if (!sink) continue;
        for (const SweepRow& row : result.rows) sink(row);
      }
      const double share = static_cast<double>(first + results.size()) / static_cast<double>(problems.size());
      if (progress)
        progress(fmt::format("{} {} of {} sizes, {} failed", name(op), first + results.size(), problems.size(), summary.failures),
                 (static_cast<double>(which) + share) / static_cast<double>(options.ops.size()));
    }
    std::ranges::stable_sort(summary.kinds, std::greater<>(), &std::pair<std::string, std::int64_t>::second);
    sizes += summary.sizes, cases += summary.cases, runs += summary.runs, failures += summary.failures;
    report.ops.push_back(std::move(summary));
  }
  if (cases == 0) fail_expected("sweep", "a size in the suite", "none");
  report.summary = fmt::format("{} sizes, {} cases, {} runs, {} failures", sizes, cases, runs, failures);
  return report;
}

}  // namespace tessera::models

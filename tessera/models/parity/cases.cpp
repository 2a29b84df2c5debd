#include "tessera/models/parity/cases.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/safetensors.h"
#include "tessera/models/parity/case_runner.h"
#include "tessera/models/parity/compare.h"
#include "tessera/ops/kernel_table.h"

namespace tessera::models {
namespace {

constexpr double kEps = 0x1p-23;

/// Which families of kernels an op of this name may run.
std::vector<std::string> kernel_families(const std::string& family) {
  if (family.ends_with("_pool2d")) return {"pool"};
  if (family == "conv2d") return {"depthwise", "linear"};
  if (family == "linear") return {"linear"};
  if (family == "layer_norm" || family == "rms_norm") return {"norm"};
  if (family == "softmax") return {"softmax"};
  if (family == "activations") return {"elementwise"};
  if (family == "scaled_dot_product_attention") return {"attention"};
  return {};
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> all(static_cast<std::size_t>(t.numel()));
  for (std::size_t i = 0; i < all.size(); ++i) {
    switch (t.dtype()) {
      case DType::f32: all[i] = static_cast<double>(t.data<float>()[i]); break;
      case DType::bf16: all[i] = static_cast<double>(to_f32(t.data<bf16>()[i])); break;
      case DType::u8: all[i] = t.data<std::uint8_t>()[i]; break;
      default: all[i] = t.data<std::int32_t>()[i]; break;
    }
  }
  return all;
}

/// Distance of two neighbours of `v` in a dtype with so many bits behind the point.
double step(double v, int bits) {
  if (!std::isfinite(v) || v == 0) return std::numeric_limits<double>::denorm_min();
  return std::ldexp(1.0, std::ilogb(v) - bits);
}

bool same(double a, double b, bool bits) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && (!bits || std::signbit(a) == std::signbit(b));
}

/// What one run gave, against what it should have given.
void judge(const Tensor& got, std::vector<double> want, const CaseRun& run, double fair, const std::string& variant, CaseRow& row) {
  const std::vector<double> have = values(got);
  ++row.runs;
  if (have.size() != want.size()) {
    row.pass = false;
    row.error = fmt::format("{}: {} values for {}", variant, have.size(), want.size());
    return;
  }
  for (std::size_t i = 0; i < want.size() && i < run.limits.size(); ++i)
    if (!std::isfinite(want[i]) && same(have[i], run.limits[i], false)) want[i] = run.limits[i];
  Comparison comparison;
  comparison.add(have, want);
  row.pcc = std::min(row.pcc, want.empty() ? 1.0 : comparison.pcc());
  double largest = 0;
  for (const double v : want)
    if (std::isfinite(v) && std::fabs(v) < 1e30) largest = std::max(largest, std::fabs(v));
  const int bits = got.dtype() == DType::bf16 ? 7 : 23;
  const double base = run.exact ? 0 : 2 * fair + 16 * kEps * largest;
  bool pass = true;
  double worst = 0, ulp = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (same(have[i], want[i], run.exact)) continue;
    const double difference = std::fabs(have[i] - want[i]);
    const double limit = base + (got.dtype() == DType::bf16 && !run.exact ? step(std::max(std::fabs(have[i]), std::fabs(want[i])), 7) : 0);
    pass = pass && difference <= limit;  // false for NaN
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
    ulp = std::max(ulp, difference / step(want[i] == 0 ? largest : want[i], bits));
  }
  if (row.runs == 1 || worst > row.max_abs || (!pass && row.pass)) {
    row.max_abs = worst;
    row.limit = base + (got.dtype() == DType::bf16 && !run.exact ? step(largest, 7) : 0);
    row.ulp = ulp;
    row.variant = variant;
  }
  row.pass = row.pass && pass;
}

/// All runs of one case under one forced combination of rows; false when a forced row cannot serve it.
bool run_case(Context& ctx, const OpCase& c, const std::string& rows, CaseRow& row) {
  const double fair = c.json->has("f32_vs_f64_max_abs") ? c.json->at("f32_vs_f64_max_abs").number() : 0;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const ops::ImageOrder order : {ops::ImageOrder::nhwc, ops::ImageOrder::nchw}) {
      if (order == ops::ImageOrder::nchw && !has_orders(c.family)) continue;
      if (dtype == DType::bf16 && !c.json->at("outputs").has("y_bf16")) continue;
      std::vector<CaseRun> runs;
      try {
        runs = run_op(ctx, c, dtype, order);
      } catch (const Error& e) {
        if (!rows.empty() && std::string_view(e.what()).find("cannot serve this call") != std::string_view::npos) return false;
        row.pass = false;
        row.error = e.what();
        return true;
      }
      const std::string variant = fmt::format("{}{}{}{}", dtype == DType::f32 ? "f32" : "bf16",
                                              !has_orders(c.family)            ? ""
                                              : order == ops::ImageOrder::nhwc ? " nhwc"
                                                                               : " nchw",
                                              rows.empty() ? "" : " ", rows);
      for (const CaseRun& run : runs) judge(run.y, c.file->doubles(c.name + "." + run.expected), run, fair, variant + run.note, row);
    }
  return true;
}

}  // namespace

bool holds_cases(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::is_regular_file(directory / "cases.json", error);
}

CasesReport verify_cases(Context& ctx, const std::filesystem::path& directory, const Progress& progress) {
  const io::Json json = io::Json::read(directory / "cases.json");
  CasesReport report;
  const io::Json::Object& families = json.at("families").object();
  std::size_t done = 0;
  int runs = 0, failed = 0;
  for (const auto& [family, entry] : families) {
    const std::string& file_name = entry.at("file").string();
    if (file_name.empty() || file_name.find_first_of("/\\") != std::string::npos)
      fail_expected(entry.at("file").where(), "the plain name of a file in the directory", "'" + file_name + "'");
    const auto file = io::SafetensorsFile::open(directory / file_name);
    if (progress) progress(family, static_cast<double>(done++) / static_cast<double>(families.size()));
    for (const io::Json& one : entry.at("cases").array()) {
      OpCase c{family, one.at("name").string(), &one, file};
      CaseRow row;
      row.family = family;
      row.name = c.name;
      run_case(ctx, c, "", row);  // the rows that the machine chooses
      for (const std::string& kernels : kernel_families(family))
        for (const std::string& forced : ops::runnable_rows(ctx, kernels)) {
          if (!row.pass) break;
          ctx.force(kernels, forced);
          try {
            run_case(ctx, c, forced, row);
          } catch (...) {
            ctx.force(kernels, "");
            throw;
          }
          ctx.force(kernels, "");
        }
      runs += row.runs;
      failed += row.pass ? 0 : 1;
      report.pass = report.pass && row.pass;
      report.rows.push_back(std::move(row));
    }
  }
  if (report.rows.empty()) fail_expected((directory / "cases.json").string(), "a case", "none");
  report.summary = fmt::format("{} cases of {} families, {} runs, {} failed", report.rows.size(), families.size(), runs, failed);
  return report;
}

}  // namespace tessera::models

#include "tessera/runtime/profiler.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>

namespace tessera::runtime {
namespace {

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Line {
  std::string op;
  std::string path;
  bool stage = false;
  std::int64_t calls = 0;
  double seconds = 0;
  double flops = 0;
  double bytes = 0;
  double bound = 0;            // seconds: max(FLOPs / ceiling, bytes / bandwidth), summed call by call
  double ceiling_seconds = 0;  // FLOPs / ceiling
};

bool is_stage(const ZoneRecord& r) { return r.flops <= 0 && r.bytes <= 0; }

std::string number(double value, const char* format_end) {
  return value > 0 ? fmt::format(fmt::runtime(std::string("{:.") + format_end + "}"), value) : std::string();
}

void print_row(std::string& out, const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  for (std::size_t i = 0; i < cells.size(); ++i)
    out += i < 2 ? fmt::format("{:<{}}  ", cells[i], widths[i]) : fmt::format("{:>{}}  ", cells[i], widths[i]);
  while (out.back() == ' ') out.pop_back();
  out.push_back('\n');
}

void escape(std::string& out, const char* text) {
  for (; *text != '\0'; ++text) {
    if (*text == '"' || *text == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(*text) >= 32) out.push_back(*text);
  }
}

}  // namespace

void Profiler::start(std::size_t zones) {
  records_.reserve(zones);
  on_ = true;
}

void Zone::begin(const char* op, const char* path, double flops, double bytes, DType operands) noexcept {
  // Full: recording more would allocate, or fail, in the middle of an op. What was recorded stays.
  if (profiler_->records_.size() == profiler_->records_.capacity()) {
    profiler_ = nullptr;
    return;
  }
  index_ = profiler_->records_.size();
  profiler_->records_.push_back({op, path, operands, now_ns(), 0, flops, bytes, profiler_->depth_++});
}

void Zone::end() noexcept {
  --profiler_->depth_;
  if (index_ < profiler_->records_.size()) profiler_->records_[index_].end_ns = now_ns();
}

std::string Profiler::table(const Ceilings& ceilings) const {
  std::map<std::pair<std::string, std::string>, Line> lines;
  double whole = 0;  // time inside ops; an op inside another op counts once
  int counted = INT32_MAX;
  for (const ZoneRecord& r : records_) {
    Line& line = lines[{r.op, r.path}];
    line.op = r.op;
    line.path = r.path;
    line.stage = is_stage(r);
    const double seconds = static_cast<double>(r.end_ns - r.start_ns) * 1e-9;
    const double ceiling = ceilings.gflops(r.operands) * 1e9;
    const double compute = ceiling > 0 ? r.flops / ceiling : 0;
    const double memory = ceilings.read_gbs > 0 ? r.bytes / (ceilings.read_gbs * 1e9) : 0;
    line.calls += 1;
    line.seconds += seconds;
    line.flops += r.flops;
    line.bytes += r.bytes;
    line.ceiling_seconds += compute;
    line.bound += std::max(compute, memory);
    if (r.depth <= counted) counted = INT32_MAX;
    if (!line.stage && counted == INT32_MAX) {
      whole += seconds;
      counted = r.depth;
    }
  }
  std::vector<Line> sorted;
  for (const auto& [key, line] : lines) sorted.push_back(line);
  std::ranges::stable_sort(sorted, [](const Line& a, const Line& b) { return a.stage != b.stage ? a.stage : a.seconds > b.seconds; });

  std::vector<std::vector<std::string>> rows = {{"op", "path", "calls", "ms", "share", "GFLOP/s", "GB/s", "of ceiling", "bound ms", "time/bound"}};
  for (const Line& l : sorted) {
    rows.push_back({l.op, l.path, std::to_string(l.calls), fmt::format("{:.3f}", l.seconds * 1e3),
                    l.stage || whole <= 0 ? std::string() : fmt::format("{:.1f} %", 100 * l.seconds / whole),
                    number(l.flops / l.seconds * 1e-9, "1f"), number(l.bytes / l.seconds * 1e-9, "1f"),
                    l.ceiling_seconds > 0 ? fmt::format("{:.0f} %", 100 * l.ceiling_seconds / l.seconds) : std::string(), number(l.bound * 1e3, "3f"),
                    l.bound > 0 ? fmt::format("{:.2f}", l.seconds / l.bound) : std::string()});
  }
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  print_row(out, rows[0], widths);
  std::size_t total = 0;
  for (const std::size_t w : widths) total += w + 2;
  out.append(total - 2, '-').push_back('\n');
  for (std::size_t i = 1; i < rows.size(); ++i) print_row(out, rows[i], widths);
  return out;
}

std::string Profiler::trace_json() const {
  std::string out = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [";
  const std::int64_t start = records_.empty() ? 0 : records_.front().start_ns;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    const ZoneRecord& r = records_[i];
    out += i == 0 ? "\n" : ",\n";
    out += "{\"name\": \"";
    escape(out, r.op);
    out += fmt::format("\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": {:.3f}, \"dur\": {:.3f}, \"args\": {{\"path\": \"",
                       static_cast<double>(r.start_ns - start) * 1e-3, static_cast<double>(r.end_ns - r.start_ns) * 1e-3);
    escape(out, r.path);
    out += fmt::format("\", \"flops\": {:.0f}, \"bytes\": {:.0f}}}}}", r.flops, r.bytes);
  }
  return out + "\n]}\n";
}

}  // namespace tessera::runtime

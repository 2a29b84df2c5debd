#include "apps/cli/terminal.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace tessera::cli {
namespace {

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string coloured(std::string_view text, int code) {
  if (isatty(STDOUT_FILENO) == 0) return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

std::string scaled(double value, std::span<const std::string_view> units) {
  std::size_t i = 0;
  while (std::fabs(value) >= 1000 && i + 1 < units.size()) {
    value /= 1000;
    ++i;
  }
  return fmt::format("{:.3g} {}", value, units[i]);
}

}  // namespace

std::string Table::str() const {
  std::vector<std::size_t> widths;
  for (const auto& [title, align] : columns_) widths.push_back(width_of(title));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string out;
  const auto line = [&](const auto& cell) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string_view text = cell(i);
      const std::string fill(widths[i] - width_of(text), ' ');
      out.append(i == 0 ? "" : "  ");
      if (columns_[i].second == Align::right)
        out.append(fill).append(text);
      else
        out.append(text).append(i + 1 < columns_.size() ? fill : "");
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out.push_back('\n');
  };
  std::size_t total = 0;
  for (const std::size_t w : widths) total += w + 2;
  const std::string across(total - 2, '-');
  line([&](std::size_t i) { return std::string_view(columns_[i].first); });
  out.append(across).append("\n");
  for (const auto& row : rows_) {
    if (row.empty())
      out.append(across).append("\n");
    else
      line([&](std::size_t i) { return i < row.size() ? std::string_view(row[i]) : std::string_view(); });
  }
  return out;
}

std::string sparkline(std::span<const double> values) {
  static constexpr std::array<std::string_view, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty()) return {};
  const auto [lo, hi] = std::ranges::minmax(values);
  std::string out;
  for (const double v : values) {
    const double t = hi > lo ? (v - lo) / (hi - lo) : 0.5;
    out.append(std::isfinite(t) ? kBars[static_cast<std::size_t>(std::clamp(t * 7.999, 0.0, 7.0))] : std::string_view("?"));
  }
  return out;
}

std::string bytes_text(double bytes) {
  static constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  return scaled(bytes, kUnits);
}

std::string flops_text(double flops) {
  static constexpr std::array<std::string_view, 5> kUnits = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"};
  return scaled(flops, kUnits);
}

std::string good(std::string_view text) { return coloured(text, 32); }
std::string bad(std::string_view text) { return coloured(text, 31); }

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0), start_(Clock::now()), last_(start_) {}

ProgressLine::~ProgressLine() {
  if (shown_ && terminal_) fmt::print(stderr, "\r\033[K");
}

void ProgressLine::operator()(std::string_view what, double share) {
  const Clock::time_point now = Clock::now();
  if (now - start_ < std::chrono::seconds(1)) return;
  const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
  if (shown_ && now - last_ < pause) return;
  shown_ = true;
  last_ = now;
  const std::string text = fmt::format("{:3.0f} %  {}", 100 * std::clamp(share, 0.0, 1.0), what.substr(0, 100));
  if (terminal_)
    fmt::print(stderr, "\r\033[K{}", text);
  else
    fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

std::size_t peak_rss() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

}  // namespace tessera::cli

// What a person sees: aligned tables, sparklines, progress. Colours and moving lines only on a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::cli {

enum class Align : std::uint8_t { left, right };

/// Columns as wide as their widest cell (counted in code points).
class Table {
 public:
  explicit Table(std::vector<std::pair<std::string, Align>> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void rule() { rows_.emplace_back(); }  // a line across
  std::string str() const;

 private:
  std::vector<std::pair<std::string, Align>> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// One character per value, eight heights between the smallest and the largest; a flat line for equal values.
std::string sparkline(std::span<const double> values);

/// "1.23 GB", "456 MB" (powers of ten)
std::string bytes_text(double bytes);
/// "3.07 TFLOP", "12.4 GFLOP"
std::string flops_text(double flops);

/// Green or red on a terminal, plain elsewhere.
std::string good(std::string_view text);
std::string bad(std::string_view text);

/// Says on standard error what goes on once it has taken a second: a line that moves on a terminal, a plain line every five seconds elsewhere.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void operator()(std::string_view what, double share);

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point last_;
};

/// Largest resident set of this process so far, in bytes.
std::size_t peak_rss();

}  // namespace tessera::cli

// Draws action chunks as small multiples, one panel per action dimension, to SVG or PNG (by the file's extension).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tessera::cli {

struct Series {
  std::string label;
  std::vector<double> values;  // [rows * dim]
  std::int64_t rows = 0;
};

struct Plot {
  std::string title;
  std::vector<std::string> names;  // one per dimension
  std::vector<Series> series;      // the first is drawn strongest
};

/// Throws UsageError on another extension than .svg or .png.
void check_plot_path(const std::filesystem::path& path);
void write_plot(const std::filesystem::path& path, const Plot& plot);

}  // namespace tessera::cli

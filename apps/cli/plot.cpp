#include "apps/cli/plot.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <span>

#include "apps/cli/commands.h"
#include "tessera/core/error.h"
#include "tessera/io/file.h"

namespace tessera::cli {
namespace {

constexpr double kPanelWidth = 340;
constexpr double kPanelHeight = 190;
constexpr double kMargin = 16;
constexpr double kHeader = 64;
constexpr double kLeft = 52;  // inside a panel: room for the axis labels
constexpr double kTop = 24;
constexpr double kBottom = 22;

struct Colour {
  double r, g, b;
};
// Distinct for readers with colour-blindness as well (Okabe and Ito).
constexpr std::array<Colour, 6> kColours = {
    {{0.0, 0.45, 0.70}, {0.90, 0.60, 0.0}, {0.0, 0.62, 0.45}, {0.80, 0.40, 0.0}, {0.80, 0.47, 0.65}, {0.34, 0.34, 0.34}}};

struct Surface {
  cairo_surface_t* surface;
  cairo_t* cr;
  explicit Surface(cairo_surface_t* s) : surface(s), cr(cairo_create(s)) {}
  ~Surface() {
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
  }
  Surface(const Surface&) = delete;
  Surface& operator=(const Surface&) = delete;
};

cairo_status_t append(void* closure, const unsigned char* data, unsigned int length) {
  auto& bytes = *static_cast<std::vector<std::byte>*>(closure);
  const auto* p = reinterpret_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), p, p + length);
  return CAIRO_STATUS_SUCCESS;
}

void text(cairo_t* cr, double x, double y, const std::string& words, double size, Colour c, double anchor = 0, bool bold = false) {
  cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cr, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cr, words.c_str(), &extents);
  cairo_set_source_rgb(cr, c.r, c.g, c.b);
  cairo_move_to(cr, x - anchor * extents.x_advance, y);
  cairo_show_text(cr, words.c_str());
}

void line(cairo_t* cr, double x0, double y0, double x1, double y1, Colour c, double width) {
  cairo_set_source_rgb(cr, c.r, c.g, c.b);
  cairo_set_line_width(cr, width);
  cairo_move_to(cr, x0, y0);
  cairo_line_to(cr, x1, y1);
  cairo_stroke(cr);
}

struct Range {
  double lo, hi;
};

Range range_of(const Plot& plot, std::size_t d) {
  const std::size_t dim = plot.names.size();
  Range r{INFINITY, -INFINITY};
  for (const Series& s : plot.series)
    for (std::size_t i = d; i < s.values.size(); i += dim)
      if (std::isfinite(s.values[i])) r = {std::min(r.lo, s.values[i]), std::max(r.hi, s.values[i])};
  if (!(r.lo <= r.hi)) return {-1, 1};
  // A nearly constant dimension must look constant: never zoom in on rounding noise.
  const double least = std::max(1e-3, 0.02 * std::max(std::fabs(r.lo), std::fabs(r.hi)));
  const double grow = std::max(0.06 * (r.hi - r.lo), (least - (r.hi - r.lo)) / 2);
  return {r.lo - std::max(grow, 0.0), r.hi + std::max(grow, 0.0)};
}

void panel(cairo_t* cr, const Plot& plot, std::size_t d, double x, double y) {
  constexpr Colour kInk{0.2, 0.2, 0.2};
  constexpr Colour kGrid{0.88, 0.88, 0.88};
  const double left = x + kLeft;
  const double right = x + kPanelWidth - 10;
  const double top = y + kTop;
  const double bottom = y + kPanelHeight - kBottom;
  const Range range = range_of(plot, d);
  std::int64_t steps = 1;
  for (const Series& s : plot.series) steps = std::max(steps, s.rows);
  const auto px = [&](double t) { return steps > 1 ? left + (right - left) * t / static_cast<double>(steps - 1) : (left + right) / 2; };
  const auto py = [&](double v) { return bottom - (bottom - top) * (v - range.lo) / (range.hi - range.lo); };

  text(cr, left, y + 15, plot.names[d], 12, kInk, 0, true);
  for (int i = 0; i <= 2; ++i) {
    const double v = range.lo + (range.hi - range.lo) * i / 2;
    line(cr, left, py(v), right, py(v), kGrid, 1);
    text(cr, left - 6, py(v) + 4, fmt::format("{:.3g}", v), 10, kInk, 1);
  }
  if (range.lo < 0 && range.hi > 0) line(cr, left, py(0), right, py(0), {0.6, 0.6, 0.6}, 1);
  text(cr, left, bottom + 15, "0", 10, kInk, 0.5);
  text(cr, right, bottom + 15, fmt::format("{}", steps - 1), 10, kInk, 1);

  for (std::size_t s = plot.series.size(); s-- > 0;) {  // the first series last, on top
    const Colour c = kColours[s % kColours.size()];
    const Series& series = plot.series[s];
    cairo_set_source_rgb(cr, c.r, c.g, c.b);
    cairo_set_line_width(cr, s == 0 ? 2.6 : 1.8);
    const double dash[] = {6, 4};
    cairo_set_dash(cr, dash, s == 0 ? 0 : 2, 0);
    bool pen = false;
    for (std::int64_t t = 0; t < series.rows; ++t) {
      const double v = series.values[static_cast<std::size_t>(t) * plot.names.size() + d];
      if (!std::isfinite(v)) {
        pen = false;
        continue;
      }
      if (pen)
        cairo_line_to(cr, px(static_cast<double>(t)), py(v));
      else
        cairo_move_to(cr, px(static_cast<double>(t)), py(v));
      pen = true;
    }
    cairo_stroke(cr);
    cairo_set_dash(cr, dash, 0, 0);
  }
}

void draw(cairo_t* cr, const Plot& plot, int columns, double width, double height) {
  cairo_set_source_rgb(cr, 1, 1, 1);
  cairo_rectangle(cr, 0, 0, width, height);
  cairo_fill(cr);
  cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
  text(cr, kMargin, 26, plot.title, 15, {0.1, 0.1, 0.1}, 0, true);
  double x = kMargin;
  for (std::size_t s = 0; s < plot.series.size(); ++s) {
    const Colour c = kColours[s % kColours.size()];
    line(cr, x, 46, x + 26, 46, c, s == 0 ? 3 : 2);
    text(cr, x + 32, 50, plot.series[s].label, 12, c);
    cairo_text_extents_t extents;
    cairo_text_extents(cr, plot.series[s].label.c_str(), &extents);
    x += 32 + extents.x_advance + 24;
  }
  for (std::size_t d = 0; d < plot.names.size(); ++d) {
    const auto column = static_cast<double>(d % static_cast<std::size_t>(columns));
    const auto row = static_cast<double>(d / static_cast<std::size_t>(columns));
    panel(cr, plot, d, kMargin + column * kPanelWidth, kHeader + row * kPanelHeight);
  }
}

}  // namespace

void check_plot_path(const std::filesystem::path& path) {
  if (path.extension() != ".svg" && path.extension() != ".png")
    throw UsageError(fmt::format("--plot: expected a .svg or .png file, got '{}'", path.string()));
}

void write_plot(const std::filesystem::path& path, const Plot& plot) {
  check_plot_path(path);
  const int columns = plot.names.size() <= 4 ? 2 : plot.names.size() <= 9 ? 3 : 4;
  const auto rows = static_cast<double>((plot.names.size() + static_cast<std::size_t>(columns) - 1) / static_cast<std::size_t>(columns));
  const double width = 2 * kMargin + columns * kPanelWidth;
  const double height = kHeader + rows * kPanelHeight + kMargin;
  std::vector<std::byte> bytes;
  cairo_status_t status = CAIRO_STATUS_SUCCESS;
  if (path.extension() == ".svg") {
    const Surface s(cairo_svg_surface_create_for_stream(append, &bytes, width, height));
    draw(s.cr, plot, columns, width, height);
    cairo_surface_finish(s.surface);
    status = cairo_surface_status(s.surface);
  } else {
    constexpr double kScale = 2;  // sharp on a dense display
    const Surface s(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(kScale * width), static_cast<int>(kScale * height)));
    cairo_scale(s.cr, kScale, kScale);
    draw(s.cr, plot, columns, width, height);
    status = cairo_surface_write_to_png_stream(s.surface, append, &bytes);
  }
  if (status != CAIRO_STATUS_SUCCESS) fail("plot", cairo_status_to_string(status));
  io::write_file(path, std::span<const std::byte>(bytes));
}

}  // namespace tessera::cli

#include "tessera/ops/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tests/reference/goldens.h"
#include "tests/reference/resize.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::ResizeFilter;
using ops::ResizeWithPad;
using reference::Golden;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kEps = 0x1p-24;
using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

struct Sizes {
  std::int64_t height, width, channels, new_height, new_width;
  Shape in() const { return {height, width, channels}; }
  Shape out() const { return {new_height, new_width, channels}; }
  std::string str() const { return in().str() + " to " + out().str(); }
};

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (const auto& n : reference::read_shapes("resize", 5)) all.push_back({n[0], n[1], n[2], n[3], n[4]});
  return all;
}

std::vector<Sizes> random_shapes(int count, unsigned seed) {
  std::mt19937 random(seed);
  const auto size = [&] { return 1 + static_cast<std::int64_t>(random() % (random() % 2 == 0 ? 8 : 80)); };
  std::vector<Sizes> all;
  for (int i = 0; i < count; ++i) all.push_back({size(), size(), 1 + static_cast<std::int64_t>(random() % 4), size(), size()});
  return all;
}

Bytes noise(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes values(static_cast<std::size_t>(count));
  for (auto& v : values) v = static_cast<std::uint8_t>(random() % 3 == 0 ? (random() % 2) * 255 : random() % 256);
  return values;
}

Floats float_noise(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(-1, 1);
  Floats values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

template <class T>
std::vector<double> doubles(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <class T>
std::vector<T> run(Context& ctx, const std::vector<T>& x, const Sizes& s, ResizeFilter filter) {
  Tensor y = Tensor::empty(s.out(), dtype_of<T>::value);
  ops::resize(ctx, Tensor::from<T>(x, s.in()), filter, y);
  const auto span = y.span<T>();
  return {span.begin(), span.end()};
}

template <class T>
std::vector<T> run_padded(Context& ctx, const Tensor& x, const ResizeWithPad& options) {
  Tensor y = Tensor::empty({options.height, options.width, x.shape()[2]}, dtype_of<T>::value);
  ops::resize_with_pad(ctx, x, options, y);
  const auto span = y.span<T>();
  return {span.begin(), span.end()};
}

Sizes sizes_of(const Golden& x, const Golden& y) { return {x.shape.at(0), x.shape.at(1), x.shape.at(2), y.shape.at(0), y.shape.at(1)}; }

Floats as_floats(const Bytes& bytes) {
  Floats values;
  for (const std::uint8_t b : bytes) values.push_back(static_cast<float>(b) / 255.0f);
  return values;
}

double distance(const Floats& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
    largest = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(largest, d);
  }
  return largest;
}

/// Equal, except where rounding to bytes can go either way: there by one grey level, and in at most one place of 500 (small
/// ratios have exact halves).
void expect_almost_equal(const Bytes& a, const Bytes& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_LE(std::abs(int{a[i]} - int{b[i]}), 1) << what << " at " << i;
    different += a[i] != b[i];
  }
  EXPECT_LE(different * 500, a.size()) << what;
}

constexpr const char* kGoldenCases[] = {"down",       "down_a_little", "up",      "up_and_down",  "height_only",
                                        "width_only", "gray",          "one_row", "to_one_pixel", "camera"};
constexpr const char* kPaddedCases[] = {"wide", "tall", "small", "sliver", "fits_one_side", "not_square", "same"};

TEST(Resize, PilToTheBit) {
  const auto goldens = reference::read_goldens("resize/resize.safetensors");
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string name : kGoldenCases) {
    const Golden& x = goldens.at(name + ".x");
    const Golden& y = goldens.at(name + ".pil");
    EXPECT_EQ(run(ctx, x.as<std::uint8_t>(), sizes_of(x, y), ResizeFilter::pil_bilinear), y.as<std::uint8_t>()) << name;
  }
  int cases = 0;
  int cubic_cases = 0;
  const auto vision = reference::read_goldens("vision/resize_antialias.safetensors");
  for (const auto& [name, y] : vision) {
    const std::size_t dot = name.find(".pil_u8");
    if (dot == std::string::npos) continue;
    const Golden& x = vision.at(name.substr(0, dot) + ".image");
    const bool bicubic = name.find("bicubic") != std::string::npos;
    const ResizeFilter filter = bicubic ? ResizeFilter::pil_bicubic : ResizeFilter::pil_bilinear;
    EXPECT_EQ(run(ctx, x.as<std::uint8_t>(), sizes_of(x, y), filter), y.as<std::uint8_t>()) << name;
    ++(bicubic ? cubic_cases : cases);
  }
  EXPECT_EQ(cases, 11);
  EXPECT_EQ(cubic_cases, 2);
}

TEST(Resize, JaxAsCloseAsFloatsAllow) {
  const auto goldens = reference::read_goldens("resize/resize.safetensors");
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string name : kGoldenCases) {
    const Golden& x = goldens.at(name + ".x");
    const Golden& y = goldens.at(name + ".jax_f32");
    const Floats in = as_floats(x.as<std::uint8_t>());
    // Weights are off by an eps of the sample position (at most 320) each on either side; values are at most 1.
    EXPECT_LE(distance(run(ctx, in, sizes_of(x, y), ResizeFilter::jax_linear), doubles(y.as<float>())), 20 * kEps) << name;
    expect_almost_equal(run(ctx, x.as<std::uint8_t>(), sizes_of(x, y), ResizeFilter::jax_linear), goldens.at(name + ".jax_u8").as<std::uint8_t>(),
                        name);
  }
}

TEST(Resize, TorchToTheBit) {
  const auto goldens = reference::read_goldens("resize/resize.safetensors");
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string name : kGoldenCases) {
    const Golden& x = goldens.at(name + ".x");
    const Golden& y = goldens.at(name + ".torch_f32");
    EXPECT_EQ(run(ctx, as_floats(x.as<std::uint8_t>()), sizes_of(x, y), ResizeFilter::torch_bilinear), y.as<float>()) << name;
  }
}

TEST(Resize, LetterboxAsTheSourcesDo) {
  const auto goldens = reference::read_goldens("resize/resize.safetensors");
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string name : kPaddedCases) {
    const Golden& x = goldens.at("pad." + name + ".x");
    const Golden& y = goldens.at("pad." + name + ".pil");
    const Shape shape{x.shape.at(0), x.shape.at(1), x.shape.at(2)};
    const Bytes bytes = x.as<std::uint8_t>();
    const Tensor in = Tensor::from<std::uint8_t>(bytes, shape);
    ResizeWithPad o{.height = y.shape.at(0), .width = y.shape.at(1), .filter = ResizeFilter::pil_bilinear};
    EXPECT_EQ(run_padded<std::uint8_t>(ctx, in, o), y.as<std::uint8_t>()) << name;
    o.filter = ResizeFilter::jax_linear;
    expect_almost_equal(run_padded<std::uint8_t>(ctx, in, o), goldens.at("pad." + name + ".jax_u8").as<std::uint8_t>(), name);
    o.filter = ResizeFilter::torch_bilinear;
    o.clip = true;
    EXPECT_EQ(run_padded<float>(ctx, Tensor::from<float>(as_floats(bytes), shape), o), goldens.at("pad." + name + ".torch_f32").as<float>()) << name;
  }
}

TEST(Resize, BicubicOfPositionTables) {
  const auto goldens = reference::read_goldens("vision/interpolate_bicubic.safetensors");
  Context ctx({.threads = 2, .isa = {}});
  // Stored as NCHW; one channel at a time is one picture.
  const auto planes = [&](const std::string& name, auto interpolate, double tolerance) {
    const Golden& x = goldens.at(name + ".x");
    const Golden& y = goldens.at(name + ".y");
    const Sizes s{x.shape.at(2), x.shape.at(3), x.shape.at(1), y.shape.at(2), y.shape.at(3)};
    const auto turn = [&](const Floats& chw, std::int64_t height, std::int64_t width) {
      Floats hwc(chw.size());
      for (std::int64_t c = 0; c < s.channels; ++c)
        for (std::int64_t i = 0; i < height * width; ++i)
          hwc[static_cast<std::size_t>(i * s.channels + c)] = chw[static_cast<std::size_t>(c * height * width + i)];
      return hwc;
    };
    Tensor out = Tensor::empty(s.out(), DType::f32);
    interpolate(Tensor::from<float>(turn(x.as<float>(), s.height, s.width), s.in()), out);
    const auto span = out.span<float>();
    EXPECT_LE(distance({span.begin(), span.end()}, doubles(turn(y.as<float>(), s.new_height, s.new_width))), tolerance) << name;
  };
  const auto bicubic = [&](const Tensor& x, Tensor& y) { ops::interpolate_bicubic(ctx, x, y); };
  // Values to about 4 and positions to 37 in f32, so that a weight is off by up to 20 eps; torch's own distance from float64 is 51 eps.
  for (const char* name : {"posembed_16x16_to_27x27", "posembed_16x16_to_16x24", "posembed_14x14_to_16x16", "posembed_27x27_to_16x16",
                           "posembed_37x37_to_16x16", "tiny_2x3_to_7x8"})
    planes(name, bicubic, 64 * kEps);
  planes("identity_16x16", bicubic, 0);
  planes("one_pixel_to_4x4", bicubic, 4 * kEps);
  planes(
      "bilinear_16x16_to_27x27", [&](const Tensor& x, Tensor& y) { ops::resize(ctx, x, ResizeFilter::torch_bilinear, y); }, 16 * kEps);
}

double identity(double x) { return x; }
// PIL: a byte after each pass, from weights of 22 bits (whose sums are exact in double).
double to_byte(double x) { return std::clamp(std::floor(x + 0.5), 0.0, 255.0); }
reference::Matrix in_22_bits(reference::Matrix w) {
  for (auto& row : w)
    for (double& x : row) x = std::floor(x * 0x1p22 + 0.5) / 0x1p22;
  return w;
}

TEST(Resize, MatchesTheReferenceOnAllShapes) {
  Context ctx({.threads = 2, .isa = {}});
  std::vector<Sizes> all = shapes();
  for (const Sizes& s : random_shapes(150, 1)) all.push_back(s);
  for (const Sizes& s : all) {
    const std::int64_t count = s.in().numel();
    const reference::Matrix down = reference::triangle(s.height, s.new_height);
    const reference::Matrix across = reference::triangle(s.width, s.new_width);
    const Bytes bytes = noise(count, 2);
    const Floats floats = float_noise(count, 3);
    const auto pil = reference::resize(doubles(bytes), s.channels, in_22_bits(down), in_22_bits(across), to_byte);
    EXPECT_EQ(doubles(run(ctx, bytes, s, ResizeFilter::pil_bilinear)), pil) << s.str();
    const auto pil_cubic = reference::resize(doubles(bytes), s.channels, in_22_bits(reference::antialiased_cubic(s.height, s.new_height)),
                                             in_22_bits(reference::antialiased_cubic(s.width, s.new_width)), to_byte);
    EXPECT_EQ(doubles(run(ctx, bytes, s, ResizeFilter::pil_bicubic)), pil_cubic) << s.str();
    // f32 positions up to `size` are off by size * eps, each weight by as much; values are at most 1. 8: two axes, two edges, sums.
    const double tolerance = 8 * kEps * static_cast<double>(4 + std::max(s.height, s.width));
    EXPECT_LE(distance(run(ctx, floats, s, ResizeFilter::jax_linear), reference::resize(doubles(floats), s.channels, down, across, identity)),
              tolerance)
        << s.str();
    const auto torch = reference::resize(doubles(floats), s.channels, reference::two_neighbours(s.height, s.new_height),
                                         reference::two_neighbours(s.width, s.new_width), identity);
    EXPECT_LE(distance(run(ctx, floats, s, ResizeFilter::torch_bilinear), torch), tolerance) << s.str();
    Tensor y = Tensor::empty(s.out(), DType::f32);
    ops::interpolate_bicubic(ctx, Tensor::from<float>(floats, s.in()), y);
    const auto cubic =
        reference::resize(doubles(floats), s.channels, reference::cubic(s.height, s.new_height), reference::cubic(s.width, s.new_width), identity);
    EXPECT_LE(distance({y.span<float>().begin(), y.span<float>().end()}, cubic), 4 * tolerance) << s.str();
  }
}

TEST(Resize, BytesWithFloatFiltersRoundHalfToEven) {
  Context ctx({.threads = 1, .isa = {}});
  // The middle of neighbours: 0.5, 1.5, 2.5, 254.5 go to the even side.
  const Bytes x{0, 1, 1, 2, 2, 3, 254, 255};
  EXPECT_EQ(run(ctx, x, {1, 8, 1, 1, 4}, ResizeFilter::torch_bilinear), (Bytes{0, 2, 2, 254}));
  for (const Sizes& s : random_shapes(30, 4)) {
    const Bytes bytes = noise(s.in().numel(), 5);
    const Floats floats(bytes.begin(), bytes.end());
    for (const ResizeFilter filter : {ResizeFilter::torch_bilinear, ResizeFilter::jax_linear}) {
      Bytes expected;
      for (const float v : run(ctx, floats, s, filter)) expected.push_back(static_cast<std::uint8_t>(std::nearbyint(std::clamp(v, 0.0f, 255.0f))));
      EXPECT_EQ(run(ctx, bytes, s, filter), expected) << s.str();
    }
  }
}

TEST(Resize, SameSizeAndConstantPictures) {
  Context ctx({.threads = 2, .isa = {}});
  for (const ResizeFilter filter : {ResizeFilter::pil_bilinear, ResizeFilter::pil_bicubic, ResizeFilter::jax_linear, ResizeFilter::torch_bilinear}) {
    const Bytes bytes = noise(30 * 21 * 3, 6);
    EXPECT_EQ(run(ctx, bytes, {30, 21, 3, 30, 21}, filter), bytes);
    for (const std::uint8_t level : {std::uint8_t{0}, std::uint8_t{127}, std::uint8_t{255}})
      for (const Sizes& s : random_shapes(20, 7))
        EXPECT_EQ(run(ctx, Bytes(static_cast<std::size_t>(s.in().numel()), level), s, filter),
                  Bytes(static_cast<std::size_t>(s.out().numel()), level))
            << s.str();
  }
}

TEST(Resize, ThreadsChangeNoBit) {
  for (const Sizes& s : shapes()) {
    const Bytes bytes = noise(s.in().numel(), 8);
    const Floats floats = float_noise(s.in().numel(), 9);
    std::vector<Bytes> first_bytes;
    std::vector<Floats> first_floats;
    for (const int threads : {1, 2, 3, 8}) {
      Context ctx({.threads = threads, .isa = {}});
      Tensor cubic = Tensor::empty(s.out(), DType::f32);
      ops::interpolate_bicubic(ctx, Tensor::from<float>(floats, s.in()), cubic);
      const std::vector<Bytes> b{run(ctx, bytes, s, ResizeFilter::pil_bilinear), run(ctx, bytes, s, ResizeFilter::pil_bicubic),
                                 run(ctx, bytes, s, ResizeFilter::jax_linear), run(ctx, bytes, s, ResizeFilter::torch_bilinear)};
      const std::vector<Floats> f{run(ctx, floats, s, ResizeFilter::jax_linear),
                                  run(ctx, floats, s, ResizeFilter::torch_bilinear),
                                  {cubic.span<float>().begin(), cubic.span<float>().end()}};
      if (first_bytes.empty()) first_bytes = b, first_floats = f;
      EXPECT_EQ(b, first_bytes) << s.str() << threads;
      EXPECT_EQ(f, first_floats) << s.str() << threads;
    }
  }
}

TEST(Resize, PaddingGoesWhereTheOptionSays) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = Tensor::from<float>(Floats(4 * 2 * 1, 0.5f), {4, 2, 1});
  // 4 x 2 into 5 x 7: ratio 0.8, picture 5 x 2, five free columns.
  ResizeWithPad o{.height = 5, .width = 7, .pad_value = -1};
  const Floats centred = run_padded<float>(ctx, x, o);
  o.pad_left_top = true;
  const Floats left = run_padded<float>(ctx, x, o);
  for (std::size_t i = 0; i < 35; ++i) {
    EXPECT_EQ(centred[i], i % 7 == 2 || i % 7 == 3 ? 0.5f : -1.0f) << i;
    EXPECT_EQ(left[i], i % 7 >= 5 ? 0.5f : -1.0f) << i;
  }
  // 2 x 4 into 7 x 4: same size, five free rows: two above, three below.
  const Tensor wide = x.reshape({2, 4, 1});
  o = {.height = 7, .width = 4, .pad_value = 9};
  const Floats rows = run_padded<float>(ctx, wide, o);
  o.pad_left_top = true;
  const Floats top = run_padded<float>(ctx, wide, o);
  for (std::size_t i = 0; i < 28; ++i) {
    EXPECT_EQ(rows[i], i / 4 == 2 || i / 4 == 3 ? 0.5f : 9.0f) << i;
    EXPECT_EQ(top[i], i / 4 >= 5 ? 0.5f : 9.0f) << i;
  }
}

TEST(Resize, SizesAreTruncatedAndNeverZero) {
  Context ctx({.threads = 1, .isa = {}});
  // Rows of the picture in a square of 224, for the cameras of the page and for a sliver.
  const auto picture_rows = [&](std::int64_t h, std::int64_t w) {
    const Tensor x = Tensor::from<std::uint8_t>(Bytes(static_cast<std::size_t>(h * w), 255), {h, w, 1});
    const Bytes y = run_padded<std::uint8_t>(ctx, x, {.filter = ResizeFilter::jax_linear});
    std::int64_t rows = 0;
    for (std::int64_t r = 0; r < 224; ++r) rows += y[static_cast<std::size_t>(r * 224 + 112)] == 255;
    return rows;
  };
  EXPECT_EQ(picture_rows(480, 640), 168);
  EXPECT_EQ(picture_rows(720, 1280), 126);
  EXPECT_EQ(picture_rows(100, 300), 74);  // 74.67
  EXPECT_EQ(picture_rows(1, 300), 1);
}

TEST(Resize, ClipsWhatWasResizedOnly) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::from<float>(Floats{-3, 5, 0.25f, 7}, {2, 2, 1});
  ResizeWithPad o{.height = 2, .width = 2, .clip = true};
  EXPECT_EQ(run_padded<float>(ctx, x, o), (Floats{-3, 5, 0.25f, 7}));  // untouched
  o.height = 3;
  o.pad_value = -8;
  EXPECT_EQ(run_padded<float>(ctx, x, o), (Floats{0, 1, 0.25f, 1, -8, -8}));
  o.clip = false;
  EXPECT_EQ(run_padded<float>(ctx, x, o), (Floats{-3, 5, 0.25f, 7, -8, -8}));
}

TEST(Resize, NanStaysWithItsNeighbours) {
  Context ctx({.threads = 1, .isa = {}});
  Floats x = float_noise(20 * 20, 10);
  x[10 * 20 + 10] = kNan;
  for (const ResizeFilter filter : {ResizeFilter::jax_linear, ResizeFilter::torch_bilinear}) {
    const Floats y = run(ctx, x, {20, 20, 1, 40, 40}, filter);
    std::size_t nans = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      nans += std::isnan(y[i]);
      const auto row = static_cast<std::int64_t>(i / 40);
      const auto column = static_cast<std::int64_t>(i % 40);
      EXPECT_FALSE(std::isnan(y[i]) && (std::abs(row - 20) > 3 || std::abs(column - 20) > 3)) << i;
    }
    EXPECT_GE(nans, 4u);
  }
  // Clipping keeps NaN.
  const Tensor t = Tensor::from<float>(x, {20, 20, 1});
  const Floats y = run_padded<float>(ctx, t, {.height = 40, .width = 40, .clip = true});
  EXPECT_TRUE(std::any_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
}

TEST(Resize, SecondCallNeedsNoMemory) {
  Context ctx({.threads = 2, .isa = {}});
  const Bytes bytes = noise(97 * 131 * 3, 11);
  run(ctx, bytes, {97, 131, 3, 32, 40}, ResizeFilter::pil_bilinear);
  run(ctx, bytes, {97, 131, 3, 32, 40}, ResizeFilter::jax_linear);
  const std::size_t reserved = ctx.workspace().reserved();
  run(ctx, bytes, {97, 131, 3, 32, 40}, ResizeFilter::pil_bilinear);
  run(ctx, bytes, {97, 131, 3, 32, 40}, ResizeFilter::jax_linear);
  EXPECT_EQ(ctx.workspace().reserved(), reserved);
}

template <class Fn>
void expect_error(const std::string& op, const std::string& part, Fn fn) {
  Context ctx({.threads = 1, .isa = {}});
  try {
    fn(ctx);
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("[" + op + "]"), 0u) << e.what();
  }
}

TEST(Resize, RefusesWhatDoesNotFit) {
  const auto resize = [](const std::string& part, const Tensor& x, Tensor y, ResizeFilter filter = ResizeFilter::jax_linear) {
    expect_error("resize", part, [&](Context& ctx) { ops::resize(ctx, x, filter, y); });
  };
  const Tensor x = Tensor::zeros({4, 4, 3}, DType::f32);
  resize("expected x", {}, x);
  resize("expected x", Tensor::zeros({4, 4}, DType::f32), x);
  resize("expected x", Tensor::zeros({0, 4, 3}, DType::f32), x);
  resize("expected x", Tensor::zeros({4, 4, 3}, DType::bf16), x);
  resize("expected x", Tensor::zeros({4, 4, 6}, DType::f32).columns(0, 3), x);
  resize("expected y", x, {});
  resize("expected y", x, Tensor::zeros({4, 4, 4}, DType::f32));
  resize("expected y", x, Tensor::zeros({4, 4, 3}, DType::u8));
  resize("uint8 for pil_bilinear", x, x, ResizeFilter::pil_bilinear);
  resize("a filter", x, x, static_cast<ResizeFilter>(9));
  const auto padded = [](const std::string& part, const Tensor& in, Tensor y, const ResizeWithPad& o) {
    expect_error("resize_with_pad", part, [&](Context& ctx) { ops::resize_with_pad(ctx, in, o, y); });
  };
  const Tensor y = Tensor::zeros({8, 8, 3}, DType::f32);
  padded("height and width", x, y, {});
  padded("height and width", x, y, {.height = 8, .width = 0});
  padded("uint8 for pil_bilinear", x, y, {.height = 8, .width = 8, .filter = ResizeFilter::pil_bilinear});
  padded("clip_min", x, y, {.height = 8, .width = 8, .clip = true, .clip_min = 1, .clip_max = 0});
  padded("pad_value", Tensor::zeros({4, 4, 3}, DType::u8), Tensor::zeros({8, 8, 3}, DType::u8), {.height = 8, .width = 8, .pad_value = -1});
  padded("pad_value", Tensor::zeros({4, 4, 3}, DType::u8), Tensor::zeros({8, 8, 3}, DType::u8), {.height = 8, .width = 8, .pad_value = 0.5f});
  expect_error("interpolate_bicubic", "float32", [&](Context& ctx) {
    Tensor bytes = Tensor::zeros({4, 4, 3}, DType::u8);
    ops::interpolate_bicubic(ctx, bytes, bytes);
  });
}

}  // namespace
}  // namespace tessera

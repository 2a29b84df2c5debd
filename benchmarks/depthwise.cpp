// conv2d's depthwise path at the study's six shapes (3x3, stride 1), or at those given with --shapes=n,h,w,c[,k,stride];..., against the
// larger of two floors measured in the same run: copying as many bytes, and the FLOPs at the FMA rate. Counters: best_us, floor_us, ratio.
//   bench_depthwise [--threads=N] [--shapes=10,56,56,144;1,14,14,480,5,2] [--benchmark_...]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tessera/ops/conv2d.h"
#include "tessera/ops/kernel_table.h"
#include "tessera/runtime/ceilings.h"

namespace {

using namespace tessera;

constexpr const char* kStudy = "10,56,56,144;10,14,14,576;10,7,7,960;10,7,7,112;1,80,80,320;1,40,40,640";

struct Shape4 {
  std::int64_t n, h, w, c, k = 3, stride = 1;
};

std::vector<Shape4> shapes_of(const std::string& text) {
  std::vector<Shape4> all;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line, ';')) {
    std::ranges::replace(line, ',', ' ');
    std::istringstream words(line);
    Shape4 s{};
    if (!(words >> s.n >> s.h >> s.w >> s.c)) continue;
    if (!(words >> s.k >> s.stride)) s.k = 3, s.stride = 1;
    all.push_back(s);
  }
  return all;
}

Tensor random_tensor(const Shape& shape, DType dtype, unsigned seed) {
  Tensor t = Tensor::empty(shape, dtype);
  std::minstd_rand random(seed);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const float v = static_cast<float>(random() % 2001) / 1000 - 1;
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(v);
    else
      t.data<float>()[i] = v;
  }
  return t;
}

double seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Best time to move `from` to `to`, every thread a part, with the C library's copy (which streams past the caches when it is worth it).
double copy_seconds(Context& ctx, const Tensor& from, Tensor& to) {
  const std::size_t bytes = std::min(from.bytes(), to.bytes());
  const auto items = static_cast<std::size_t>(ctx.threads() == 1 ? 1 : 4 * ctx.threads());
  const auto* const source = static_cast<const char*>(from.raw());
  auto* const target = static_cast<char*>(to.raw());
  double best = 1e30;
  for (int round = 0; round < 30; ++round) {
    const auto start = std::chrono::steady_clock::now();
    ctx.pool().parallel_for(static_cast<std::int64_t>(items), [&](std::int64_t item, int) {
      const std::size_t first = static_cast<std::size_t>(item) * bytes / items;
      const std::size_t last = (static_cast<std::size_t>(item) + 1) * bytes / items;
      std::memcpy(target + first, source + first, last - first);
    });
    best = std::min(best, seconds(start));
  }
  return best;
}

void run(benchmark::State& state, Context& ctx, const std::string& row, Shape4 s, DType dtype, ops::ImageOrder order, double gflops) {
  ctx.force("depthwise", row);
  const bool nhwc = order == ops::ImageOrder::nhwc;
  const std::int64_t pad = s.k / 2;
  const auto prepared = ops::prepare_conv2d(ctx, random_tensor({s.c, 1, s.k, s.k}, DType::f32, 1), random_tensor({s.c}, DType::f32, 2),
                                            {.stride = {s.stride, s.stride}, .padding = {pad, pad, pad, pad}, .groups = s.c, .order = order}, dtype);
  const Tensor x = random_tensor(nhwc ? Shape{s.n, s.h, s.w, s.c} : Shape{s.n, s.c, s.h, s.w}, dtype, 3);
  Tensor y = ops::conv2d(ctx, x, prepared);
  double copy = copy_seconds(ctx, x, y);
  double best = 1e30;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    ops::conv2d(ctx, x, prepared, y);
    best = std::min(best, seconds(start));
  }
  copy = std::min(copy, copy_seconds(ctx, x, y));
  if (x.bytes() > y.bytes()) copy *= static_cast<double>(x.bytes() + y.bytes()) / static_cast<double>(2 * y.bytes());
  const double fma = 2e-9 * static_cast<double>(y.numel() * s.k * s.k) / gflops;
  const double floor = std::max(copy, fma);
  state.counters["best_us"] = best * 1e6;
  state.counters["copy_us"] = copy * 1e6;
  state.counters["fma_us"] = fma * 1e6;
  state.counters["ratio"] = best / floor;
  ctx.force("depthwise", "");
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0;
  std::string shapes = kStudy;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--threads="))
      threads = std::atoi(word.c_str() + 10);
    else if (word.starts_with("--shapes="))
      shapes = word.substr(9);
    else
      rest.push_back(argv[i]);
  }
  Context ctx({.threads = threads, .isa = {}});
  const double gflops = runtime::measure_ceilings(ctx).all.f32_gflops;
  for (const std::string& row : ops::runnable_rows(ctx, "depthwise"))
    for (const Shape4 s : shapes_of(shapes))
      for (const DType dtype : {DType::f32, DType::bf16})
        for (const ops::ImageOrder order : {ops::ImageOrder::nhwc, ops::ImageOrder::nchw}) {
          std::string name = row;
          for (const std::int64_t v : {s.n, s.h, s.w, s.c, s.k, s.stride}) name += (name == row ? "/" : "x") + std::to_string(v);
          name += dtype == DType::f32 ? "/f32" : "/bf16";
          name += order == ops::ImageOrder::nhwc ? "/nhwc" : "/nchw";
          benchmark::RegisterBenchmark(name.c_str(), [&ctx, row, s, dtype, order, gflops](benchmark::State& state) {
            run(state, ctx, row, s, dtype, order, gflops);
          })->UseRealTime();
        }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 1;
  benchmark::AddCustomContext("threads", std::to_string(ctx.threads()));
  benchmark::AddCustomContext("f32 peak GFLOP/s", std::to_string(gflops));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

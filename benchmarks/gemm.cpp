// linear at the sizes of tests/shapes/linear.txt, or at those given with --sizes=m,n,k;... Weights rotate through copies, so that they
// come from memory as they do in a network (--copies_mb=0: always the same ones). Counters: GFLOP/s, and the share of the FMA (or matrix
// unit) rate that a loop over registers reached in the same run.
//   bench_gemm [--threads=N] [--sizes=51,1024,4096;560,16384,2048] [--copies_mb=512] [--benchmark_...]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/ceilings.h"

namespace {

using namespace tessera;

struct Settings {
  int threads = 0;
  std::int64_t copies_mb = 512;
  std::string sizes;
};

struct Sizes {
  std::int64_t m, n, k;
};

std::vector<Sizes> sizes_of(const std::string& text, char separator) {
  std::vector<Sizes> all;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line, separator)) {
    line = line.substr(0, line.find('#'));
    for (char& c : line)
      if (c == ',') c = ' ';
    std::istringstream words(line);
    Sizes s{};
    if (words >> s.m >> s.n >> s.k) all.push_back(s);
  }
  return all;
}

Tensor random_tensor(const Shape& shape, unsigned seed) {
  Tensor t = Tensor::empty(shape, DType::f32);
  std::minstd_rand random(seed);
  for (float& v : t.span<float>()) v = static_cast<float>(random() % 2001) / 1000 - 1;
  return t;
}

void run(benchmark::State& state, Context& ctx, const std::string& row, DType precision, Sizes s, std::int64_t copies_mb, double ceiling) {
  ctx.force("linear", row);
  std::vector<ops::PreparedLinear> copies;
  const Tensor w = random_tensor({s.n, s.k}, 1);
  std::size_t bytes = 0;
  do {
    copies.push_back(ops::prepare_linear(ctx, {w, {}}, precision));
    bytes += copies.back().bytes();
  } while (bytes < static_cast<std::size_t>(copies_mb) << 20);
  const Tensor x = random_tensor({s.m, s.k}, 2);
  Tensor y = Tensor::empty({s.m, s.n}, precision == DType::f32 ? DType::f32 : DType::bf16);
  std::size_t i = 0;
  double best = 1e30;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    ops::linear(ctx, x, copies[i++ % copies.size()], {}, y);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  const double flops = 2.0 * static_cast<double>(s.m * s.n) * static_cast<double>(s.k);
  state.counters["best_us"] = best * 1e6;
  state.counters["best_GFLOPs"] = flops / best * 1e-9;
  state.counters["of_peak_%"] = flops / best * 1e-7 / ceiling;
  ctx.force("linear", "");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--threads="))
      settings.threads = std::atoi(word.c_str() + 10);
    else if (word.starts_with("--copies_mb="))
      settings.copies_mb = std::atoi(word.c_str() + 12);
    else if (word.starts_with("--sizes="))
      settings.sizes = word.substr(8);
    else
      rest.push_back(argv[i]);
  }
  std::vector<Sizes> sizes = sizes_of(settings.sizes, ';');
  if (settings.sizes.empty()) {
    std::ifstream file(TESSERA_SOURCE_DIR "/tests/shapes/linear.txt");
    std::stringstream text;
    text << file.rdbuf();
    sizes = sizes_of(text.str(), '\n');
  }
  Context ctx({.threads = settings.threads, .isa = {}});
  const runtime::Ceilings ceilings = runtime::measure_ceilings(ctx).all;
  for (const std::string& row : ops::runnable_rows(ctx, "linear")) {
    const DType precision = row.ends_with("f32") ? DType::f32 : row.ends_with("i8") ? DType::i8 : DType::bf16;
    const bool widened = precision == DType::bf16 && row != "amx_bf16" && row != "avx512_bf16";
    const double ceiling = ceilings.gflops(widened ? DType::f32 : precision);
    for (const Sizes s : sizes) {
      const std::string name = row + "/" + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
      benchmark::RegisterBenchmark(name.c_str(), [&ctx, row, precision, s, &settings, ceiling](benchmark::State& state) {
        run(state, ctx, row, precision, s, settings.copies_mb, ceiling);
      })->UseRealTime();
    }
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 1;
  benchmark::AddCustomContext("threads", std::to_string(ctx.threads()));
  benchmark::AddCustomContext("f32 peak GFLOP/s", std::to_string(ceilings.f32_gflops));
  benchmark::AddCustomContext("bf16 peak GFLOP/s", std::to_string(ceilings.bf16_gflops));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

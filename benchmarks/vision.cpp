// Serves vision cases one at a time, so that a script can take turns between this library and others: a line of key=value words in, one line of JSON
// out. A case is run warm for `seconds`; the answer holds the least and the median time of a call, the path taken, the time to move the same bytes
// (copy_us), and 16 elements of the result, so that the others can be checked to have computed the same. A line that is no case is answered with
// "error". tools/bench_vision.py is the script; docs/BENCHMARKS.md says what the cases are.
//   bench_vision [--threads=N] < cases      e.g. op=depthwise n=1 h=40 w=40 c=640 k=3 stride=1 dtype=f32 order=nhwc seconds=0.2
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/device/cpu.h"
#include "tessera/io/json.h"
#include "tessera/models/vision/classifier.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/pool.h"
#include "tessera/runtime/ceilings.h"

namespace {

using namespace tessera;
using Clock = std::chrono::steady_clock;
using io::Json;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The words of a line; every one must be asked for.
class Case {
 public:
  explicit Case(const std::string& line) {
    std::istringstream words(line);
    std::string word;
    while (words >> word) {
      const auto equals = word.find('=');
      if (equals == std::string::npos || equals == 0) fail_expected("case", "key=value words", "'" + word + "'");
      const std::string key = word.substr(0, equals);
      if (!values_.emplace(key, word.substr(equals + 1)).second) fail("case", "'" + key + "' stands twice");
    }
  }

  std::string text(const std::string& key) {
    const auto found = values_.find(key);
    if (found == values_.end()) fail_expected("case", "a word " + key + "=...", "none");
    asked_.push_back(key);
    return found->second;
  }
  std::string one_of(const std::string& key, const std::vector<std::string>& words) {
    const std::string got = text(key);
    std::string all;
    for (const std::string& word : words) {
      if (got == word) return got;
      all += (all.empty() ? "" : ", ") + word;
    }
    fail_expected("case", key + " as one of " + all, "'" + got + "'");
  }
  double number(const std::string& key, double lo, double hi) {
    const std::string got = text(key);
    char* end = nullptr;
    const double value = std::strtod(got.c_str(), &end);
    if (got.empty() || *end != '\0' || !(value >= lo && value <= hi))
      fail_expected("case", key + " from " + std::to_string(lo) + " to " + std::to_string(hi), "'" + got + "'");
    return value;
  }
  std::int64_t size(const std::string& key, std::int64_t lo = 1) {
    const double value = number(key, static_cast<double>(lo), 65536);
    if (value != static_cast<double>(static_cast<std::int64_t>(value))) fail_expected("case", key + " as a whole number", text(key));
    return static_cast<std::int64_t>(value);
  }
  bool has(const std::string& key) const { return values_.contains(key); }
  void finish() const {
    for (const auto& [key, value] : values_)
      if (std::ranges::find(asked_, key) == asked_.end()) fail("case", "nothing is known of '" + key + "'");
  }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> asked_;
};

/// Element i of the made-up tensor `seed`, in [-1, 1): the same formula as in tools/peers/serve.py, so that all compute the same.
float value_at(std::uint64_t i, std::uint32_t seed) {
  auto u = static_cast<std::uint32_t>(i) * 2654435761u + seed * 97531u;
  u ^= u >> 15;
  u *= 0x2c1b3ce5u;
  u ^= u >> 12;
  return static_cast<float>(u >> 8) * 0x1p-23f - 1;
}

void put(Tensor& t, std::int64_t i, float v) {
  if (t.dtype() == DType::bf16)
    t.data<bf16>()[i] = to_bf16(v);
  else
    t.data<float>()[i] = v;
}
float get(const Tensor& t, std::int64_t i) { return t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]; }

/// Where element i of a tensor in order n, c, h, w lies.
std::int64_t place(std::int64_t i, const ops::ImageSize& s, ops::ImageOrder order) {
  if (order == ops::ImageOrder::nchw) return i;
  const std::int64_t plane = s.h * s.w;
  const std::int64_t n = i / (s.c * plane);
  const std::int64_t c = i / plane % s.c;
  return (n * plane + i % plane) * s.c + c;
}

Tensor picture(const ops::ImageSize& s, ops::ImageOrder order, DType dtype) {
  const double elements = static_cast<double>(s.n) * static_cast<double>(s.c) * static_cast<double>(s.h) * static_cast<double>(s.w);
  if (elements > 0x1p28) fail_expected("case", "at most 2^28 elements", std::to_string(elements));
  Tensor t = Tensor::empty(order == ops::ImageOrder::nhwc ? Shape{s.n, s.h, s.w, s.c} : Shape{s.n, s.c, s.h, s.w}, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) put(t, place(i, s, order), value_at(static_cast<std::uint64_t>(i), 1));
  return t;
}

/// Least time to move the bytes of a call: as many as both tensors have are copied with the C library's copy (which streams past the caches when
/// that is worth it), what the input has beyond is read, what the output has beyond is written. On one thread, and on all where that is faster.
double move_seconds(Context& ctx, const Tensor& x, Tensor& y) {
  const auto* const from = static_cast<const char*>(x.raw());
  auto* const to = static_cast<char*>(y.raw());
  const std::size_t shared = std::min(x.bytes(), y.bytes());
  double best = 1e30;
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(ctx.threads()));
  for (const int threads : {1, ctx.threads()}) {
    const auto parts = static_cast<std::size_t>(threads == 1 ? 1 : 4 * threads);
    const auto part = [&](std::int64_t item, int thread) {
      const auto range = [&](std::size_t total, auto&& body) {
        const std::size_t first = static_cast<std::size_t>(item) * total / parts;
        body(first, (static_cast<std::size_t>(item) + 1) * total / parts - first);
      };
      range(shared, [&](std::size_t first, std::size_t count) { std::memcpy(to + first, from + first, count); });
      range(x.bytes() - shared, [&](std::size_t first, std::size_t count) {
        sums[static_cast<std::size_t>(thread)] ^= runtime::read_memory(ctx, from + shared + first, count);
      });
      range(y.bytes() - shared, [&](std::size_t first, std::size_t count) { std::memset(to + shared + first, 0, count); });
    };
    const auto begin = Clock::now();
    for (int round = 0; round < 3 || (round < 40 && seconds_since(begin) < 0.02); ++round) {
      const auto start = Clock::now();
      if (threads == 1)
        part(0, 0);
      else
        ctx.pool().parallel_for(static_cast<std::int64_t>(parts), part);
      best = std::min(best, seconds_since(start));
    }
    if (ctx.threads() == 1) break;
  }
  std::uint64_t all = 0;
  for (const std::uint64_t sum : sums) all ^= sum;
  asm volatile("" : : "r"(all), "r"(to) : "memory");  // nothing of it may be left out
  return best;
}

/// A case with its tensors, ready to be run.
struct Prepared {
  std::function<void()> call;
  std::string path;
  Tensor x;
  Tensor y;
  ops::ImageSize out;
  ops::ImageOrder order = ops::ImageOrder::nchw;
  bool floor = true;
};

DType dtype_of_case(Case& c) { return c.one_of("dtype", {"f32", "bf16"}) == "bf16" ? DType::bf16 : DType::f32; }
ops::ImageOrder order_of_case(Case& c) { return c.one_of("order", {"nhwc", "nchw"}) == "nhwc" ? ops::ImageOrder::nhwc : ops::ImageOrder::nchw; }
ops::ImageSize input_of_case(Case& c) { return {c.size("n"), c.size("h"), c.size("w"), c.size("c")}; }

ops::ImageSize sizes_of(const Shape& s, ops::ImageOrder order) {
  if (order == ops::ImageOrder::nhwc) return {s[0], s[1], s[2], s[3]};
  return {s[0], s[2], s[3], s[1]};
}

/// Depthwise, or as a dense convolution whose weights are zero off the diagonal.
Prepared convolution(Context& ctx, Case& c, bool dense) {
  const ops::ImageSize size = input_of_case(c);
  const std::int64_t k = c.size("k");
  const std::int64_t stride = c.size("stride");
  Prepared p;
  const DType dtype = dtype_of_case(c);
  p.order = order_of_case(c);
  c.finish();
  const std::int64_t pad = k / 2;
  const std::int64_t taps = k * k;
  const std::int64_t depth = dense ? size.c : 1;
  Tensor weight = Tensor::zeros({size.c, depth, k, k}, DType::f32);
  for (std::int64_t channel = 0; channel < size.c; ++channel)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      put(weight, (channel * depth + (dense ? channel : 0)) * taps + tap, 0.5f * value_at(static_cast<std::uint64_t>(channel * taps + tap), 2));
  const auto prepared = ops::prepare_conv2d(
      ctx, weight, {}, {.stride = {stride, stride}, .padding = {pad, pad, pad, pad}, .groups = dense ? 1 : size.c, .order = p.order}, dtype);
  p.x = picture(size, p.order, dtype);
  p.y = Tensor::empty(ops::conv2d_shape(p.x.shape(), prepared), dtype);
  p.out = sizes_of(p.y.shape(), p.order);
  p.path = std::string(prepared.path()) + ":" + std::string(prepared.row());
  p.call = [&ctx, prepared, x = p.x, y = p.y]() mutable { ops::conv2d(ctx, x, prepared, y); };
  return p;
}

template <class Options, class Op>
void pool_call(Context& ctx, Prepared& p, const Options& options, Op op) {
  p.y = Tensor::empty(ops::pool2d_shape(p.x, options), p.x.dtype());
  p.call = [&ctx, options, op, x = p.x, y = p.y]() mutable { op(ctx, x, options, y); };
}

/// Adaptive with oh and ow, plain with k, stride and pad.
Prepared pool(Context& ctx, Case& c) {
  const bool average = c.one_of("kind", {"avg", "max"}) == "avg";
  const ops::ImageSize size = input_of_case(c);
  Prepared p;
  const DType dtype = dtype_of_case(c);
  p.order = order_of_case(c);
  if (c.has("oh")) {
    const ops::AdaptivePool2d options{.output = {c.size("oh"), c.size("ow")}, .order = p.order};
    c.finish();
    p.x = picture(size, p.order, dtype);
    pool_call(ctx, p, options, [average](Context& context, const Tensor& x, const ops::AdaptivePool2d& o, Tensor& y) {
      average ? ops::adaptive_avg_pool2d(context, x, o, y) : ops::adaptive_max_pool2d(context, x, o, y);
    });
  } else {
    const std::int64_t k = c.size("k");
    const std::int64_t stride = c.size("stride");
    const std::int64_t pad = c.size("pad", 0);
    c.finish();
    p.x = picture(size, p.order, dtype);
    if (average)
      pool_call(ctx, p, ops::AvgPool2d{.kernel = {k, k}, .stride = {stride, stride}, .padding = {pad, pad, pad, pad}, .order = p.order},
                [](Context& context, const Tensor& x, const ops::AvgPool2d& o, Tensor& y) { ops::avg_pool2d(context, x, o, y); });
    else
      pool_call(ctx, p, ops::MaxPool2d{.kernel = {k, k}, .stride = {stride, stride}, .padding = {pad, pad, pad, pad}, .order = p.order},
                [](Context& context, const Tensor& x, const ops::MaxPool2d& o, Tensor& y) { ops::max_pool2d(context, x, o, y); });
  }
  p.out = sizes_of(p.y.shape(), p.order);
  ctx.profiler().start(64);
  p.call();
  ctx.profiler().stop();
  for (const runtime::ZoneRecord& zone : ctx.profiler().records())
    if (zone.depth == 0 && p.path.empty()) p.path = std::string(zone.op) + ":" + zone.path;
  ctx.profiler().clear();
  return p;
}

/// A classifier from a file or folder; f32 pictures in, f32 logits out, as `tessera classify` runs it.
Prepared network(Context& ctx, Case& c) {
  const std::string file = c.text("file");
  const std::int64_t batch = c.size("batch");
  const models::Precision precision = dtype_of_case(c) == DType::bf16 ? models::Precision::bf16 : models::Precision::f32;
  c.finish();
  const auto model = std::make_shared<models::Classifier>(models::Classifier::load(ctx, file, {.precision = precision, .labels = {}}));
  const std::int64_t side = model->config().image_size;
  Prepared p;
  p.x = picture({batch, side, side, 3}, ops::ImageOrder::nhwc, DType::f32);
  p.y = Tensor::empty({batch, model->classes()}, DType::f32);
  p.out = {batch, 1, 1, model->classes()};
  p.path = std::string(models::name(model->config().architecture));
  p.floor = false;
  p.call = [&ctx, model, x = p.x, y = p.y]() mutable { model->logits(ctx, x, y); };
  return p;
}

Prepared prepare(Context& ctx, Case& c) {
  const std::string op = c.one_of("op", {"ceilings", "depthwise", "dense", "pool", "network"});
  if (op == "pool") return pool(ctx, c);
  if (op == "network") return network(ctx, c);
  return convolution(ctx, c, op == "dense");
}

Json measure(Context& ctx, Prepared& p, double seconds) {
  Json answer;
  double move = p.floor ? move_seconds(ctx, p.x, p.y) : 0;
  const auto warm = Clock::now();
  for (int i = 0; i < 3 && (i < 1 || seconds_since(warm) < 0.5); ++i) p.call();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (times.size() < 3 || seconds_since(begin) < seconds) {
    const auto start = Clock::now();
    p.call();
    times.push_back(seconds_since(start));
  }
  std::ranges::sort(times);
  answer.set("min_us", times.front() * 1e6);
  answer.set("median_us", times[times.size() / 2] * 1e6);
  answer.set("calls", static_cast<std::int64_t>(times.size()));
  answer.set("path", p.path);
  Json check;
  for (std::int64_t j = 0; j < 16; ++j) check.push(static_cast<double>(get(p.y, place(j * 1000003 % p.y.numel(), p.out, p.order))));
  answer.set("check", check);
  if (p.floor) answer.set("copy_us", std::min(move, move_seconds(ctx, p.x, p.y)) * 1e6);
  return answer;
}

Json ceilings(Context& ctx) {
  const runtime::Ceilings all = runtime::measure_ceilings(ctx, 3).all;
  Json answer;
  answer.set("f32_gflops", all.f32_gflops);
  answer.set("bf16_gflops", all.bf16_gflops);
  answer.set("read_gbs", all.read_gbs);
  return answer;
}

Json greeting(const Context& ctx) {
  const device::Cpu& cpu = device::cpu();
  Json answer;
  answer.set("name", "tessera");
  answer.set("version", TESSERA_VERSION);
  answer.set("threads", ctx.threads());
  answer.set("isa", device::name(ctx.isa()));
  answer.set("cpu", cpu.model);
  answer.set("family", cpu.family);
  answer.set("model", cpu.model_number);
  answer.set("cores", cpu.cores);
  answer.set("l2", static_cast<std::int64_t>(cpu.l2));
  answer.set("l3", static_cast<std::int64_t>(cpu.l3));
  Json flags;
  for (const std::string& flag : cpu.flags) flags.push(flag);
  answer.set("flags", flags);
  return answer;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--threads=") || (threads = std::atoi(word.c_str() + 10)) < 1) {
      std::cerr << "bench_vision [--threads=N] < cases: expected N from 1, got '" << word << "'\n";
      return 2;
    }
  }
  try {
    Context ctx({.threads = threads, .isa = {}});
    std::cout << greeting(ctx).dump(-1) << std::endl;
    std::string held;  // the words of the case that is ready to be run, but for the seconds
    Prepared prepared;
    for (std::string line; std::getline(std::cin, line);) {
      if (line.empty()) continue;
      Json answer;
      try {
        Case c(line);
        if (c.has("op") && c.text("op") == "ceilings") {
          c.finish();
          answer = ceilings(ctx);
        } else {
          const double seconds = c.number("seconds", 0, 60);
          std::string words = line;
          words.erase(words.find("seconds="), c.text("seconds").size() + 8);
          if (words != held) {
            held.clear();
            prepared = {};
            prepared = prepare(ctx, c);
            held = words;
          }
          answer = measure(ctx, prepared, seconds);
        }
      } catch (const std::exception& e) {
        answer = Json();
        answer.set("error", e.what());
      }
      std::cout << answer.dump(-1) << std::endl;
    }
  } catch (const std::exception& e) {
    std::cerr << "bench_vision: " << e.what() << "\n";
    return 1;
  }
  return 0;
}

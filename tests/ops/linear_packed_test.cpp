// Prepared weights as bytes and back: the same results without a copy, and errors for bytes that are of another machine or size.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/linear.h"

namespace tessera {
namespace {

Tensor ramp(const Shape& shape, std::int64_t step) {
  Tensor t = Tensor::empty(shape, DType::f32);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i * step % 37 - 18) / 16;
  return t;
}

struct alignas(64) Line {
  std::byte bytes[64];
};
/// Somebody else's memory with the weights in it.
std::shared_ptr<std::vector<Line>> copy_of(const ops::PackedLinear& p) {
  auto memory = std::make_shared<std::vector<Line>>(p.weights.size() / sizeof(Line) + 1);
  std::memcpy(memory->data(), p.weights.data(), p.weights.size());
  return memory;
}

template <class Fn>
void expect_error(const std::string& part, Fn fn) {
  try {
    fn();
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("[from_packed]"), 0u) << e.what();
  }
}

TEST(LinearPacked, ComesBackTheSameOnEveryRow) {
  int rows = 0;
  for (const auto& row : kernels::gemm_rows()) {
    Context ctx({.threads = 2, .isa = {}});
    if (!ctx.allows(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    ++rows;
    ctx.force("linear", row.info.name);
    const Tensor x = ramp({5, 70}, 5);
    for (const bool gated : {false, true})
      for (const bool bias : {false, true}) {
        const ops::LinearPart part{ramp({67, 70}, 7), bias ? ramp({67}, 3) : Tensor()};
        const auto made =
            gated ? ops::prepare_gated_linear(ctx, part, part, row.functions.weights) : ops::prepare_linear(ctx, part, row.functions.weights);
        const ops::Linear options{.activation = gated ? ops::Activation::silu : ops::Activation::none, .residual = {}, .gate = {}};
        const Tensor wanted = ops::linear(ctx, x, made, options);
        ops::PackedLinear p = ops::packed(made);
        EXPECT_EQ(p.bias.empty(), !bias);
        ops::PreparedLinear back;
        {
          auto memory = copy_of(p);
          p.weights = {memory->data()->bytes, p.weights.size()};
          back = ops::from_packed(ctx, p, memory);
        }
        EXPECT_EQ(ops::packed(back).weights.data(), p.weights.data());  // where it was
        EXPECT_EQ(back.bytes(), made.bytes());
        EXPECT_EQ(back.row(), made.row());
        const Tensor got = ops::linear(ctx, x, back, options);
        EXPECT_EQ(std::memcmp(got.raw(), wanted.raw(), wanted.bytes()), 0);
      }
  }
  EXPECT_GE(rows, 2);
}

TEST(LinearPacked, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const auto made = ops::prepare_linear(ctx, {ramp({20, 30}, 1), ramp({20}, 1)}, DType::f32);
  const ops::PackedLinear good = ops::packed(made);
  const auto memory = copy_of(good);
  const std::span<const std::byte> bytes(memory->data()->bytes, good.weights.size());
  const auto with = [&](auto change) {
    ops::PackedLinear p = good;
    p.weights = bytes;
    change(p);
    return p;
  };
  using P = ops::PackedLinear;
  EXPECT_NO_THROW(ops::from_packed(ctx, with([](P&) {}), memory));
  expect_error("'no such row'", [&] { ops::from_packed(ctx, with([](P& p) { p.row = "no such row"; }), memory); });
  expect_error("aligned bytes", [&] { ops::from_packed(ctx, with([](P& p) { p.weights = p.weights.first(p.weights.size() - 64); }), memory); });
  expect_error("aligned bytes", [&] { ops::from_packed(ctx, with([](P& p) { p.weights = {p.weights.data() + 4, p.weights.size()}; }), memory); });
  expect_error("aligned bytes", [&] { ops::from_packed(ctx, with([](P& p) { p.k = 3000; }), memory); });
  expect_error("aligned bytes", [&] { ops::from_packed(ctx, with([](P& p) { p.gated = true; }), memory); });
  expect_error("a bias of", [&] { ops::from_packed(ctx, with([](P& p) { p.bias = p.bias.first(1); }), memory); });
  expect_error("fit a memory", [&] { ops::from_packed(ctx, with([](P& p) { p.n = p.k = std::int64_t{1} << 31; }), memory); });
  const auto int8 = ops::prepare_linear(ctx, {ramp({20, 30}, 1), {}}, DType::i8);
  ops::PackedLinear deep = ops::packed(int8);
  deep.k = kernels::kGemmMostInt8Depth + 1;
  expect_error("for int8", [&] { ops::from_packed(ctx, deep, memory); });
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, INT64_MAX}) {
    expect_error("n and k", [&] { ops::from_packed(ctx, with([&](P& p) { p.n = size; }), memory); });
    expect_error("n and k", [&] { ops::from_packed(ctx, with([&](P& p) { p.k = size; }), memory); });
  }
  if (made.row() != "scalar_f32") {
    Context capped({.threads = 1, .isa = "scalar"});
    expect_error("which needs", [&] { ops::from_packed(capped, with([](P&) {}), memory); });
  }
  EXPECT_THROW(ops::packed({}), Error);
}

}  // namespace
}  // namespace tessera

// int8: near f32, and matrices that it would hurt are told and kept in bf16.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/small_model.h"

namespace tessera::models {
namespace {

/// Another source's weights, with one number of one tensor changed.
class Changed : public WeightSource {
 public:
  Changed(std::shared_ptr<const WeightSource> source, std::string name, float value)
      : source_(std::move(source)), name_(std::move(name)), value_(value) {}
  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return source_->tensors(); }
  std::string where() const override { return source_->where(); }
  Tensor load(std::string_view name) const override {
    Tensor t = source_->load(name);
    if (name == name_) t.data<float>()[1] = value_;
    return t;
  }

 private:
  std::shared_ptr<const WeightSource> source_;
  std::string name_;
  float value_;
};

class Pi0Int8 : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Families, Pi0Int8, testing::Bool(), [](const auto& info) { return info.param ? "pi05" : "pi0"; });

double correlation(const Tensor& a, const Tensor& b) {
  const auto n = static_cast<double>(a.numel());
  double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data<float>()[i], y = b.data<float>()[i];
    sa += x, sb += y, saa += x * x, sbb += y * y, sab += x * y;
  }
  return (n * sab - sa * sb) / std::sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
}

TEST_P(Pi0Int8, StaysNearF32) {
  const Pi0Config config = small_config(GetParam());
  const auto source = random_weights(config, 11, DType::f32);
  Context ctx({.threads = 2, .isa = {}});
  const Pi0Inputs in = small_inputs(config);
  const Tensor noise = make_noise(config, 5);
  const Tensor f32 = sample(ctx, Pi0::load(ctx, source, config, Precision::f32), in, noise);
  const Pi0 model = Pi0::load(ctx, source, config, Precision::int8);
  EXPECT_EQ(model.precision(), Precision::int8);
  EXPECT_TRUE(model.int8_exceptions().empty());
  const Tensor int8 = sample(ctx, model, in, noise);
  // Each of some forty products in a row is off by about 1 % of its scale, at random.
  EXPECT_GT(correlation(f32, int8), 0.999);
  EXPECT_LT(correlation(f32, int8), 1.0);
}

TEST_P(Pi0Int8, MatricesWithOutliersStayBf16AndAreNamed) {
  const Pi0Config config = small_config(GetParam());
  const std::string name = "paligemma_with_expert.gemma_expert.model.layers.1.mlp.down_proj";
  const auto source = std::make_shared<Changed>(random_weights(config, 11, DType::f32), name + ".weight", 40.0f);
  Context ctx({.threads = 2, .isa = {}});
  const Pi0 model = Pi0::load(ctx, source, config, Precision::int8);
  ASSERT_EQ(model.int8_exceptions().size(), 1u);
  EXPECT_EQ(model.int8_exceptions()[0].name, name);
  EXPECT_GT(model.int8_exceptions()[0].error, kMostInt8Error);
  EXPECT_TRUE(Pi0::load(ctx, source, config, Precision::bf16).int8_exceptions().empty());
  const auto found = int8_exceptions(ctx, *source, config);  // without packing
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, name);
  EXPECT_EQ(found[0].error, model.int8_exceptions()[0].error);
}

TEST_P(Pi0Int8, AllPartsOfAProductStayBf16WithOne) {
  const Pi0Config config = small_config(GetParam());
  const std::string layer = "paligemma_with_expert.gemma_expert.model.layers.1.";
  const auto source = std::make_shared<Changed>(random_weights(config, 11, DType::f32), layer + "self_attn.k_proj.weight", 40.0f);
  const auto both = std::make_shared<Changed>(source, layer + "mlp.up_proj.weight", 40.0f);
  Context ctx({.threads = 2, .isa = {}});
  const auto made = Pi0::load(ctx, both, config, Precision::int8).int8_exceptions();
  const auto found = int8_exceptions(ctx, *both, config);
  const std::vector<std::string> wanted = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"};
  ASSERT_EQ(made.size(), wanted.size());
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(made[i].name, layer + wanted[i]);
    EXPECT_EQ(found[i].name, layer + wanted[i]);
    EXPECT_EQ(found[i].error, made[i].error);
  }
}

}  // namespace
}  // namespace tessera::models

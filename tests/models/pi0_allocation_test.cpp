// After the first call nothing is allocated: every operator new of the program is counted.
#include <gtest/gtest.h>

#include "tests/models/small_model.h"
#include "tests/reference/allocations.h"

namespace tessera::models {
namespace {

TEST(Pi0Allocation, NothingAfterTheFirstCall) {
  for (const bool pi05 : {false, true})
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const Pi0Config config = small_config(pi05);
      Context ctx({.threads = 3, .isa = ""});
      const Pi0 model = Pi0::load(ctx, random_weights(config, 1, DType::bf16), config, precision);
      const Pi0Inputs in = small_inputs(config, {true, true, true});
      const Tensor noise = make_noise(config, 1);
      PrefixCache cache;
      Tensor actions;
      SampleOptions plain;
      SampleOptions guided;
      guided.rtc.emplace();
      guided.rtc->previous = make_noise(config, 2).narrow(0, 4);
      SampleOptions trained = guided;
      trained.rtc->mode = RtcMode::trained;
      trained.rtc->inference_delay = 2;
      const auto call = [&] {
        model.encode_images(ctx, in, cache);
        model.encode_prefix(ctx, in, cache);
        model.denoise(ctx, cache, in, noise, plain, actions);
        model.denoise(ctx, cache, in, noise, guided, actions);
        if (pi05) model.denoise(ctx, cache, in, noise, trained, actions);
      };
      const long before = reference::allocation_count;
      call();
      EXPECT_GT(reference::allocation_count, before) << "the counter counts nothing";
      const long after = reference::allocation_count;
      for (int i = 0; i < 3; ++i) call();
      EXPECT_EQ(reference::allocation_count, after) << (pi05 ? "pi0.5 " : "pi0 ") << name(precision);
    }
}

}  // namespace
}  // namespace tessera::models

#include "tessera/runtime/context.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "tessera/core/error.h"

namespace tessera {
namespace {

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(Context, CapOnlyLowers) {
  const Context scalar({.threads = 1, .isa = "scalar"});
  EXPECT_TRUE(scalar.allows(device::Isa::scalar));
  EXPECT_FALSE(scalar.allows(device::Isa::avx2));
  EXPECT_FALSE(scalar.allows(device::Isa::neon));
  const Context best({.threads = 1, .isa = {}});
  EXPECT_EQ(best.isa(), device::cpu().usable.back());
  for (const device::Isa isa : device::all_isas()) EXPECT_EQ(best.allows(isa), device::usable(isa));
  for (const device::Isa isa : device::all_isas()) {
    if (!device::usable(isa)) {
      EXPECT_THROW(Context({.threads = 1, .isa = std::string(device::name(isa))}), Error);
    }
  }
  EXPECT_THROW(Context({.threads = 1, .isa = "sse9"}), Error);
}

TEST(Context, EnvironmentIsReadAndChecked) {
  {
    const Variable isa("TESSERA_ISA", "scalar");
    const Variable threads("TESSERA_THREADS", "3");
    const Context ctx;
    EXPECT_EQ(ctx.isa(), device::Isa::scalar);
    EXPECT_EQ(ctx.threads(), 3);
    EXPECT_EQ(Context({.threads = 2, .isa = {}}).threads(), 2);  // an option goes before the environment
  }
  for (const char* word : {"0", "-1", "x", "3x", "100000"}) {
    const Variable threads("TESSERA_THREADS", word);
    EXPECT_THROW(Context(), Error) << word;
  }
  EXPECT_THROW(Context({.threads = -1, .isa = {}}), Error);
}

TEST(Context, ForcedRowsAreKeptUntilLifted) {
  Context ctx({.threads = 1, .isa = {}});
  EXPECT_EQ(ctx.forced("linear"), "");
  ctx.force("linear", "scalar");
  ctx.force("norm", "avx2");
  ctx.force("linear", "avx2");
  EXPECT_EQ(ctx.forced("linear"), "avx2");
  ctx.force("linear", "");
  EXPECT_EQ(ctx.forced("linear"), "");
  EXPECT_EQ(ctx.forced("norm"), "avx2");
}

TEST(Context, EveryThreadHasItsOwnScratch) {
  Context ctx({.threads = 3, .isa = {}});
  EXPECT_NE(&ctx.workspace(), &ctx.scratch(0));
  EXPECT_NE(&ctx.scratch(0), &ctx.scratch(2));
}

TEST(Context, EachAloneRunsEveryItemOnceOnAContextOfOneThread) {
  for (const int threads : {1, 3}) {
    Context ctx({.threads = threads, .isa = "scalar"});
    ctx.force("norm", "scalar");
    std::array<std::atomic<int>, 20> calls{};
    std::atomic<int> wrong{0};
    ctx.each_alone(20, [&](Context& alone, std::int64_t i) {
      ++calls[static_cast<std::size_t>(i)];
      if (alone.threads() != 1 || alone.isa() != device::Isa::scalar || alone.forced("norm") != "scalar") ++wrong;
    });
    for (const std::atomic<int>& count : calls) EXPECT_EQ(count, 1) << threads;
    EXPECT_EQ(wrong, 0) << threads;
    ctx.force("norm", "");
    ctx.each_alone(1, [&](Context& alone, std::int64_t) { EXPECT_EQ(alone.forced("norm"), ""); });
    ctx.each_alone(0, [](Context&, std::int64_t) { ADD_FAILURE() << "there is no item"; });
  }
}

TEST(Context, EachAloneThrowsWhatAnItemThrew) {
  for (const int threads : {1, 3}) {
    Context ctx({.threads = threads, .isa = {}});
    const auto throws = [](Context&, std::int64_t i) {
      if (i == 5) fail("test", "item 5");
    };
    EXPECT_THROW(ctx.each_alone(8, throws), Error) << threads;
    int calls = 0;
    ctx.each_alone(1, [&](Context&, std::int64_t) { ++calls; });  // and serves the next call
    EXPECT_EQ(calls, 1) << threads;
  }
}

}  // namespace
}  // namespace tessera

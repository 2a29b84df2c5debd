#include "tessera/runtime/context.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace tessera

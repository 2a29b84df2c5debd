#include "tessera/device/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace tessera::device {
namespace {

/// The kernel's own list of features: it shows what it has enabled as well.
std::string system_flags() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("flags") || line.starts_with("Features")) return line + " ";
  return {};
}

bool system_has(std::initializer_list<const char*> flags) {
  const std::string all = system_flags();
  return std::ranges::all_of(flags, [&](const char* f) { return all.find(" " + std::string(f) + " ") != std::string::npos; });
}

TEST(Cpu, AgreesWithTheSystem) {
  ASSERT_FALSE(system_flags().empty());
#if defined(__x86_64__)
  EXPECT_EQ(usable(Isa::avx2), system_has({"avx2", "fma", "f16c", "bmi1", "bmi2"}));
  EXPECT_EQ(usable(Isa::avx512), system_has({"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"}));
  EXPECT_EQ(usable(Isa::avx512_bf16), system_has({"avx512f", "avx512_vnni", "avx512_bf16"}));
  if (!system_has({"amx_tile", "amx_bf16", "amx_int8"}))
    EXPECT_FALSE(usable(Isa::amx));
  else
    EXPECT_TRUE(usable(Isa::amx) || !cpu().amx_note.empty());
  EXPECT_FALSE(usable(Isa::neon));
#else
  EXPECT_TRUE(usable(Isa::neon));
  EXPECT_FALSE(usable(Isa::avx2));
#endif
}

TEST(Cpu, AlwaysHasScalarFirstAndRisesFromThere) {
  const auto& levels = cpu().usable;
  ASSERT_FALSE(levels.empty());
  EXPECT_EQ(levels.front(), Isa::scalar);
  EXPECT_TRUE(std::ranges::is_sorted(levels));
  EXPECT_GE(cpu().cores, 1);
}

TEST(Cpu, NamesComeBack) {
  for (const Isa isa : all_isas()) EXPECT_EQ(parse_isa(name(isa)), isa);
  EXPECT_FALSE(parse_isa("avx4096"));
  EXPECT_FALSE(parse_isa(""));
}

}  // namespace
}  // namespace tessera::device

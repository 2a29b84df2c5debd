// What the processor has: instruction sets that may really be used (CPUID, XCR0 and, for AMX, the kernel's permission), cores and caches.
// May not run arithmetic or read settings. Test: tests/device/cpu_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::device {

/// Instruction-set levels that kernel rows ask for. On x86 each level includes the ones before it (neon stands beside them, on Arm).
enum class Isa : std::uint8_t { scalar, neon, avx2, avx512, avx512_vnni, avx512_bf16, amx };

std::string_view name(Isa isa);
/// "scalar", "neon", "avx2", ... ; nothing for another word.
std::optional<Isa> parse_isa(std::string_view word);
/// All levels, lowest first.
std::span<const Isa> all_isas();

struct Cpu {
  std::string model;   // "AMD EPYC ..." as the processor names itself
  std::string vendor;  // "AuthenticAMD", "GenuineIntel", "ARM", ...
  int family = 0;
  int model_number = 0;
  int cores = 1;        // logical processors that this process may use (affinity)
  std::size_t l1d = 0;  // bytes per core; 0 when unknown
  std::size_t l2 = 0;
  std::size_t l3 = 0;              // bytes, shared
  std::vector<std::string> flags;  // the feature names that were found and that a row could need
  std::vector<Isa> usable;         // lowest first; always contains scalar
  std::string amx_note;            // why AMX is not usable, when the processor has it but the system withholds it
};

/// Detected once per process. Thread-safe.
const Cpu& cpu();

/// True when this machine can execute code compiled for `isa`.
bool usable(Isa isa);

}  // namespace tessera::device

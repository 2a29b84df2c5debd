#include "tessera/device/cpu.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tessera::device {
namespace {

constexpr std::array kIsas = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::avx512_bf16, Isa::amx};

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Sizes as the kernel reports them ("32K"); absent in some containers, then 0.
void read_caches(Cpu& cpu) {
  for (int i = 0; i < 8; ++i) {
    const std::string base = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string level = line_of(base + "level");
    if (level.empty()) break;
    const std::string size = line_of(base + "size");
    std::size_t bytes = 0;
    for (const char c : size) {
      if (c >= '0' && c <= '9') bytes = bytes * 10 + static_cast<std::size_t>(c - '0');
      if (c == 'K') bytes <<= 10;
      if (c == 'M') bytes <<= 20;
    }
    if (level == "1" && line_of(base + "type") != "Instruction") cpu.l1d = bytes;
    if (level == "2") cpu.l2 = bytes;
    if (level == "3") cpu.l3 = bytes;
  }
}

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned sub = 0) {
  Registers r;
  __get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d);
  return r;
}

std::uint64_t xcr0() {
  std::uint32_t lo = 0;
  std::uint32_t hi = 0;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (std::uint64_t{hi} << 32) | lo;
}

// Linux hands out AMX tile state on request only (arch_prctl ARCH_REQ_XCOMP_PERM, feature 18).
bool amx_permitted() {
  constexpr int kRequestPermission = 0x1023;
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

void detect_x86(Cpu& cpu) {
  std::array<char, 13> vendor{};
  const Registers zero = cpuid(0);
  std::memcpy(vendor.data(), &zero.b, 4);
  std::memcpy(vendor.data() + 4, &zero.d, 4);
  std::memcpy(vendor.data() + 8, &zero.c, 4);
  cpu.vendor = vendor.data();

  if (cpuid(0x80000000u).a >= 0x80000004u) {
    std::array<char, 49> brand{};
    for (unsigned i = 0; i < 3; ++i) {
      const Registers r = cpuid(0x80000002u + i);
      std::memcpy(brand.data() + i * 16, &r, 16);
    }
    cpu.model = brand.data();
    while (!cpu.model.empty() && cpu.model.back() == ' ') cpu.model.pop_back();
  }

  const Registers one = cpuid(1);
  const int base_family = static_cast<int>((one.a >> 8) & 15);
  cpu.family = base_family + (base_family == 15 ? static_cast<int>((one.a >> 20) & 255) : 0);
  cpu.model_number = static_cast<int>(((one.a >> 4) & 15) | ((base_family == 6 || base_family == 15) ? ((one.a >> 16) & 15) << 4 : 0));

  const Registers seven = cpuid(7, 0);
  const Registers seven_one = cpuid(7, 1);
  const Registers extended = cpuid(0x80000001u);
  const auto bit = [](unsigned word, int i) { return ((word >> i) & 1u) != 0; };

  // The system must save the registers as well: XCR0 bits 1-2 for AVX, 5-7 for AVX-512, 17-18 for AMX.
  const std::uint64_t state = bit(one.c, 27) ? xcr0() : 0;
  const bool os_avx = (state & 0x6) == 0x6;
  const bool os_avx512 = (state & 0xe6) == 0xe6;
  const bool os_amx = (state & 0x60000) == 0x60000;

  struct Flag {
    const char* name;
    bool on;
  };
  // Every feature that a row's code may contain: the lists of Highway's AVX2 and AVX3 targets, and of the hand-written rows.
  const Flag avx2[] = {{"sse4.1", bit(one.c, 19)},        {"sse4.2", bit(one.c, 20)},
                       {"pclmul", bit(one.c, 1)},         {"aes", bit(one.c, 25)},
                       {"avx", bit(one.c, 28) && os_avx}, {"f16c", bit(one.c, 29)},
                       {"fma", bit(one.c, 12)},           {"lzcnt", bit(extended.c, 5)},
                       {"bmi", bit(seven.b, 3)},          {"avx2", bit(seven.b, 5) && os_avx},
                       {"bmi2", bit(seven.b, 8)}};
  const Flag avx512[] = {{"avx512f", bit(seven.b, 16) && os_avx512},
                         {"avx512vl", bit(seven.b, 31) && os_avx512},
                         {"avx512dq", bit(seven.b, 17) && os_avx512},
                         {"avx512bw", bit(seven.b, 30) && os_avx512},
                         {"avx512cd", bit(seven.b, 28) && os_avx512}};
  const Flag vnni = {"avx512_vnni", bit(seven.c, 11) && os_avx512};
  const Flag bf16 = {"avx512_bf16", bit(seven_one.a, 5) && os_avx512};
  const bool has_amx = bit(seven.d, 22) && bit(seven.d, 24) && bit(seven.d, 25);

  const auto all = [&](const auto& flags) {
    bool ok = true;
    for (const Flag& f : flags) {
      ok = ok && f.on;
      if (f.on) cpu.flags.emplace_back(f.name);
    }
    return ok;
  };
  const bool have_avx2 = all(avx2);
  const bool have_avx512 = all(avx512) && have_avx2;
  if (vnni.on) cpu.flags.emplace_back(vnni.name);
  if (bf16.on) cpu.flags.emplace_back(bf16.name);
  if (has_amx) cpu.flags.emplace_back("amx");

  if (have_avx2) cpu.usable.push_back(Isa::avx2);
  if (have_avx512) cpu.usable.push_back(Isa::avx512);
  if (have_avx512 && vnni.on) cpu.usable.push_back(Isa::avx512_vnni);
  if (have_avx512 && vnni.on && bf16.on) cpu.usable.push_back(Isa::avx512_bf16);
  if (has_amx) {
    if (!os_amx)
      cpu.amx_note = "the system does not save AMX registers (XCR0)";
    else if (!amx_permitted())
      cpu.amx_note = "the kernel refused permission to use AMX tiles (arch_prctl)";
    else if (have_avx512 && vnni.on && bf16.on)
      cpu.usable.push_back(Isa::amx);
  }
}

#endif

Cpu detect() {
  Cpu cpu;
  cpu.cores = available_cores();
  cpu.usable.push_back(Isa::scalar);
  read_caches(cpu);
#if defined(__x86_64__)
  detect_x86(cpu);
#elif defined(__aarch64__)
  cpu.vendor = "ARM";
  cpu.model = "AArch64";
  cpu.flags.emplace_back("neon");  // part of the base architecture
  cpu.usable.push_back(Isa::neon);
#endif
  return cpu;
}

}  // namespace

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::neon: return "neon";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512_vnni: return "avx512_vnni";
    case Isa::avx512_bf16: return "avx512_bf16";
    case Isa::amx: return "amx";
  }
  return "?";
}

std::optional<Isa> parse_isa(std::string_view word) {
  for (const Isa isa : kIsas)
    if (name(isa) == word) return isa;
  return std::nullopt;
}

std::span<const Isa> all_isas() { return kIsas; }

const Cpu& cpu() {
  static const Cpu kCpu = detect();
  return kCpu;
}

bool usable(Isa isa) { return std::ranges::find(cpu().usable, isa) != cpu().usable.end(); }

}  // namespace tessera::device

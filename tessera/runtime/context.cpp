#include "tessera/runtime/context.h"

#include <algorithm>
#include <cstdlib>

#include "tessera/core/error.h"

namespace tessera::runtime {
namespace {

// The library's only two environment variables are read here.
std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

int resolve_threads(int threads) {
  if (threads > 0) return threads;
  if (threads < 0) fail_expected("context", "0 (automatic) or a positive number of threads", std::to_string(threads));
  const std::string word = environment("TESSERA_THREADS");
  if (word.empty()) return device::cpu().cores;
  char* end = nullptr;
  const long value = std::strtol(word.c_str(), &end, 10);
  if (*end != '\0' || value < 1 || value > 1024) fail_expected("context", "TESSERA_THREADS to be 1 to 1024", "'" + word + "'");
  return static_cast<int>(value);
}

device::Isa resolve_isa(const std::string& option) {
  const std::string word = option.empty() ? environment("TESSERA_ISA") : option;
  const std::vector<device::Isa>& usable = device::cpu().usable;
  if (word.empty()) return usable.back();
  std::string choices;
  for (const device::Isa isa : usable) choices.append(choices.empty() ? "" : ", ").append(device::name(isa));
  const auto isa = device::parse_isa(word);
  if (!isa || std::ranges::find(usable, *isa) == usable.end())
    fail_expected("context", "an instruction set that this machine has (" + choices + ")", "'" + word + "'",
                  "TESSERA_ISA and the isa option may only lower it");
  return *isa;
}

}  // namespace

Context::Context(const ContextOptions& options) : cap_(resolve_isa(options.isa)), pool_(resolve_threads(options.threads)) {
  workspaces_.reserve(static_cast<std::size_t>(pool_.threads()) + 1);
  for (int i = 0; i <= pool_.threads(); ++i) workspaces_.push_back(std::make_unique<Workspace>());
  for (int i = 0; pool_.threads() > 1 && i < pool_.threads(); ++i)
    alone_.push_back(std::make_unique<Context>(ContextOptions{.threads = 1, .isa = std::string(device::name(cap_))}));
}

bool Context::allows(device::Isa isa) const noexcept { return isa <= cap_ && device::usable(isa); }

void Context::force(std::string_view family, std::string_view row) {
  const auto same = [&](const auto& entry) { return entry.first == family; };
  const auto found = std::ranges::find_if(forced_, same);
  if (row.empty()) {
    if (found != forced_.end()) forced_.erase(found);
  } else if (found != forced_.end()) {
    found->second = row;
  } else {
    forced_.emplace_back(family, row);
  }
  for (const std::unique_ptr<Context>& context : alone_) context->force(family, row);
}

std::string_view Context::forced(std::string_view family) const noexcept {
  for (const auto& [name, row] : forced_)
    if (name == family) return row;
  return {};
}

}  // namespace tessera::runtime

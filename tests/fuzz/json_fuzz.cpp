// Any bytes are JSON or an Error; what was read can be written, and reads again as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/io/json.h"

using tessera::io::Json;

namespace {

void walk(const Json& json) {
  const std::string where = json.where();
  if (!where.starts_with("fuzz")) std::abort();
  for (const char c : where)
    if (static_cast<unsigned char>(c) < 32) std::abort();
  try {
    (void)json.integer(-5, 5);
  } catch (const tessera::Error&) {
  }
  if (json.is_array())
    for (const Json& item : json.array()) walk(item);
  if (json.is_object())
    for (const auto& [key, value] : json.object()) {
      if (&json.at(key) != &value) std::abort();
      walk(value);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const Json json = Json::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    walk(json);
    for (const int indent : {-1, 2}) {
      const std::string text = json.dump(indent);
      if (Json::parse(text, "fuzz").dump(indent) != text) std::abort();
    }
  } catch (const tessera::Error& e) {
    for (const char c : std::string_view(e.what()))
      if (static_cast<unsigned char>(c) < 32) std::abort();
  }
  return 0;
}

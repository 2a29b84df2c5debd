#include "tessera/core/error.h"

namespace tessera {
namespace {

std::string message_of(std::string_view where, std::string_view message) {
  std::string text;
  text.reserve(where.size() + message.size() + 3);
  text.append("[").append(where).append("] ").append(message);
  return text;
}

}  // namespace

Error::Error(std::string_view where, std::string_view message) : std::runtime_error(message_of(where, message)), where_(where) {}

void fail(std::string_view where, std::string_view message) { throw Error(where, message); }

void fail_expected(std::string_view where, std::string_view expected, std::string_view got, std::string_view hint) {
  std::string text;
  text.append("expected ").append(expected).append(", got ").append(got);
  if (!hint.empty()) text.append("; ").append(hint);
  throw Error(where, text);
}

}  // namespace tessera

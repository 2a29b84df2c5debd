// The one exception of the library, and the one form of its message: "[where] expected X, got Y".
// May not format numbers with third-party types in this header. Test: tests/core/tensor_test.cpp.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace tessera {

/// Everything that a caller, a file or a client got wrong. `what()` is one line: "[where] message".
class Error : public std::runtime_error {
 public:
  /// `where`: an op ("linear"), a reader ("safetensors") or a file path; `message`: one sentence, no full stop.
  Error(std::string_view where, std::string_view message);
  const std::string& where() const noexcept { return where_; }

 private:
  std::string where_;
};

/// Throws Error(where, message). For sites that have formatted their own message.
[[noreturn]] void fail(std::string_view where, std::string_view message);

/// Throws "[where] expected E, got G" and, when a hint is given, "; hint".
[[noreturn]] void fail_expected(std::string_view where, std::string_view expected, std::string_view got, std::string_view hint = {});

}  // namespace tessera

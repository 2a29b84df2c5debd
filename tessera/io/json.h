// JSON as a value with errors that name the file and the key. Parsing rests on nlohmann-json, which does not show here.
// May not know what any key means. Test: tests/io/json_test.cpp; fuzzer: tests/fuzz/json_fuzz.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tessera::io {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in file order
  enum class Kind : std::uint8_t { null, boolean, integer, number, string, array, object };

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<std::int64_t>(value)) {}
  Json(std::int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  /// Throws Error: "[where] ..." with line and column on malformed text, invalid UTF-8, or a number beyond double; with the path of the value
  /// on a key that stands twice in its object and nesting beyond 64; on more than 2^23 values. Integers beyond 64 bits become numbers.
  static Json parse(std::string_view text, std::string_view where);
  /// A file of at most 64 MiB. Throws Error as read_text and parse do.
  static Json read(const std::filesystem::path& path);
  /// Two-space indentation; indent < 0: one line. NaN and infinities are written as null. Numbers keep 17 digits where needed.
  std::string dump(int indent = 2) const;

  Kind kind() const noexcept;
  bool is_null() const noexcept { return kind() == Kind::null; }
  bool is_object() const noexcept { return kind() == Kind::object; }
  bool is_array() const noexcept { return kind() == Kind::array; }
  bool is_string() const noexcept { return kind() == Kind::string; }
  bool is_number() const noexcept { return kind() == Kind::number || kind() == Kind::integer; }

  /// "config.json: vision.hidden": where this value stands, for messages. Empty for values made in code.
  std::string where() const;

  // Typed access; each throws Error "[where] expected a string, got 3" when the kind is another.
  bool boolean() const;
  /// Integers, and numbers with an integral value. Throws outside [lo, hi].
  std::int64_t integer(std::int64_t lo = INT64_MIN, std::int64_t hi = INT64_MAX) const;
  double number() const;
  const std::string& string() const;
  const Array& array() const;
  const Object& object() const;
  std::vector<double> numbers() const;       // an array of numbers
  std::vector<std::string> strings() const;  // an array of strings

  /// Member of an object. at() throws Error naming the missing key; find() answers null pointer when absent or null. Both look at one member
  /// after the other: to read all of a large object, walk object().
  const Json& at(std::string_view key) const;
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Adds or replaces a member (this must be null or an object).
  Json& set(std::string_view key, Json value);
  void push(Json value);  // this must be null or an array

 private:
  class Builder;
  struct Origin;  // the text that a parsed value came from, and its place in it

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
  std::shared_ptr<const Origin> origin_;
  std::uint32_t place_ = 0;
};

}  // namespace tessera::io

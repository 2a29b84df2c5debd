#include "tessera/io/json.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/quote.h"

namespace tessera::io {
namespace {

constexpr std::size_t kMaxDepth = 64;
// A value costs 80 bytes where the text may have 2 ("0,"), so a limit on the text alone would let a small file take gigabytes.
constexpr std::size_t kMaxValues = std::size_t{1} << 23;
constexpr std::size_t kMaxKeyBytes = std::size_t{1} << 31;  // places hold 32-bit offsets
constexpr std::uint32_t kNoParent = UINT32_MAX;

std::string_view kind_name(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::null: return "null";
    case Json::Kind::boolean: return "true or false";
    case Json::Kind::integer: return "an integer";
    case Json::Kind::number: return "a number";
    case Json::Kind::string: return "a string";
    case Json::Kind::array: return "an array";
    case Json::Kind::object: return "an object";
  }
  return "?";
}

}  // namespace

// Places are kept once per text, not per value: a value knows its number, the origin knows whose child that is and under which key.
struct Json::Origin {
  struct Place {
    std::uint32_t parent;
    std::uint32_t key_begin;  // in `keys`; for an element of an array the index stands in key_end
    std::uint32_t key_end;
    bool element;
  };
  std::string name;
  std::string keys;
  std::vector<Place> places;

  std::string text(std::uint32_t place) const {
    std::string path;
    for (std::uint32_t p = place; p < places.size() && places[p].parent != kNoParent; p = places[p].parent) {
      const Place& at = places[p];
      std::string step =
          at.element ? fmt::format("[{}]", at.key_end) : printable(std::string_view(keys).substr(at.key_begin, at.key_end - at.key_begin), 80);
      if (!path.empty() && path.front() != '[') step.push_back('.');
      path.insert(0, step);
    }
    return path.empty() ? name : fmt::format("{}: {}", name, path);
  }
};

/// Receives nlohmann's events and builds our tree; throws Error at the first thing that is wrong.
class Json::Builder {
 public:
  explicit Builder(std::string_view name) : origin_(std::make_shared<Origin>()) {
    origin_->name = name;
    stack_.reserve(kMaxDepth);
  }

  Json result() { return std::move(root_); }

  bool null() { return value(Json()); }
  bool boolean(bool v) { return value(Json(v)); }
  bool number_integer(std::int64_t v) { return value(Json(v)); }
  bool number_unsigned(std::uint64_t v) {
    return v <= static_cast<std::uint64_t>(INT64_MAX) ? value(Json(static_cast<std::int64_t>(v))) : value(Json(static_cast<double>(v)));
  }
  bool number_float(double v, const std::string&) { return value(Json(v)); }
  bool string(std::string& v) { return value(Json(std::move(v))); }
  bool binary(nlohmann::json::binary_t&) { fail(origin_->name, "binary values are not JSON"); }
  bool start_object(std::size_t) { return open(Json(Object())); }
  bool end_object() {
    check_keys(stack_.back().value);
    return close();
  }
  bool start_array(std::size_t) { return open(Json(Array())); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    stack_.back().key = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) {
    // nlohmann's text: "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..."
    const std::string_view what = e.what();
    const std::size_t at = what.find("] ");
    fail(origin_->name, printable(at == std::string_view::npos ? what : what.substr(at + 2), 300));
  }

 private:
  struct Frame {
    Json value;
    std::uint32_t place;
    std::string key;  // of the member that comes next
  };

  /// Two members of one name: readers differ in which of them they take.
  static void check_keys(const Json& object) {
    const Object& members = object.object();
    const auto twice = [&](std::string_view name) { fail(object.where(), fmt::format("the key {} stands twice", in_quotes(name))); };
    if (members.size() <= 8) {
      for (std::size_t i = 1; i < members.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
          if (members[i].first == members[j].first) twice(members[i].first);
      return;
    }
    std::unordered_set<std::string_view> names;
    names.reserve(members.size());
    for (const auto& [name, value] : members)
      if (!names.insert(name).second) twice(name);
  }

  std::uint32_t new_place() {
    if (origin_->places.size() >= kMaxValues) fail(origin_->name, fmt::format("more than {} values", kMaxValues));
    const auto number = static_cast<std::uint32_t>(origin_->places.size());
    if (stack_.empty()) {
      origin_->places.push_back({kNoParent, 0, 0, false});
    } else if (const Frame& top = stack_.back(); top.value.is_array()) {
      origin_->places.push_back({top.place, 0, static_cast<std::uint32_t>(top.value.array().size()), true});
    } else {
      const auto begin = static_cast<std::uint32_t>(origin_->keys.size());
      if (top.key.size() > kMaxKeyBytes - begin) fail(origin_->name, "more than 2^31 bytes of keys");
      origin_->keys += top.key;
      origin_->places.push_back({top.place, begin, static_cast<std::uint32_t>(origin_->keys.size()), false});
    }
    return number;
  }

  bool put(Json v) {
    if (stack_.empty()) {
      root_ = std::move(v);
    } else if (Json& parent = stack_.back().value; parent.is_array()) {
      std::get<Array>(parent.value_).push_back(std::move(v));
    } else {
      std::get<Object>(parent.value_).emplace_back(std::move(stack_.back().key), std::move(v));
    }
    return true;
  }

  bool value(Json v) {
    v.place_ = new_place();
    v.origin_ = origin_;
    return put(std::move(v));
  }

  bool open(Json v) {
    if (stack_.size() >= kMaxDepth) fail(origin_->text(stack_.back().place), fmt::format("nested deeper than {} levels", kMaxDepth));
    v.place_ = new_place();
    v.origin_ = origin_;
    const std::uint32_t place = v.place_;
    stack_.push_back({std::move(v), place, {}});
    return true;
  }

  bool close() {
    Json v = std::move(stack_.back().value);
    stack_.pop_back();
    return put(std::move(v));
  }

  std::shared_ptr<Origin> origin_;
  std::vector<Frame> stack_;
  Json root_;
};

Json Json::parse(std::string_view text, std::string_view where) {
  // nlohmann takes a null byte for the end of the text, and what follows it would go unseen.
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos) fail(where, fmt::format("a null byte at {}", at));
  Builder builder(where);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) fail(where, "not JSON");
  return builder.result();
}

Json Json::read(const std::filesystem::path& path) { return parse(read_text(path), path.string()); }

std::string Json::dump(int indent) const {
  // Numbers and strings are written by nlohmann; the order of members is ours.
  std::string out;
  const auto newline = [&](int depth) {
    if (indent < 0) return;
    out.push_back('\n');
    out.append(static_cast<std::size_t>(depth) * static_cast<std::size_t>(indent), ' ');
  };
  const auto write = [&](const auto& self, const Json& v, int depth) -> void {
    switch (v.kind()) {
      case Kind::null: out += "null"; return;
      case Kind::boolean: out += v.boolean() ? "true" : "false"; return;
      case Kind::integer: out += std::to_string(std::get<std::int64_t>(v.value_)); return;
      case Kind::number: out += std::isfinite(v.number()) ? nlohmann::json(v.number()).dump() : "null"; return;
      case Kind::string: out += nlohmann::json(v.string()).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); return;
      case Kind::array: {
        const Array& items = v.array();
        bool flat = true;
        for (const Json& item : items) flat = flat && !item.is_array() && !item.is_object();
        out.push_back('[');
        for (std::size_t i = 0; i < items.size(); ++i) {
          if (i > 0) out += flat && indent >= 0 ? ", " : ",";
          if (!flat) newline(depth + 1);
          self(self, items[i], depth + 1);
        }
        if (!flat) newline(depth);
        out.push_back(']');
        return;
      }
      case Kind::object: {
        const Object& members = v.object();
        out.push_back('{');
        for (std::size_t i = 0; i < members.size(); ++i) {
          if (i > 0) out.push_back(',');
          newline(depth + 1);
          out += nlohmann::json(members[i].first).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
          out += indent < 0 ? ":" : ": ";
          self(self, members[i].second, depth + 1);
        }
        if (!members.empty()) newline(depth);
        out.push_back('}');
        return;
      }
    }
  };
  write(write, *this, 0);
  return out;
}

Json::Kind Json::kind() const noexcept { return static_cast<Kind>(value_.index()); }

std::string Json::where() const { return origin_ == nullptr ? std::string() : origin_->text(place_); }

namespace {
[[noreturn]] void wrong_kind(const Json& json, std::string_view expected) {
  std::string got(kind_name(json.kind()));
  if (json.is_string())
    got = in_quotes(json.string(), 60);
  else if (!json.is_array() && !json.is_object())
    got = json.dump(-1);
  fail_expected(json.where(), expected, got);
}
}  // namespace

bool Json::boolean() const {
  if (const auto* v = std::get_if<bool>(&value_)) return *v;
  wrong_kind(*this, "true or false");
}

std::int64_t Json::integer(std::int64_t lo, std::int64_t hi) const {
  std::int64_t v = 0;
  if (const auto* i = std::get_if<std::int64_t>(&value_)) {
    v = *i;
  } else if (const auto* d = std::get_if<double>(&value_); d != nullptr && std::nearbyint(*d) == *d && std::fabs(*d) < 0x1p63) {
    v = static_cast<std::int64_t>(*d);
  } else {
    wrong_kind(*this, "an integer");
  }
  if (v < lo || v > hi) {
    const std::string range = hi == INT64_MAX ? fmt::format("an integer of {} or more", lo) : fmt::format("an integer from {} to {}", lo, hi);
    fail_expected(where(), range, std::to_string(v));
  }
  return v;
}

double Json::number() const {
  if (const auto* i = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*i);
  if (const auto* d = std::get_if<double>(&value_)) return *d;
  wrong_kind(*this, "a number");
}

const std::string& Json::string() const {
  if (const auto* v = std::get_if<std::string>(&value_)) return *v;
  wrong_kind(*this, "a string");
}

const Json::Array& Json::array() const {
  if (const auto* v = std::get_if<Array>(&value_)) return *v;
  wrong_kind(*this, "an array");
}

const Json::Object& Json::object() const {
  if (const auto* v = std::get_if<Object>(&value_)) return *v;
  wrong_kind(*this, "an object");
}

std::vector<double> Json::numbers() const {
  std::vector<double> values;
  for (const Json& v : array()) values.push_back(v.number());
  return values;
}

std::vector<std::string> Json::strings() const {
  std::vector<std::string> values;
  for (const Json& v : array()) values.push_back(v.string());
  return values;
}

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : object())
    if (name == key) return value.is_null() ? nullptr : &value;
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  for (const auto& [name, value] : object())
    if (name == key) return value;
  fail_expected(where(), "the key " + in_quotes(key), "none");
}

Json& Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object();
  if (!is_object()) wrong_kind(*this, "an object");
  for (auto& [name, old] : std::get<Object>(value_)) {
    if (name != key) continue;
    old = std::move(value);
    return *this;
  }
  std::get<Object>(value_).emplace_back(key, std::move(value));
  return *this;
}

void Json::push(Json value) {
  if (is_null()) value_ = Array();
  if (!is_array()) wrong_kind(*this, "an array");
  std::get<Array>(value_).push_back(std::move(value));
}

}  // namespace tessera::io

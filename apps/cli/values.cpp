#include "apps/cli/values.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "apps/cli/commands.h"
#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/image.h"
#include "tessera/io/json.h"
#include "tessera/io/npy.h"
#include "tessera/io/safetensors.h"

namespace tessera::cli {
namespace {

constexpr std::size_t kMaxNumbers = std::size_t{1} << 24;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string extension(const std::string& file) { return lower(std::filesystem::path(file).extension().string()); }

// Numbers separated by commas, semicolons or white space.
std::vector<double> parse_numbers(std::string_view text, const std::string& where) {
  std::vector<double> values;
  const auto separator = [](char c) { return c == ',' || c == ';' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  const char* p = text.data();
  const char* end = p + text.size();
  while (true) {
    while (p != end && separator(*p)) ++p;
    if (p == end) break;
    if (*p == '+' && p + 1 != end && p[1] != '-') ++p;
    double value = 0;
    const auto [next, error] = std::from_chars(p, end, value);
    if (error != std::errc() || (next != end && !separator(*next))) {
      const char* stop = std::find_if(p, end, separator);
      fail_expected(where, "numbers separated by commas or spaces",
                    "'" + std::string(p, std::min<std::size_t>(40, static_cast<std::size_t>(stop - p))) + "'");
    }
    values.push_back(value);
    if (values.size() > kMaxNumbers) fail_expected(where, "at most 2^24 numbers", "more");
    p = next;
  }
  return values;
}

Tensor tensor_of(const std::vector<double>& values, const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f32);
  std::ranges::transform(values, t.data<float>(), [](double v) { return static_cast<float>(v); });
  return t;
}

/// Whether some field of a line is a number. A quoted field never is.
bool numeric_field(std::string_view line) {
  while (!line.empty()) {
    const std::size_t stop = std::min(line.find_first_of(",;"), line.size());
    std::string_view field = line.substr(0, stop);
    line.remove_prefix(std::min(stop + 1, line.size()));
    while (!field.empty() && (field.front() == ' ' || field.front() == '\t' || field.front() == '+')) field.remove_prefix(1);
    double value = 0;
    if (std::from_chars(field.data(), field.data() + field.size(), value).ec == std::errc()) return true;
  }
  return false;
}

/// A name as a field of a CSV header that no reader takes for a number.
std::string csv_name(const std::string& name) {
  if (name.find_first_not_of("0123456789") == std::string::npos) return "a" + name;
  if (name.find_first_of(",;\"") == std::string::npos && !numeric_field(name)) return name;
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

Tensor read_csv(const std::string& file) {
  const std::string text = io::read_text(file);
  std::vector<double> values;
  std::int64_t rows = 0;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t stop = std::min(text.find('\n', start), text.size());
    const std::string_view line(text.data() + start, stop - start);
    start = stop + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (rows == 0 && !numeric_field(line)) continue;  // a header: no field of it is a number
    const std::vector<double> row = parse_numbers(line, file);
    values.insert(values.end(), row.begin(), row.end());
    ++rows;
    if (values.size() != static_cast<std::size_t>(rows) * row.size())
      fail_expected(file, "as many numbers in every line", fmt::format("{} in line {}", row.size(), rows));
  }
  if (rows == 0) fail_expected(file, "lines of numbers", "none");
  return tensor_of(values, Shape{rows, static_cast<std::int64_t>(values.size()) / rows});
}

struct NestedArray {
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  std::size_t rank = 0;
  std::vector<double> values;

  void add(const io::Json& json, std::size_t depth) {
    if (!json.is_array()) {
      if (depth != rank) fail_expected(json.where(), "arrays of equal depth", "a number");
      values.push_back(json.number());
      return;
    }
    const auto size = static_cast<std::int64_t>(json.array().size());
    if (depth == rank && values.empty() && rank < sizes.size()) sizes[rank++] = size;
    if (depth >= rank || sizes[depth] != size) fail_expected(json.where(), "arrays of equal length and depth", std::to_string(size));
    for (const io::Json& item : json.array()) add(item, depth + 1);
  }
};

Tensor read_json_array(const std::string& file, const std::string& usual) {
  const io::Json json = io::Json::read(file);
  NestedArray nested;
  nested.add(json.is_object() ? json.at(usual.empty() ? "actions" : usual) : json, 0);  // also what --out FILE.json writes
  return tensor_of(nested.values, Shape(std::span<const std::int64_t>(nested.sizes.data(), nested.rank)));
}

Tensor read_from_safetensors(const std::string& path, const std::string& name, const std::string& usual) {
  const auto file = io::SafetensorsFile::open(path);
  std::string wanted = name;
  if (wanted.empty()) {
    if (file->tensors().size() == 1)
      wanted = file->tensors().front().name;
    else if (file->find(usual) != nullptr)
      wanted = usual;
    else
      fail_expected(path, "FILE.safetensors:TENSOR, as the file holds several", fmt::format("no tensor name for {} tensors", file->tensors().size()));
  }
  const io::StoredTensor* stored = file->find(wanted);
  if (stored == nullptr) fail_expected(path, "a tensor of the file", "'" + wanted + "'", "tessera inspect lists a checkpoint's tensors");
  if (stored->type == io::StoredType::u8 || stored->type == io::StoredType::f32) return file->tensor(wanted);
  return tensor_of(file->doubles(wanted), stored->shape);
}

void put_f32(std::vector<std::pair<std::string, Tensor>>& out, const char* name, std::span<const double> values, const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f32);
  std::ranges::transform(values, t.data<float>(), [](double v) { return static_cast<float>(v); });
  out.emplace_back(name, t);
}

io::Json rows_json(std::span<const double> values, std::int64_t dim) {
  io::Json::Array rows;
  for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(dim)) {
    io::Json::Array row;
    for (std::int64_t d = 0; d < dim; ++d) row.emplace_back(values[i + static_cast<std::size_t>(d)]);
    rows.emplace_back(std::move(row));
  }
  return rows;
}

}  // namespace

std::pair<std::string, std::string> split_assignment(std::string_view word, std::string_view option) {
  const std::size_t at = word.find('=');
  if (at == std::string_view::npos || at == 0 || at + 1 == word.size())
    throw UsageError(fmt::format("{}: expected NAME=FILE, got '{}'", option, word));
  return {std::string(word.substr(0, at)), std::string(word.substr(at + 1))};
}

Tensor read_array(const std::string& file, const std::string& usual) {
  const std::size_t colon = file.rfind(".safetensors:");
  if (colon != std::string::npos) return read_from_safetensors(file.substr(0, colon + 12), file.substr(colon + 13), usual);
  const std::string kind = extension(file);
  if (kind == ".safetensors") return read_from_safetensors(file, "", usual);
  if (kind == ".npy") return io::read_npy(file);
  if (kind == ".csv" || kind == ".txt") return read_csv(file);
  if (kind == ".json") return read_json_array(file, usual);
  fail_expected(file, "a .npy, .safetensors, .csv, .txt or .json file", kind.empty() ? "no extension" : kind);
}

Tensor read_picture(const std::string& file, bool exif_orientation) {
  const std::string kind = extension(file);
  if (kind == ".npy" || kind == ".safetensors" || file.find(".safetensors:") != std::string::npos) return read_array(file, "");
  return io::read_image(file, exif_orientation);
}

std::vector<double> numbers_of(const Tensor& t) {
  std::vector<double> values(static_cast<std::size_t>(t.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (t.dtype()) {
      case DType::f32: values[i] = static_cast<double>(t.data<float>()[i]); break;
      case DType::i32: values[i] = t.data<std::int32_t>()[i]; break;
      case DType::u32: values[i] = t.data<std::uint32_t>()[i]; break;
      case DType::u16: values[i] = t.data<std::uint16_t>()[i]; break;
      case DType::u8: values[i] = t.data<std::uint8_t>()[i]; break;
      case DType::i8: values[i] = t.data<std::int8_t>()[i]; break;
      case DType::f16: values[i] = static_cast<double>(to_f32(t.data<f16>()[i])); break;
      case DType::bf16: values[i] = static_cast<double>(to_f32(t.data<bf16>()[i])); break;
      case DType::bfloat8_b:
      case DType::bfloat4_b: fail_expected("values", "a dtype with one number an element", t.str(), "ops::typecast converts");
    }
  }
  return values;
}

void check_folder(std::string_view option, const std::string& file) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  std::error_code error;
  if (!folder.empty() && !std::filesystem::is_directory(folder, error)) fail_expected(option, "a file in a folder that is there", "'" + file + "'");
}

std::vector<double> read_numbers(const std::string& word, const std::string& option) {
  const std::string kind = extension(word);
  const bool array = kind == ".npy" || kind == ".safetensors" || kind == ".json" || kind == ".csv" || word.find(".safetensors:") != std::string::npos;
  if (array) return numbers_of(read_array(word, ""));
  std::error_code ignored;
  if (std::filesystem::is_regular_file(word, ignored)) return parse_numbers(io::read_text(word), word);
  const bool looks_like_path = word.find_first_of("/\\") != std::string::npos || kind == ".txt";
  if (looks_like_path) fail_expected(option, "a file of numbers", "'" + word + "', which is not there");
  try {
    return parse_numbers(word, option);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

void check_actions_path(const std::filesystem::path& path) {
  const std::string kind = extension(path.string());
  if (kind != ".json" && kind != ".csv" && kind != ".npy" && kind != ".safetensors")
    throw UsageError(fmt::format("--out: expected a .json, .csv, .npy or .safetensors file, got '{}'", path.string()));
}

void write_actions(const std::filesystem::path& path, const models::ActionChunk& chunk, const std::string& prompt) {
  const std::string kind = extension(path.string());
  const Shape shape{chunk.chunk, chunk.dim};
  if (kind == ".npy") {
    io::write_npy_f64(path, chunk.actions, shape);
  } else if (kind == ".csv") {
    std::string text;
    for (std::int64_t d = 0; d < chunk.dim; ++d) text += (d == 0 ? "" : ",") + csv_name(chunk.names[static_cast<std::size_t>(d)]);
    text += "\n";
    for (std::size_t i = 0; i < chunk.actions.size(); ++i)
      text += fmt::format("{}{}", chunk.actions[i], (i + 1) % static_cast<std::size_t>(chunk.dim) == 0 ? "\n" : ",");
    io::write_file(path, text);
  } else if (kind == ".safetensors") {
    std::vector<std::pair<std::string, Tensor>> tensors;
    put_f32(tensors, "actions", chunk.actions, shape);
    tensors.emplace_back("actions_normalised", chunk.normalised);
    tensors.emplace_back("model_actions", chunk.model);
    io::write_safetensors(path, tensors, {{"prompt", prompt}});
  } else if (kind == ".json") {
    io::Json json;
    json.set("prompt", prompt);
    json.set("steps", chunk.steps);
    io::Json::Array names;
    for (const std::string& n : chunk.names) names.emplace_back(n);
    json.set("names", std::move(names));
    json.set("actions", rows_json(chunk.actions, chunk.dim));
    io::Json times;
    times.set("preprocess", chunk.times.preprocess).set("images", chunk.times.images).set("prefix", chunk.times.prefix);
    times.set("steps", chunk.times.steps).set("total", chunk.times.total);
    json.set("milliseconds", std::move(times));
    io::write_file(path, json.dump() + "\n");
  } else {
    check_actions_path(path);
  }
}

}  // namespace tessera::cli

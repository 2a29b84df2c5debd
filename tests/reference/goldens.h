// Reads the safetensors files under tests/goldens: a few lines of their own, so that a golden does not depend on the reader under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace tessera::reference {

struct Golden {
  std::string dtype;  // "F32", "U8", "BOOL", ...
  std::vector<std::int64_t> shape;
  std::string bytes;

  template <class T>
  std::vector<T> as() const {
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
};

/// All tensors of tests/goldens/<path>. Expects the plain form that the safetensors package writes.
inline std::map<std::string, Golden> read_goldens(const std::string& path) {
  std::ifstream file(std::string(TESSERA_SOURCE_DIR) + "/tests/goldens/" + path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read golden " + path);
  const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::uint64_t length = 0;
  std::memcpy(&length, all.data(), 8);
  const std::string header = all.substr(8, length);
  const auto numbers = [&](std::size_t from) {  // of the list that starts at or behind `from`
    std::vector<std::int64_t> list;
    const std::size_t begin = header.find('[', from) + 1;
    const std::string text = header.substr(begin, header.find(']', begin) - begin);
    for (std::size_t i = 0; i < text.size();) {
      std::size_t used = 0;
      list.push_back(std::stoll(text.substr(i), &used));
      i += used + 1;
    }
    return list;
  };
  std::map<std::string, Golden> goldens;
  const std::string key = "\"dtype\":\"";
  for (std::size_t at = header.find(key); at != std::string::npos; at = header.find(key, at + 1)) {
    const std::size_t name_end = header.rfind("\":{", at);
    const std::size_t name_begin = header.rfind('"', name_end - 1) + 1;
    const std::size_t dtype = at + key.size();
    Golden g;
    g.dtype = header.substr(dtype, header.find('"', dtype) - dtype);
    g.shape = numbers(header.find("\"shape\"", at));
    const auto range = numbers(header.find("\"data_offsets\"", at));
    g.bytes = all.substr(8 + length + static_cast<std::size_t>(range.at(0)), static_cast<std::size_t>(range.at(1) - range.at(0)));
    goldens[header.substr(name_begin, name_end - name_begin)] = g;
  }
  if (goldens.empty()) throw std::runtime_error("no tensor in golden " + path);
  return goldens;
}

}  // namespace tessera::reference

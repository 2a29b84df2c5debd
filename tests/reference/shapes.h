// Reads tests/shapes/<stem>.txt: lines of whole numbers, '#' starts a comment.
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace tessera::reference {

/// Every line with exactly `columns` numbers; anything else, and a file without a line, is an exception (and so a failed test).
inline std::vector<std::vector<std::int64_t>> read_shapes(const std::string& stem, std::size_t columns) {
  const std::string path = std::string(TESSERA_SOURCE_DIR) + "/tests/shapes/" + stem + ".txt";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<std::vector<std::int64_t>> shapes;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::vector<std::int64_t> numbers;
    std::int64_t number = 0;
    while (words >> number) numbers.push_back(number);
    if (numbers.empty() && words.eof()) continue;
    if (!words.eof() || numbers.size() != columns) throw std::runtime_error("bad line in " + path + ": " + line);
    shapes.push_back(numbers);
  }
  if (shapes.empty()) throw std::runtime_error("no shapes in " + path);
  return shapes;
}

}  // namespace tessera::reference

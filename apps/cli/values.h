// Values that a command line names: arrays in files (npy, safetensors, csv, json), pictures, lists of numbers; and results written to files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/policy/policy.h"

namespace tessera::cli {

/// "SLOT=FILE" -> {SLOT, FILE}. Throws UsageError naming `option` when there is no '=' or a part is empty.
std::pair<std::string, std::string> split_assignment(std::string_view word, std::string_view option);

/// FILE.npy, FILE.safetensors:TENSOR (":TENSOR" may be left out when the file holds one), FILE.csv, FILE.json (nested arrays of numbers).
/// f32, or the stored integer type.
/// `usual`: the tensor that is meant when a safetensors file holds several and none is named; such a file without it is an error.
Tensor read_array(const std::string& file, const std::string& usual);

/// A picture (PNG, JPEG) as uint8 [H, W, 3], or an array as read_array() gives it.
Tensor read_picture(const std::string& file, bool exif_orientation);

/// "0.1, 0.2 0.3" as given to `option` (throws UsageError), or the name of a file as for read_array() or of a text file with numbers.
std::vector<double> read_numbers(const std::string& word, const std::string& option);
/// All elements, of any dtype, row by row.
std::vector<double> numbers_of(const Tensor& t);
/// Throws Error when `file` is named in a folder that is not there; nothing for an empty name.
void check_folder(std::string_view option, const std::string& file);

/// By extension: .json, .csv, .npy, .safetensors. Throws UsageError on another one.
void write_actions(const std::filesystem::path& path, const models::ActionChunk& chunk, const std::string& prompt);
/// Throws UsageError when write_actions() would not know the extension, so that nobody waits for a chunk that cannot be written.
void check_actions_path(const std::filesystem::path& path);

}  // namespace tessera::cli

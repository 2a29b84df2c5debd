#include "tessera/models/policy/pack.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

/// Stands between a checkpoint and a model that is loaded from it: prepared weights go to the file as they are made, the names of what was read
/// besides are kept. One thread.
class PackingSource final : public WeightSource {
 public:
  PackingSource(std::shared_ptr<const WeightSource> source, io::PackedWriter& file) : source_(std::move(source)), file_(file) {}

  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return source_->tensors(); }
  void release(std::string_view name) const override { source_->release(name); }
  std::string where() const override { return source_->where(); }
  Tensor load(std::string_view name) const override {
    read_.emplace(name);
    return source_->load(name);
  }
  void was_packed(std::string_view name, std::span<const std::string> tensors, const PackedWeights& made) const override {
    static constexpr std::array<std::byte, 64> kZeros{};
    const ops::PackedLinear packed = ops::packed(made.linear);
    const std::size_t gap = packed.bias.empty() ? 0 : bias_offset(packed.weights.size()) - packed.weights.size();
    const std::array parts = {packed.weights, std::span<const std::byte>(kZeros).first(gap), std::as_bytes(packed.bias)};
    file_.add(std::string(kLinearSection).append(name), parts, linear_info(made));
    packed_.insert(tensors.begin(), tensors.end());
    rows_.emplace(packed.row, made.linear.dtype());
  }

  /// What was read and not packed, as it is stored.
  void write_tensors(const Progress& progress) const {
    std::vector<std::string> names;
    for (const std::string& name : read_)
      if (!packed_.contains(name)) names.push_back(name);
    std::size_t done = 0;
    for (const std::string& name : names) {
      const Tensor tensor = source_->load(name);
      file_.add(std::string(kTensorSection).append(name), std::span(static_cast<const std::byte*>(tensor.raw()), tensor.bytes()));
      source_->release(name);
      if (progress) progress("writing tensors", static_cast<double>(++done) / static_cast<double>(names.size()));
    }
  }
  const std::map<std::string, DType, std::less<>>& rows() const noexcept { return rows_; }

 private:
  std::shared_ptr<const WeightSource> source_;
  io::PackedWriter& file_;
  mutable std::set<std::string, std::less<>> read_;
  mutable std::set<std::string, std::less<>> packed_;
  mutable std::map<std::string, DType, std::less<>> rows_;
};

void add_file(io::PackedWriter& file, std::string_view name, const fs::path& path) {
  const auto mapped = io::MappedFile::open(path);
  file.add(file_section(name), mapped->bytes());
}

/// The tokenizer's file; empty when the checkpoint comes without one, which only `act` needs.
fs::path tokenizer_of(const OpenCheckpoint& checkpoint, std::vector<std::string>& warnings) {
  if (!checkpoint.options.tokenizer.empty()) return io::locate_tokenizer(checkpoint.options.tokenizer);
  try {
    return find_tokenizer(checkpoint.files.path(), checkpoint.config.lerobot);
  } catch (const Error&) {
    warnings.emplace_back("no tokenizer in or beside the checkpoint, so none in the packed file: act will need --tokenizer FILE");
    return {};
  }
}

void add_small_files(const OpenCheckpoint& c, const fs::path& tokenizer, io::PackedWriter& file) {
  std::set<std::string, std::less<>> names = c.files.read();
  for (const std::string& name : c.files.find("assets", "norm_stats.json")) names.insert(name);  // for other robots
  for (const std::string& name : names) add_file(file, name, c.files.path() / name);
  if (!c.options.norm_stats.empty()) {
    std::error_code ignored;
    const fs::path& given = c.options.norm_stats;
    add_file(file, kGivenStatistics, fs::is_directory(given, ignored) ? given / (c.config.lerobot ? "stats.json" : "norm_stats.json") : given);
  }
  if (!tokenizer.empty()) add_file(file, tokenizer.extension() == ".json" ? "tokenizer.json" : "tokenizer.model", tokenizer);
  for (const std::string& name : c.source->catalogue().foreign) {
    if (name.find("normalize_") == std::string::npos) continue;  // of old checkpoints, read as statistics
    const std::vector<double> values = c.source->buffer(name);
    file.add(std::string(kBufferSection).append(name), std::as_bytes(std::span(values)));
  }
}

}  // namespace

PackReport pack_checkpoint(Context& ctx, const fs::path& path, const fs::path& out, const PolicyOptions& options, bool replace) {
  std::error_code ignored;
  if (out.empty()) fail_expected("pack", "a file to write", "an empty name");
  if (fs::is_directory(out, ignored)) fail_expected(out.string(), "a file to write", "a directory");
  if (fs::exists(out, ignored)) {
    if (!replace) fail_expected(out.string(), "a file that is not there yet", "one that is", "--force replaces it");
    // Not what is being packed, for example.
    if (fs::is_regular_file(out, ignored) && fs::file_size(out, ignored) > 0 && !io::is_packed_file(out))
      fail_expected(out.string(), "a packed file to replace", "another file", "give a name that is free");
  }
  const OpenCheckpoint checkpoint = open_checkpoint(path, options);
  if (checkpoint.packed != nullptr) fail_expected(path.string(), "a checkpoint folder to pack", "a packed file");
  const PolicySpec spec = read_spec(checkpoint);
  PackReport report;
  report.warnings = spec.warnings;
  const fs::path tokenizer = tokenizer_of(checkpoint, report.warnings);
  if (!tokenizer.empty()) io::read_tokenizer(tokenizer);

  io::PackedWriter file(out, replace);
  add_small_files(checkpoint, tokenizer, file);
  auto packing = std::make_shared<PackingSource>(checkpoint.source, file);
  const Precision precision = load_network(ctx, checkpoint, spec.model, packing).precision();
  packing->write_tensors(options.progress);

  PackedMeta meta;
  meta.made_by = "tessera " TESSERA_VERSION;
  meta.source = fs::absolute(path, ignored).lexically_normal().filename().string();
  if (meta.source.empty()) meta.source = fs::absolute(path, ignored).lexically_normal().parent_path().filename().string();
  meta.precision = precision;
  for (const auto& [row, dtype] : packing->rows()) meta.rows.push_back({row, dtype, row_layout(ctx, row, dtype)});
  meta.catalogue = checkpoint.source->catalogue();
  meta.robot = options.robot;
  meta.schedule = options.schedule;
  meta.allow_nonfinite = options.allow_nonfinite;
  meta.padded_state_prompt = options.padded_state_prompt;
  meta.any_prompt = options.any_prompt;
  meta.legacy_resize = options.legacy_resize;
  if (options.progress) options.progress("flushing to the disk", 1.0);
  file.finish(meta.json());
  report.contents = PackedCheckpoint::open(io::PackedFile::open(out))->contents();
  return report;
}

}  // namespace tessera::models

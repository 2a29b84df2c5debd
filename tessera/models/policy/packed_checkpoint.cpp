#include "tessera/models/policy/packed_checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "tessera/core/error.h"
#include "tessera/io/quote.h"
#include "tessera/models/policy/checkpoint_files.h"
#include "tessera/ops/kernel_table.h"

namespace tessera::models {
namespace {

constexpr std::string_view kFamily = "linear";

std::vector<Int8Exception> exceptions_of(const io::Json& linear) {
  std::vector<Int8Exception> all;
  if (const io::Json* list = linear.find("kept_in_bf16"))
    for (const io::Json& one : list->array()) {
      const io::Json& error = one.at("error");  // JSON has no infinity, which a matrix with NaN has
      all.push_back({io::printable(one.at("name").string()), error.is_null() ? std::numeric_limits<double>::infinity() : error.number()});
    }
  return all;
}

bool aligned(std::span<const std::byte> bytes) { return reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 == 0; }

/// The weights where they lie in the file.
class PackedSource final : public CheckpointSource {
 public:
  PackedSource(std::shared_ptr<const io::PackedFile> file, const Catalogue& catalogue) : file_(std::move(file)) {
    path_ = file_->path();
    catalogue_ = catalogue;
  }

  Tensor load(std::string_view name) const override {
    const io::PackedSection* section = tensor(name);
    const auto info = catalogue_.tensors.find(name);
    if (section == nullptr || info == catalogue_.tensors.end())
      fail(where(), fmt::format("the file holds no '{}', which this version of Tessera reads; pack the checkpoint again: {}", name,
                                io::pack_command(where())));
    const Shape& shape = info->second.shape;
    const DType dtype = info->second.dtype;
    const auto bytes = file_->bytes(*section);
    if (shape.numel() > static_cast<std::int64_t>(bytes.size()) || bytes.size() != static_cast<std::size_t>(shape.numel()) * size_of(dtype))
      fail_expected(where(), fmt::format("{} of {} in '{}'", tessera::name(dtype), shape.str(), name), fmt::format("{} bytes", bytes.size()));
    if (bytes.empty() || !aligned(bytes)) return Tensor::from_bytes(bytes, shape, dtype);
    return Tensor::borrow(const_cast<std::byte*>(bytes.data()), shape, dtype, std::const_pointer_cast<io::PackedFile>(file_));
  }

  void release(std::string_view name) const override {
    if (const io::PackedSection* section = tensor(name)) file_->release(*section);
  }

  PackedWeights packed(const Context& ctx, std::string_view name) const override {
    const io::PackedSection* section = file_->find(std::string(kLinearSection).append(name));
    if (section == nullptr) return {};
    const io::Json& info = section->info;
    const auto bytes = file_->bytes(*section);
    const auto weights = static_cast<std::size_t>(info.at("weights").integer(0, static_cast<std::int64_t>(bytes.size())));
    const auto bias = static_cast<std::size_t>(info.at("bias").integer(0, static_cast<std::int64_t>(bytes.size())));
    const std::size_t size = bias == 0 ? weights : bias_offset(weights) + bias * sizeof(float);
    if (bytes.size() != size) fail_expected(info.where(), fmt::format("a section of {} bytes", size), std::to_string(bytes.size()));
    if (!aligned(bytes)) fail_expected(where(), "memory that is aligned to 64 bytes", "other memory");
    ops::PackedLinear packed;
    packed.row = info.at("row").string();
    packed.n = info.at("n").integer(1);
    packed.k = info.at("k").integer(1);
    packed.gated = info.at("gated").boolean();
    packed.weights = bytes.first(weights);
    if (bias > 0) packed.bias = {reinterpret_cast<const float*>(bytes.data() + bias_offset(weights)), bias};
    PackedWeights made;
    made.exceptions = exceptions_of(info);
    try {
      made.linear = ops::from_packed(ctx, packed, file_);
      return made;
    } catch (const Error& e) {
      fail(where(), fmt::format("the packed weights '{}' cannot be used: {}", name, e.what()));
    }
  }

  std::vector<double> buffer(std::string_view stored_name) const override {
    const std::string name = std::string(kBufferSection).append(stored_name);
    if (file_->find(name) == nullptr) return {};
    const auto bytes = file_->checked(name);
    if (bytes.size() % sizeof(double) != 0) fail_expected(where(), "float64 in '" + name + "'", fmt::format("{} bytes", bytes.size()));
    std::vector<double> values(bytes.size() / sizeof(double));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  const io::PackedSection* tensor(std::string_view name) const { return file_->find(std::string(kTensorSection).append(name)); }

  std::shared_ptr<const io::PackedFile> file_;
};

/// Why the context cannot run a row of the linear family; empty when it can.
std::string row_problem(const Context& ctx, std::string_view row) {
  for (const ops::RowStatus& status : ops::kernel_rows(ctx)) {
    if (status.family != kFamily || status.row != row) continue;
    const std::vector<std::string> runnable = ops::runnable_rows(ctx, kFamily);
    return std::ranges::find(runnable, row) == runnable.end() ? status.reason : std::string();
  }
  return "no row of this build";
}

}  // namespace

std::uint64_t row_layout(const Context& ctx, std::string_view row, DType dtype) {
  Context probe({.threads = 1, .isa = std::string(device::name(ctx.isa()))});
  probe.force(kFamily, row);
  const auto ramp = [](const Shape& shape, std::int64_t step) {
    Tensor t = Tensor::empty(shape, DType::f32);
    // Small multiples of 1/8: exact in every precision before int8's scale, and different at any two places that a layout could exchange.
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i * step % 251 - 125) / 8;
    return t;
  };
  constexpr std::int64_t kN = 83;
  constexpr std::int64_t kK = 149;
  const ops::LinearPart one{ramp({kN, kK}, 7), ramp({kN}, 3)};
  const ops::LinearPart two{ramp({kN, kK}, 11), ramp({kN}, 5)};
  std::vector<std::uint64_t> sums;
  for (const ops::PreparedLinear& w : {ops::prepare_linear(probe, one, dtype), ops::prepare_gated_linear(probe, one, two, dtype)}) {
    const ops::PackedLinear packed = ops::packed(w);
    sums.push_back(io::checksum(packed.weights));
    sums.push_back(io::checksum(std::as_bytes(packed.bias)));
  }
  return io::checksum(std::as_bytes(std::span(sums)));
}

io::Json linear_info(const PackedWeights& made) {
  const ops::PackedLinear packed = ops::packed(made.linear);
  io::Json info;
  info.set("row", packed.row).set("n", packed.n).set("k", packed.k).set("gated", packed.gated);
  info.set("weights", static_cast<std::int64_t>(packed.weights.size())).set("bias", static_cast<std::int64_t>(packed.bias.size()));
  if (made.exceptions.empty()) return info;
  io::Json::Array list;
  for (const Int8Exception& e : made.exceptions) {
    io::Json one;
    one.set("name", e.name).set("error", e.error);
    list.push_back(std::move(one));
  }
  info.set("kept_in_bf16", std::move(list));
  return info;
}

std::shared_ptr<const PackedCheckpoint> PackedCheckpoint::open(std::shared_ptr<const io::PackedFile> file) {
  std::shared_ptr<PackedCheckpoint> c(new PackedCheckpoint);
  c->meta_ = PackedMeta::read(file->meta());
  std::set<std::string, std::less<>> rows;
  for (const PackedRow& row : c->meta_.rows) rows.insert(row.name);
  for (const io::PackedSection& section : file->sections()) {
    if (!section.name.starts_with(kLinearSection)) continue;
    if (section.info.is_null())
      fail_expected(file->path().string(), "a description of " + io::in_quotes(section.name), "none", io::pack_command(file->path().string()));
    const io::Json& row = section.info.at("row");
    if (!rows.contains(row.string())) fail_expected(row.where(), "a kernel row that the file lists", io::in_quotes(row.string()));
  }
  c->source_ = std::make_shared<PackedSource>(file, c->meta_.catalogue);
  c->file_ = std::move(file);
  return c;
}

std::string PackedCheckpoint::again() const { return io::pack_command(file_->path().string()); }

void PackedCheckpoint::complete(PolicyOptions& options) const {
  if (!options.precision) options.precision = meta_.precision;
  if (options.robot.empty()) options.robot = meta_.robot;
  if (!options.schedule) options.schedule = meta_.schedule;
  options.padded_state_prompt = options.padded_state_prompt || meta_.padded_state_prompt;
  options.any_prompt = options.any_prompt || meta_.any_prompt;
  options.legacy_resize = options.legacy_resize || meta_.legacy_resize;
}

void PackedCheckpoint::check_options(const PolicyOptions& options) const {
  const std::string where = file_->path().string();
  if (options.precision && *options.precision != meta_.precision)
    fail(where, fmt::format("the file holds {} weights, and {} was asked for; pack the checkpoint for that: {} --precision {}", name(meta_.precision),
                            name(*options.precision), again(), name(*options.precision)));
  if (meta_.allow_nonfinite && !options.allow_nonfinite)
    fail(where, "the file was packed with --allow-nonfinite, so nobody has looked for NaN in its weights; give --allow-nonfinite here, too, or " +
                    ("pack the checkpoint without it: " + again()));
}

void PackedCheckpoint::check_rows(const Context& ctx) const {
  const std::string where = file_->path().string();
  const std::string_view forced = ctx.forced(kFamily);
  for (const PackedRow& row : meta_.rows) {
    const std::string name = io::in_quotes(row.name);
    if (const std::string problem = row_problem(ctx, row.name); !problem.empty())
      fail(where, fmt::format("the file was packed for the kernel row {}, which cannot run here ({}); pack the checkpoint again here: {}", name,
                              problem, again()));
    if (!forced.empty() && forced != row.name)
      fail(where, fmt::format("the file was packed for the kernel row {}, and '{}' is forced; pack the checkpoint with that", name, forced));
    if (row.name.ends_with("_i8") != (row.dtype == DType::i8) || row.name.ends_with("_f32") != (row.dtype == DType::f32))
      fail_expected(where, "the type of the weights that the kernel row " + name + " multiplies", tessera::name(row.dtype), again());
    if (row_layout(ctx, row.name, row.dtype) != row.layout)
      fail(where, fmt::format("the file was packed by {}, whose kernel row {} lays weights out in another way; pack the checkpoint again: {}",
                              meta_.made_by, name, again()));
  }
}

void PackedCheckpoint::check_sums(Context& ctx, const Progress& progress) const {
  constexpr std::size_t kBatch = std::size_t{512} << 20;  // between two words on the progress
  std::vector<const io::PackedSection*> sections;
  std::size_t total = 0;
  for (const io::PackedSection& s : file_->sections()) {
    if (!s.name.starts_with(kLinearSection) && !s.name.starts_with(kTensorSection)) continue;
    sections.push_back(&s);
    total += s.size;
  }
  std::vector<char> good(sections.size(), 0);
  std::size_t done = 0;
  for (std::size_t first = 0; first < sections.size();) {
    std::size_t last = first;
    for (std::size_t batch = 0; last < sections.size() && batch < kBatch; ++last) batch += sections[last]->size;
    for (std::size_t i = first; i < last; ++i) done += sections[i]->size;
    ctx.pool().parallel_for(static_cast<std::int64_t>(last - first), [&](std::int64_t item, int) {
      const io::PackedSection& s = *sections[first + static_cast<std::size_t>(item)];
      // Tensors are copied soon or read in places; prepared weights stay, and are in memory after this.
      good[first + static_cast<std::size_t>(item)] = file_->intact(s, s.name.starts_with(kTensorSection)) ? 1 : 0;
    });
    first = last;
    if (progress) progress("checking the packed file", static_cast<double>(done) / static_cast<double>(std::max<std::size_t>(total, 1)));
  }
  for (std::size_t i = 0; i < sections.size(); ++i)
    if (good[i] == 0) file_->fail_damaged(*sections[i]);
}

std::vector<Int8Exception> PackedCheckpoint::int8_exceptions() const {
  std::vector<Int8Exception> all;
  for (const io::PackedSection& s : file_->sections()) {
    if (!s.name.starts_with(kLinearSection)) continue;
    const auto some = exceptions_of(s.info);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

PackedContents PackedCheckpoint::contents() const {
  PackedContents c;
  c.made_by = meta_.made_by;
  c.source = meta_.source;
  c.precision = meta_.precision;
  c.allow_nonfinite = meta_.allow_nonfinite;
  c.bytes = file_->bytes();
  const Context ctx({.threads = 1, .isa = {}});
  for (const PackedRow& row : meta_.rows) c.rows.push_back({io::printable(row.name), row_problem(ctx, row.name), 0, 0});
  const std::string file = file_section("");
  for (const io::PackedSection& s : file_->sections()) {
    if (s.name.starts_with(kLinearSection)) {
      const auto at = std::ranges::find(meta_.rows, s.info.at("row").string(), &PackedRow::name) - meta_.rows.begin();
      PackedContents::Row& row = c.rows[static_cast<std::size_t>(at)];
      ++row.count;
      row.bytes += s.size;
    } else if (s.name.starts_with(kTensorSection)) {
      (s.name.ends_with(kEmbedTokens) ? c.table_bytes : c.tensor_bytes) += s.size;
    } else {
      c.file_bytes += s.size;
      if (s.name.starts_with(file)) c.files.push_back(s.name.substr(file.size()));
    }
  }
  return c;
}

}  // namespace tessera::models

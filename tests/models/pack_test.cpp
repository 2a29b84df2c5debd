// A packed checkpoint is the checkpoint: the same actions bit for bit, with nothing beside it; and what cannot be the same is refused.
#include "tessera/models/policy/pack.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/packed_file.h"
#include "tessera/io/safetensors.h"
#include "tessera/models/policy/packed_checkpoint.h"
#include "tessera/ops/kernel_table.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / name; }

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

PolicyOptions in(Precision precision) {
  PolicyOptions options;
  options.precision = precision;
  return options;
}

PolicyOptions for_robot(const std::string& robot) {
  PolicyOptions options;
  options.robot = robot;
  return options;
}

/// int8 where some kernel row serves it.
std::vector<Precision> precisions(Context& ctx) {
  std::vector<Precision> list = {Precision::f32, Precision::bf16};
  try {
    (void)ops::prepare_linear(ctx, ops::LinearPart{Tensor::zeros({3, 3}, DType::f32), {}}, DType::i8);
    list.push_back(Precision::int8);
  } catch (const Error&) {
  }
  return list;
}

Observation observation_of(const Policy& policy, float phase = 0.3f) {
  Observation o;
  for (const CameraSlot& slot : policy.cameras()) {
    if (slot.always_absent) continue;
    Tensor image = Tensor::empty({40, 52, 3}, DType::f32);
    for (std::int64_t i = 0; i < image.numel(); ++i) image.data<float>()[i] = 0.5f + 0.5f * std::sin(phase + 0.01f * static_cast<float>(i));
    o.images[slot.name] = image;
    phase += 1;
  }
  for (std::int64_t i = 0; i < policy.state_dim(); ++i) o.state.push_back(0.1 * static_cast<double>(i) - 0.2);
  o.prompt = "open the faucet";
  return o;
}

/// The file again with another meta object, other names, infos or bytes; its sums are right.
using Section = std::pair<io::PackedSection, std::string>;
void rewrite(const fs::path& from, const fs::path& to, const std::function<void(std::string& meta, std::vector<Section>& sections)>& change) {
  const auto file = io::PackedFile::open(from);
  std::string meta = file->meta().dump(-1);
  std::vector<Section> sections;
  for (const io::PackedSection& s : file->sections()) {
    const auto bytes = file->bytes(s);
    sections.emplace_back(s, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  change(meta, sections);
  io::PackedWriter writer(to, true);
  for (const auto& [section, bytes] : sections) writer.add(section.name, std::as_bytes(std::span(bytes)), section.info);
  writer.finish(io::Json::parse(meta, "meta"));
}

void swap_all(std::string& text, const std::string& from, const std::string& to) {
  std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  for (; at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

class Pack : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tessera_pack_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    out_ = folder_ / "a.tessera";
  }
  void TearDown() override { fs::remove_all(folder_); }

  template <class Fn>
  static void expect_error(const std::string& says, Fn fn) {
    try {
      fn();
      ADD_FAILURE() << "no error about " << says;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << "'" << says << "' is not in: " << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    }
  }

  fs::path folder_;
  fs::path out_;
  std::size_t exceptions_ = 0;
  Context ctx_{{.threads = 2, .isa = {}}};
};

TEST_F(Pack, ActionsAreTheFoldersBitForBit) {
  for (const char* which : {"pi0/lerobot_pi0_a", "pi0/lerobot_pi05_a", "policies/metaworld_pi0"})
    for (const Precision precision : precisions(ctx_)) {
      SCOPED_TRACE(std::string(which) + " " + std::string(name(precision)));
      const PolicyOptions options = in(precision);
      const PackReport report = pack_checkpoint(ctx_, golden(which), out_, options, true);
      EXPECT_EQ(report.contents.precision, precision);
      EXPECT_EQ(report.contents.bytes, fs::file_size(out_));
      EXPECT_EQ(report.contents.source, fs::path(which).filename());
      Policy from_folder = Policy::load(ctx_, golden(which), options);
      // Elsewhere, alone: nothing beside it is read.
      const fs::path alone = folder_ / "alone";
      fs::create_directories(alone);
      fs::rename(out_, alone / "b.tessera");
      Policy from_file = Policy::load(ctx_, alone / "b.tessera");
      Policy second = Policy::load(ctx_, alone / "b.tessera");
      EXPECT_EQ(from_file.model().precision(), precision);
      EXPECT_EQ(from_file.model().weight_bytes(), from_folder.model().weight_bytes());
      const auto& exceptions = from_folder.model().int8_exceptions();
      EXPECT_TRUE(std::ranges::equal(from_file.model().int8_exceptions(), exceptions,
                                     [](const Int8Exception& a, const Int8Exception& b) { return a.name == b.name && a.error == b.error; }));
      exceptions_ += exceptions.size();
      const Observation o = observation_of(from_folder);
      for (const int steps : {0, 3}) {  // 3: pi0.5 reads its norms' weights again
        ActOptions act;
        act.steps = steps;
        const ActionChunk wanted = from_folder.act(ctx_, o, act);
        const ActionChunk got = from_file.act(ctx_, o, act);
        EXPECT_EQ(got.actions, wanted.actions);
        EXPECT_EQ(got.names, wanted.names);
        EXPECT_EQ(std::memcmp(got.model.raw(), wanted.model.raw(), wanted.model.bytes()), 0);
        Context one({.threads = 1, .isa = {}});
        EXPECT_EQ(second.act(one, o, act).actions, wanted.actions);
      }
      from_file.act(ctx_, observation_of(from_folder, 2.0f));  // one policy's work is not seen by the other
      EXPECT_EQ(second.act(ctx_, o).actions, from_folder.act(ctx_, o).actions);
    }
}

TEST_F(Pack, HoldsOnlyWhatIsRead) {
  pack_checkpoint(ctx_, golden("pi0/lerobot_pi05_a"), out_);
  std::size_t dense = 0;
  const auto file = io::PackedFile::open(out_);
  for (const io::PackedSection& s : file->sections()) {
    EXPECT_EQ(s.name.find("lm_head"), std::string::npos) << s.name;
    EXPECT_EQ(s.name.find("io.safetensors"), std::string::npos) << s.name;
    EXPECT_EQ(s.name.find("README"), std::string::npos) << s.name;
    if (s.name.starts_with("tensor/")) EXPECT_EQ(s.name.find("_proj."), std::string::npos) << s.name;  // packed
    if (s.name.starts_with("tensor/") && s.name.ends_with("dense.weight")) ++dense;
  }
  EXPECT_GT(dense, 2u);
}

TEST_F(Pack, InspectTellsTheSame) {
  const fs::path folder = golden("policies/metaworld_pi0");
  pack_checkpoint(ctx_, folder, out_, in(Precision::bf16));
  const CheckpointReport a = inspect_checkpoint(folder);
  const CheckpointReport b = inspect_checkpoint(out_);
  EXPECT_FALSE(a.packed);
  ASSERT_TRUE(b.packed);
  EXPECT_EQ(b.packed->precision, Precision::bf16);
  EXPECT_EQ(b.packed->source, "metaworld_pi0");
  EXPECT_EQ(b.packed->made_by.substr(0, 8), "tessera ");
  EXPECT_GE(b.packed->rows.size(), 2u);
  for (const auto& row : b.packed->rows) {
    EXPECT_GT(row.count, 0);
    EXPECT_EQ(row.missing, "");
  }
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.hot_parameters, b.hot_parameters);
  EXPECT_EQ(a.stored_dtypes, b.stored_dtypes);
  EXPECT_EQ(a.names_variant, b.names_variant);
  EXPECT_EQ(a.unused, b.unused);
  EXPECT_EQ(a.notes, b.notes);
  EXPECT_EQ(a.state_norm, b.state_norm);
  EXPECT_TRUE(b.missing.empty() && b.misshapen.empty() && b.errors.empty());
}

TEST_F(Pack, ModelAloneAndWithoutTokenizer) {
  const fs::path folder = golden("pi0/openpi_pi0_a");
  const PackReport report = pack_checkpoint(ctx_, folder, out_);
  ASSERT_FALSE(report.warnings.empty());
  EXPECT_NE(report.warnings.back().find("--tokenizer FILE"), std::string::npos);
  EXPECT_EQ(Policy::load_model(ctx_, out_).weight_bytes(), Policy::load_model(ctx_, folder).weight_bytes());
  expect_error("a tokenizer in the packed file", [&] { Policy::load(ctx_, out_); });
  PolicyOptions options;
  options.tokenizer = golden("pi0/lerobot_pi0_a/tokenizer.model");
  EXPECT_NO_THROW(Policy::load(ctx_, out_, options));
  pack_checkpoint(ctx_, folder, out_, options, true);
  EXPECT_NO_THROW(Policy::load(ctx_, out_));
  options.tokenizer = folder_;  // a folder without one
  expect_error("tokenizer.model or tokenizer.json", [&] { pack_checkpoint(ctx_, folder, out_, options, true); });
}

TEST_F(Pack, OptionsAreRemembered) {
  // An openpi folder with statistics of two robots, of which neither is ALOHA's.
  const fs::path folder = folder_ / "openpi";
  fs::create_directories(folder / "assets" / "droid");
  for (const auto& entry : fs::directory_iterator(golden("pi0/openpi_pi0_a"))) fs::copy(entry.path(), folder / entry.path().filename());
  const auto statistics = [](double scale) {
    std::string low, high;
    for (int i = 0; i < 32; ++i) {
      low += (i > 0 ? "," : "") + std::to_string(0.1 * i * scale);
      high += (i > 0 ? "," : "") + std::to_string(scale + 0.05 * i);
    }
    const std::string one = "{\"mean\":[" + low + "],\"std\":[" + high + "],\"q01\":[" + low + "],\"q99\":[" + high + "]}";
    return "{\"norm_stats\":{\"state\":" + one + ",\"actions\":" + one + "}}";
  };
  std::ofstream(folder / "assets" / "droid" / "norm_stats.json") << statistics(1);
  fs::create_directories(folder_ / "mine");
  std::ofstream(folder_ / "mine" / "norm_stats.json") << statistics(3);
  PolicyOptions options;
  options.robot = "pi0_aloha";
  options.tokenizer = golden("pi0/lerobot_pi0_a/tokenizer.model");
  expect_error("norm_stats.json", [&] { pack_checkpoint(ctx_, folder, out_, options); });
  EXPECT_FALSE(fs::exists(out_));
  options.norm_stats = folder_ / "mine";
  options.schedule = TimeSchedule::exact;
  options.any_prompt = true;
  options.precision = Precision::f32;
  pack_checkpoint(ctx_, folder, out_, options);
  Policy wanted = Policy::load(ctx_, folder, options);
  fs::remove_all(folder);
  fs::remove_all(folder_ / "mine");
  Policy got = Policy::load(ctx_, out_);
  EXPECT_EQ(got.state_dim(), 14);
  EXPECT_EQ(got.model().config().schedule, TimeSchedule::exact);
  Observation o = observation_of(wanted);
  o.prompt = "";  // any prompt
  EXPECT_EQ(got.act(ctx_, o).actions, wanted.act(ctx_, o).actions);
  // The caller may say otherwise; that robot's statistics came along.
  const CheckpointReport other = inspect_checkpoint(out_, for_robot("pi0_droid"));
  EXPECT_EQ(other.robot, "pi0_droid");
  EXPECT_TRUE(other.errors.empty());
}

TEST_F(Pack, WhatThisMachineCannotRunIsRefused) {
  const fs::path folder = golden("policies/metaworld_pi0");
  const PackReport report = pack_checkpoint(ctx_, folder, out_, in(Precision::f32));
  const std::string row = report.contents.rows.at(0).name;
  const fs::path bad = folder_ / "b.tessera";
  // A row that nobody has.
  rewrite(out_, bad, [&](std::string& meta, std::vector<Section>& sections) {
    swap_all(meta, "\"" + row + "\"", "\"quantum_f32\"");
    for (Section& s : sections)
      if (!s.first.info.is_null()) s.first.info.set("row", "quantum_f32");
  });
  expect_error("was packed for the kernel row 'quantum_f32', which cannot run here", [&] { Policy::load(ctx_, bad); });
  expect_error("pack the checkpoint again here: tessera pack CHECKPOINT " + bad.string(), [&] { Policy::load_model(ctx_, bad); });
  EXPECT_EQ(inspect_checkpoint(bad).packed->rows.at(0).missing, "no row of this build");
  // One that this machine or the cap does not have.
  if (row != "scalar_f32") {
    Context capped({.threads = 1, .isa = "scalar"});
    expect_error("above the cap scalar", [&] { Policy::load(capped, out_); });
  }
  for (const ops::RowStatus& status : ops::kernel_rows(ctx_)) {
    if (status.family != "linear" || status.reason.find("this machine lacks") == std::string::npos) continue;
    rewrite(out_, bad, [&](std::string& meta, std::vector<Section>& sections) {
      swap_all(meta, "\"" + row + "\"", "\"" + status.row + "\"");
      for (Section& s : sections)
        if (!s.first.info.is_null()) s.first.info.set("row", status.row);
    });
    expect_error("the kernel row '" + status.row + "', which cannot run here", [&] { Policy::load(ctx_, bad); });
  }
  // The row is there, and laid its weights out in another way when the file was made.
  const std::string layout = io::PackedFile::open(out_)->meta().at("rows").array().at(0).at("layout").string();
  rewrite(out_, bad, [&](std::string& meta, std::vector<Section>&) { swap_all(meta, layout, "0123456789abcdef"); });
  expect_error("lays weights out in another way; pack the checkpoint again: tessera pack", [&] { Policy::load(ctx_, bad); });
  // A section of a row that the file does not list.
  rewrite(out_, bad, [&](std::string&, std::vector<Section>& sections) {
    for (Section& s : sections)
      if (!s.first.info.is_null()) s.first.info.set("row", "other_f32");
  });
  expect_error("a kernel row that the file lists", [&] { Policy::load(ctx_, bad); });
  // A forced row is never replaced silently.
  Context forced({.threads = 1, .isa = {}});
  for (const std::string& other : ops::runnable_rows(forced, "linear"))
    if (other != row) forced.force("linear", other);
  expect_error("is forced", [&] { Policy::load(forced, out_); });
  // What one row made runs on another machine's better one as it is: here, scalar weights.
  Context scalar({.threads = 1, .isa = "scalar"});
  pack_checkpoint(scalar, folder, out_, in(Precision::f32), true);
  Policy got = Policy::load(ctx_, out_);
  EXPECT_EQ(inspect_checkpoint(out_).packed->rows.at(0).name, "scalar_f32");
  EXPECT_EQ(got.act(ctx_, observation_of(got)).actions.size(), 64u);
}

TEST_F(Pack, ARowsLayoutIsTheSameAgainAndAnotherRowsIsNot) {
  std::map<std::uint64_t, std::string> seen;
  for (const std::string& row : ops::runnable_rows(ctx_, "linear"))
    for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
      std::uint64_t layout = 0;
      try {
        layout = row_layout(ctx_, row, dtype);
      } catch (const Error&) {
        continue;  // it multiplies another dtype
      }
      EXPECT_EQ(layout, row_layout(Context({.threads = 3, .isa = {}}), row, dtype));
      const auto [at, fresh] = seen.emplace(layout, row);
      // Two rows may agree on a layout (then the file says by name which one multiplies), but f32 and bf16 cannot.
      if (!fresh) EXPECT_NE(dtype, DType::f32) << row << " and " << at->second;
    }
  EXPECT_GE(seen.size(), 2u);
}

TEST_F(Pack, PrecisionAndNonfinite) {
  const fs::path folder = golden("policies/metaworld_pi0");
  pack_checkpoint(ctx_, folder, out_, in(Precision::bf16));
  EXPECT_NO_THROW(Policy::load(ctx_, out_, in(Precision::bf16)));
  expect_error("holds bf16 weights, and f32 was asked for; pack the checkpoint for that: tessera pack CHECKPOINT " + out_.string() +
                   " --force --precision f32",
               [&] { Policy::load(ctx_, out_, in(Precision::f32)); });

  // One NaN in a packed matrix.
  const fs::path sick = folder_ / "sick";
  fs::create_directories(sick);
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().filename() != "model.safetensors") fs::copy(entry.path(), sick / entry.path().filename());
  std::string weights = slurp(folder / "model.safetensors");
  const auto file = io::SafetensorsFile::open(folder / "model.safetensors");
  for (const io::StoredTensor& t : file->tensors()) {
    if (t.name.find("expert.model.layers.1.mlp.down_proj") == std::string::npos) continue;
    const std::size_t data = weights.size() - file->tensors().back().end;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(weights.data() + data + t.begin + 8, &nan, 4);
  }
  std::ofstream(sick / "model.safetensors", std::ios::binary) << weights;
  const fs::path bad = folder_ / "sick.tessera";
  expect_error("finite weights", [&] { pack_checkpoint(ctx_, sick, bad); });
  EXPECT_FALSE(fs::exists(bad));
  PolicyOptions allow;
  allow.allow_nonfinite = true;
  EXPECT_TRUE(pack_checkpoint(ctx_, sick, bad, allow).contents.allow_nonfinite);
  expect_error("give --allow-nonfinite here, too", [&] { Policy::load(ctx_, bad); });
  EXPECT_NO_THROW(Policy::load(ctx_, bad, allow));
  // In int8 the matrix stays bf16, with a loss that no number says.
  allow.precision = Precision::int8;
  fs::remove(bad);
  pack_checkpoint(ctx_, sick, bad, allow);
  const Policy policy = Policy::load(ctx_, bad, allow);
  ASSERT_EQ(policy.model().int8_exceptions().size(), 1u);
  EXPECT_TRUE(std::isinf(policy.model().int8_exceptions()[0].error));
  EXPECT_EQ(inspect_checkpoint(bad, allow).int8_exceptions->size(), 1u);
}

TEST_F(Pack, OnlyPackedFilesAreReplaced) {
  const fs::path folder = folder_ / "copy";
  fs::copy(golden("policies/metaworld_pi0"), folder);
  const std::string before = slurp(folder / "model.safetensors");
  PolicyOptions options;
  expect_error("a packed file to replace", [&] { pack_checkpoint(ctx_, folder, folder / "model.safetensors", options, true); });
  EXPECT_EQ(slurp(folder / "model.safetensors"), before);
  expect_error("got a directory", [&] { pack_checkpoint(ctx_, folder, folder_, options, true); });
  expect_error("an empty name", [&] { pack_checkpoint(ctx_, folder, "", options, true); });
  pack_checkpoint(ctx_, folder, out_, options);
  expect_error("--force replaces it", [&] { pack_checkpoint(ctx_, folder, out_, options); });
  EXPECT_NO_THROW(pack_checkpoint(ctx_, folder, out_, options, true));
}

TEST_F(Pack, TypesThatDoNotFitTheRowsAreRefused) {
  pack_checkpoint(ctx_, golden("policies/metaworld_pi0"), out_, in(Precision::f32));
  const fs::path bad = folder_ / "b.tessera";
  rewrite(out_, bad, [](std::string& meta, std::vector<Section>&) { swap_all(meta, "\"precision\":\"f32\"", "\"precision\":\"bf16\""); });
  expect_error("of bfloat16", [&] { Policy::load(ctx_, bad); });
}

TEST_F(Pack, DamageIsFoundUnlessNobodyLooks) {
  pack_checkpoint(ctx_, golden("policies/metaworld_pi0"), out_);
  const auto file = io::PackedFile::open(out_);
  const std::string all = slurp(out_);
  const fs::path bad = folder_ / "b.tessera";
  for (const char* kind : {"linear/", "tensor/", "file/"}) {
    SCOPED_TRACE(kind);
    const auto section = std::ranges::find_if(file->sections(), [&](const io::PackedSection& s) { return s.name.starts_with(kind); });
    ASSERT_NE(section, file->sections().end());
    std::string broken = all;
    broken[section->offset + section->size / 2] ^= 0x10;
    std::ofstream(bad, std::ios::binary | std::ios::trunc) << broken;
    expect_error("is damaged (its sum is another); copy the file again, or pack the checkpoint again", [&] { Policy::load(ctx_, bad); });
    PolicyOptions options;
    options.skip_checksums = true;
    if (std::string(kind) != "file/") EXPECT_NO_THROW(Policy::load(ctx_, bad, options));
  }
}

TEST_F(Pack, ContentThatLies) {
  pack_checkpoint(ctx_, golden("pi0/lerobot_pi0_a"), out_);
  const fs::path bad = folder_ / "b.tessera";
  const auto refused = [&](const std::string& says, const std::function<void(std::string&, std::vector<Section>&)>& change) {
    SCOPED_TRACE(says);
    rewrite(out_, bad, change);
    expect_error(says, [&] { Policy::load(ctx_, bad); });
  };
  const auto find = [](std::vector<Section>& sections, const std::string& part) -> Section& {
    return *std::ranges::find_if(sections, [&](const Section& s) { return s.first.name.find(part) != std::string::npos; });
  };
  const auto gone = [&](const std::string& part) {
    return [&, part](std::string&, std::vector<Section>& s) { s.erase(s.begin() + (&find(s, part) - s.data())); };
  };
  const auto info = [&](const std::string& part, const std::string& key, const io::Json& value) {
    return [&, part, key, value](std::string&, std::vector<Section>& s) { find(s, part).first.info.set(key, value); };
  };
  const auto meta = [](const std::string& from, const std::string& to) {
    return [from, to](std::string& m, std::vector<Section>&) { swap_all(m, from, to); };
  };
  refused("\"pi0 policy\"", meta("\"pi0 policy\"", "\"a song\""));
  refused("f32, bf16 or int8", meta("\"precision\":\"f32\"", "\"precision\":\"f64\""));
  refused("precision", meta("\"precision\":", "\"decision\":"));
  refused("which this version of Tessera reads; pack the checkpoint again", gone("layers.0.self_attn.q_proj+k_proj+v_proj"));
  refused("which this version of Tessera reads", gone("embed_tokens"));
  refused("config.json", gone("file/config.json"));
  refused("a tokenizer in the packed file", gone("file/tokenizer"));
  const std::string qkv = "language_model.layers.0.self_attn.q_proj+k_proj+v_proj";
  refused("n and k of 1 to 2^31", info(qkv, "n", INT64_MAX));
  refused("n", info(qkv, "n", 0));
  refused("k", info(qkv, "k", -5));
  refused("cannot be used", info(qkv, "k", 1000000));
  refused("a section of", info(qkv, "weights", 64));
  refused("weights", info(qkv, "weights", INT64_MAX));
  refused("weights", info(qkv, "weights", -64));
  refused("a description of 'linear/", [&](std::string&, std::vector<Section>& s) { find(s, qkv).first.info = io::Json(); });
  refused("row", [&](std::string&, std::vector<Section>& s) { find(s, qkv).first.info = io::Json(io::Json::Object()); });
  refused("bias", info(qkv, "bias", INT64_MAX));
  refused("a section of", info(qkv, "bias", 3));
  refused("cannot be used", info("mlp.gate_proj*up_proj", "gated", false));
  refused("true or false", info("mlp.gate_proj*up_proj", "gated", 1));
  refused("packed weights", [&](std::string&, std::vector<Section>& s) {  // one of another shape under its name
    Section& a = find(s, "language_model.layers.0.self_attn.q_proj+k_proj+v_proj");
    const Section& b = find(s, "language_model.layers.0.self_attn.o_proj");
    a.first.info = b.first.info;
    a.second = b.second;
  });
  refused("float32 of", [&](std::string&, std::vector<Section>& s) { find(s, "tensor/").second.pop_back(); });
  refused("have another shape", [&](std::string& m, std::vector<Section>&) {  // the list of tensors says another shape than the model needs
    const std::size_t at = m.find("\"shape\":[", m.find("gemma_expert.model.norm.weight"));
    m.insert(at + 9, "3,");
  });
  refused("tensors", meta("\"tensors\":[", "\"tensors\":[7,"));
  refused("2^62", [&](std::string& m, std::vector<Section>&) {
    const std::size_t at = m.find("\"shape\":[", m.find("gemma_expert.model.norm.weight"));
    m.insert(at + 9, "4611686018427387904,4611686018427387904,");
  });
}

TEST_F(Pack, WhatCannotBePacked) {
  const fs::path folder = golden("policies/metaworld_pi0");
  pack_checkpoint(ctx_, folder, out_);
  expect_error("--force replaces it", [&] { pack_checkpoint(ctx_, folder, out_); });
  expect_error("a checkpoint folder to pack, got a packed file", [&] { pack_checkpoint(ctx_, out_, folder_ / "b.tessera"); });
  expect_error("a file to write, got a directory", [&] { pack_checkpoint(ctx_, folder, folder_, {}, true); });
  expect_error("nothing there", [&] { pack_checkpoint(ctx_, folder_ / "none", folder_ / "b.tessera"); });
  PolicyOptions nowhere;
  nowhere.tokenizer = folder_ / "none";
  expect_error("no such file", [&] { pack_checkpoint(ctx_, folder, folder_ / "b.tessera", nowhere); });
  EXPECT_FALSE(fs::exists(folder_ / "b.tessera"));
  std::ofstream(folder_ / "text.tessera") << "not packed";
  expect_error("a file that tessera pack made, got another kind of file", [&] { Policy::load(ctx_, folder_ / "text.tessera"); });
  std::ofstream(folder_ / "empty.tessera").flush();
  expect_error("an empty file", [&] { Policy::load(ctx_, folder_ / "empty.tessera"); });
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 3u);  // no part of a file is left
}

}  // namespace
}  // namespace tessera::models

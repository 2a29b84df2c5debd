// verify() on every golden recording, and on recordings that were damaged on purpose: a check that cannot fail proves nothing.
#include "tessera/models/parity/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/io/safetensors.h"
#include "tessera/models/parity/compare.h"
#include "tests/models/recording_copy.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;
using Copy = RecordingCopy;
const fs::path kGoldens = fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens";

PolicyOptions with(Precision precision) {
  PolicyOptions options;
  options.precision = precision;
  return options;
}

const ParityRow* find(const ParityReport& report, const std::string& stage) {
  const auto row = std::ranges::find_if(report.rows, [&](const ParityRow& r) { return r.stage == stage; });
  return row == report.rows.end() ? nullptr : &*row;
}

std::string message_of(const fs::path& checkpoint, const fs::path& recording) {
  Context ctx;
  try {
    verify(ctx, checkpoint, recording, with(Precision::f32));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

struct Folder {
  const char* path;
  std::size_t recordings;
  std::vector<std::string> stages;  // some that must be among the rows in f32
};

const std::vector<Folder> kFolders = {
    {"pi0/openpi_pi0_a", 1, {"prefix_embs", "cache.0.k", "cache.3.v", "time (10 steps)", "v_t (10 steps)", "actions"}},
    {"pi0/lerobot_pi0_a",
     2,
     {"vision.0", "vision.2", "image_embs.0", "prefix_embs", "cache.2.k", "x_t (5 steps)", "suffix_embs (5 steps)", "v_t (5 steps)", "actions",
      "pre.images.0", "pre.images.1", "pre.image_masks", "pre.tokens", "prompt", "pre.state", "actions_normalised"}},
    {"pi0/lerobot_pi05_a", 2, {"vision.1", "cache.4.v", "adarms_cond (8 steps)", "actions", "pre.tokens", "prompt"}},
    {"policies/metaworld_pi0", 8, {"pre.images.0", "pre.images.1", "pre.tokens", "pre.state", "actions_normalised", "actions"}},
};

class Golden : public testing::TestWithParam<Folder> {};
INSTANTIATE_TEST_SUITE_P(Folders, Golden, testing::ValuesIn(kFolders),
                         [](const auto& info) { return fs::path(info.param.path).filename().string(); });

TEST_P(Golden, PassesInF32) {
  Context ctx;
  const fs::path folder = kGoldens / GetParam().path;
  const ParityReport report = verify(ctx, folder, folder, with(Precision::f32));
  EXPECT_TRUE(report.pass) << report.summary;
  for (const std::string& stage : GetParam().stages) EXPECT_NE(find(report, stage), nullptr) << stage;
  std::set<std::string> recordings;
  for (const ParityRow& row : report.rows) {
    recordings.insert(row.recording);
    EXPECT_TRUE(row.judged) << row.stage;
    EXPECT_TRUE(row.pass) << row.recording << " " << row.stage << " " << row.max_rel;
    // The limit of the format is 2e-4; this engine is nearer to its references than that, but for resized pictures.
    if (!row.stage.starts_with("pre.images")) {
      EXPECT_LE(row.max_rel, 2e-5) << row.recording << " " << row.stage;
    }
  }
  EXPECT_EQ(recordings.size(), GetParam().recordings);
  EXPECT_EQ(report.summary.rfind(std::to_string(GetParam().recordings) + " recording", 0), 0u) << report.summary;
}

TEST_P(Golden, PassesInBf16) {
  Context ctx;
  const fs::path folder = kGoldens / GetParam().path;
  const ParityReport report = verify(ctx, folder, folder, with(Precision::bf16));
  EXPECT_TRUE(report.pass) << report.summary;
  std::size_t actions = 0;
  for (const ParityRow& row : report.rows)
    if (row.judged && row.stage.starts_with("actions")) {
      ++actions;
      EXPECT_GT(row.rms, 0) << "bf16 that is exactly f32 is no bf16";
      EXPECT_GT(row.reference_rms, 0);
      EXPECT_LE(row.rms, 2 * row.reference_rms);
      EXPECT_GE(row.pcc, 0.999);
    }
  EXPECT_GE(actions, 1u);
}

TEST_P(Golden, PassesInInt8) {
  Context ctx;
  const fs::path folder = kGoldens / GetParam().path;
  const ParityReport report = verify(ctx, folder, folder, with(Precision::int8));
  EXPECT_TRUE(report.pass) << report.summary;
  EXPECT_NE(report.summary.find("int8 actions with a PCC of at least 0.99"), std::string::npos) << report.summary;
  std::size_t actions = 0;
  for (const ParityRow& row : report.rows) {
    const bool before = row.stage.starts_with("pre.") || row.stage.starts_with("time") || row.stage == "prompt" || row.stage == "prefix_position_ids";
    if (!before && row.judged) {
      ++actions;
      EXPECT_TRUE(row.stage.starts_with("actions")) << row.stage << ": inner stages are for information";
      EXPECT_EQ(row.pcc_limit, 0.999);
      EXPECT_EQ(row.limit, std::numeric_limits<double>::infinity()) << "no distance of the reference's to be held against";
      EXPECT_GE(row.pcc, 0.999) << row.stage;
      EXPECT_GT(row.rms, 0) << "int8 that is exactly f32 is no int8";
    }
  }
  EXPECT_GE(actions, 1u);
}

TEST(ParityDamage, Int8IsJudgedByCorrelationAlone) {
  Context ctx;
  const fs::path folder = kGoldens / "pi0" / "openpi_pi0_a";
  // A bf16 run of the reference without any distance would fail bf16, and does not matter here.
  const fs::path near = Copy(folder / "io.safetensors").overwrite("bf16.actions", "f32.actions").write("parity_int8_near.safetensors");
  EXPECT_TRUE(verify(ctx, folder, near, with(Precision::int8)).pass);
  const fs::path far = Copy(folder / "io.safetensors").overwrite("f32.actions", "in.noise").write("parity_int8_far.safetensors");
  const ParityReport report = verify(ctx, folder, far, with(Precision::int8));
  EXPECT_FALSE(report.pass) << report.summary;
  EXPECT_LT(find(report, "actions")->pcc, 0.999);
}

TEST(ParityBf16Checkpoint, PassesAgainstTheRecordingsOfTheF32Policy) {
  Context ctx;
  const fs::path folder = kGoldens / "policies" / "metaworld_pi0";
  const ParityReport report = verify(ctx, folder / "bf16", folder / "observations", {});
  EXPECT_TRUE(report.pass) << report.summary;
  EXPECT_NE(find(report, "actions (8 recordings)"), nullptr) << "the checkpoint asks for bf16";
}

TEST(ParityFiles, OneRecordingOfAnIndexCanBeRunAlone) {
  Context ctx;
  const fs::path folder = kGoldens / "policies" / "metaworld_pi0";
  const ParityReport report = verify(ctx, folder, folder / "observations" / "faucet-close-1.safetensors", with(Precision::f32));
  EXPECT_TRUE(report.pass) << report.summary;
  for (const ParityRow& row : report.rows) EXPECT_EQ(row.recording, "faucet-close-1.safetensors");
}

TEST(ParityDamage, OneWrongValueFailsItsStageAlone) {
  Context ctx;
  const fs::path folder = kGoldens / "pi0" / "openpi_pi0_a";
  const auto damaged = [&](const std::string& name, const std::string& stage) {
    const fs::path file = Copy(folder / "io.safetensors").shift("f32." + name, 3, 0.01f).write("parity_shift.safetensors");
    const ParityReport report = verify(ctx, folder, file, with(Precision::f32));
    EXPECT_FALSE(report.pass) << name;
    EXPECT_NE(report.summary.find("1 FAILED"), std::string::npos) << report.summary;
    for (const ParityRow& row : report.rows) EXPECT_EQ(row.pass, row.stage != stage) << row.stage;
    ASSERT_NE(find(report, stage), nullptr);
    EXPECT_NEAR(find(report, stage)->max_abs, 0.01, 1e-4) << stage;
  };
  damaged("actions", "actions");
  damaged("cache.2.v", "cache.2.v");
  damaged("prefix_embs", "prefix_embs");
  damaged("v_t", "v_t (10 steps)");
  damaged("time", "time (10 steps)");
}

TEST(ParityDamage, AWrongInputFailsLaterStages) {
  Context ctx;
  const fs::path folder = kGoldens / "pi0" / "openpi_pi0_a";
  const fs::path file = Copy(folder / "io.safetensors").shift("in.state", 1, 0.5f).write("parity_state.safetensors");
  const ParityReport report = verify(ctx, folder, file, with(Precision::f32));
  EXPECT_TRUE(find(report, "cache.3.k")->pass);
  EXPECT_FALSE(find(report, "v_t (10 steps)")->pass);
  EXPECT_FALSE(find(report, "actions")->pass);
}

TEST(ParityDamage, GarbageInMaskedRowsIsNotLookedAt) {
  Context ctx;
  const fs::path folder = kGoldens / "pi0" / "openpi_pi0_a";
  const auto io = io::SafetensorsFile::open(folder / "io.safetensors");
  const std::vector<std::int64_t> mask = io->integers("f32.prefix_pad_mask");
  const auto masked = static_cast<std::size_t>(std::ranges::find(mask, 0) - mask.begin());
  ASSERT_LT(masked, mask.size());
  const fs::path file = Copy(folder / "io.safetensors")
                            .shift("f32.cache.1.k", masked * 16 + 2, 1e6f)
                            .shift("in.images.2", 5, 1e6f)  // the absent camera
                            .write("parity_masked.safetensors");
  EXPECT_TRUE(verify(ctx, folder, file, with(Precision::f32)).pass);
  const fs::path real = Copy(folder / "io.safetensors").shift("f32.cache.1.k", 2, 1e6f).write("parity_unmasked.safetensors");
  EXPECT_FALSE(verify(ctx, folder, real, with(Precision::f32)).pass);
}

TEST(ParityDamage, Bf16IsHeldAgainstTheReferencesOwn) {
  Context ctx;
  const fs::path folder = kGoldens / "pi0" / "lerobot_pi0_a";
  // A reference whose bf16 run is its f32 run leaves no room.
  const fs::path file = Copy(folder / "io.safetensors").overwrite("bf16.actions", "f32.actions").write("parity_nobf16.safetensors");
  const ParityReport strict = verify(ctx, folder, file, with(Precision::bf16));
  EXPECT_FALSE(strict.pass) << strict.summary;
  // Without a recorded bf16 run only the correlation is judged.
  const fs::path none = Copy(folder / "io.safetensors").rename("bf16.actions", "none.actions").write("parity_norun.safetensors");
  const ParityReport open = verify(ctx, folder, none, with(Precision::bf16));
  EXPECT_TRUE(open.pass) << open.summary;
  EXPECT_EQ(find(open, "actions")->reference_rms, -1);
}

TEST(ParityErrors, SayWhatIsMissing) {
  const fs::path folder = kGoldens / "pi0" / "openpi_pi0_a";
  const fs::path io = folder / "io.safetensors";
  EXPECT_NE(message_of(folder, folder / "nothing").find("nothing there"), std::string::npos);
  const fs::path empty = fs::path(testing::TempDir()) / "parity_empty";
  fs::create_directories(empty);
  EXPECT_NE(message_of(folder, empty).find("io.safetensors, policy_io.safetensors"), std::string::npos);
  EXPECT_NE(message_of(folder, Copy(io).rename("in.noise", "in.noisy").write("parity_a.safetensors")).find("'in.noise'"), std::string::npos);
  for (const char* name : {"in.images.0", "in.image_masks.1", "in.tokens", "in.token_mask", "in.state", "f32.actions"}) {
    std::string gone = name;
    gone[1] = 'x';
    EXPECT_NE(message_of(folder, Copy(io).rename(name, gone).write("parity_b.safetensors")).find(name), std::string::npos) << name;
  }
  // Another checkpoint's recording: pictures of another size.
  EXPECT_NE(message_of(folder, kGoldens / "pi0" / "lerobot_pi0_a" / "io.safetensors").find("in.images.0"), std::string::npos);
  // A policy-level recording without its sentence.
  const fs::path lonely = fs::path(testing::TempDir()) / "parity_lonely" / "policy_io.safetensors";
  fs::create_directories(lonely.parent_path());
  fs::copy_file(kGoldens / "pi0" / "lerobot_pi0_a" / "policy_io.safetensors", lonely, fs::copy_options::overwrite_existing);
  EXPECT_NE(message_of(kGoldens / "pi0" / "lerobot_pi0_a", lonely).find("policy_io.json"), std::string::npos);
  EXPECT_NE(message_of(folder, folder / "model.safetensors").find("'in.noise'"), std::string::npos);
}

TEST(Comparison, DistancesAndCorrelation) {
  const std::vector<double> reference{1, 2, 3, -4}, got{1, 2.5, 3, -4}, bf16{1, 2, 3, -3};
  Comparison c;
  c.add(got, reference);
  EXPECT_EQ(c.max_abs(), 0.5);
  EXPECT_EQ(c.max_rel(), 0.125);
  EXPECT_EQ(c.rms(), 0.25);
  EXPECT_EQ(c.reference_rms(), -1);
  c.add_bf16(bf16, reference);
  EXPECT_EQ(c.reference_rms(), 0.5);
  // Pearson by hand: sums 2.5 and 2, squares 32.25 and 30, products 31.
  EXPECT_NEAR(c.pcc(), (31 - 2.5 * 2 / 4) / std::sqrt((32.25 - 2.5 * 2.5 / 4) * (30 - 1.0)), 1e-15);

  const std::vector<double> constant(4, 3.0);
  Comparison equal;
  equal.add(constant, constant);
  EXPECT_EQ(equal.pcc(), 1);
  Comparison unequal;
  unequal.add(constant, reference);
  EXPECT_EQ(unequal.pcc(), 0);

  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> broken{1, nan, 3, -4};
  Comparison wrong;
  wrong.add(broken, reference);
  EXPECT_EQ(wrong.max_rel(), std::numeric_limits<double>::infinity());
  EXPECT_FALSE(wrong.rms() <= 1e300);
}

}  // namespace
}  // namespace tessera::models

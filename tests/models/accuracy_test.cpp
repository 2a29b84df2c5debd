// The bill against plain sums over the same actions, and against recordings that were moved by a known distance.
#include "tessera/models/parity/accuracy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/safetensors.h"
#include "tests/models/recording_copy.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;
const fs::path kGoldens = fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens";
const fs::path kTrained = kGoldens / "policies" / "metaworld_pi0";
const fs::path kLeRobot = kGoldens / "pi0" / "lerobot_pi0_a";
const fs::path kOpenpi = kGoldens / "pi0" / "openpi_pi0_a";

AccuracyReport bill(const fs::path& checkpoint, const std::vector<fs::path>& recordings, const std::vector<Precision>& precisions,
                    const PolicyOptions& options = {}) {
  Context ctx;
  return accuracy(ctx, checkpoint, recordings, precisions, options);
}

std::string message_of(const fs::path& checkpoint, const std::vector<fs::path>& recordings, const std::vector<Precision>& precisions) {
  try {
    bill(checkpoint, recordings, precisions);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// The figures of a row, by plain sums in two passes.
struct Plain {
  double pcc = 0, max = 0, mean = 0, rms = 0;
  std::vector<double> dim_max, dim_mean;

  Plain(const std::vector<double>& got, const std::vector<double>& reference, std::size_t dims) : dim_max(dims), dim_mean(dims) {
    const auto n = static_cast<double>(got.size());
    double a = 0, b = 0, aa = 0, bb = 0, ab = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double distance = std::fabs(got[i] - reference[i]);
      max = std::max(max, distance);
      mean += distance / n;
      rms += distance * distance / n;
      dim_max[i % dims] = std::max(dim_max[i % dims], distance);
      dim_mean[i % dims] += distance / n * static_cast<double>(dims);
      a += got[i] / n;
      b += reference[i] / n;
    }
    rms = std::sqrt(rms);
    for (std::size_t i = 0; i < got.size(); ++i) {
      aa += (got[i] - a) * (got[i] - a);
      bb += (reference[i] - b) * (reference[i] - b);
      ab += (got[i] - a) * (reference[i] - b);
    }
    pcc = ab / std::sqrt(aa * bb);
  }
};

/// Sums of a few hundred doubles in another order: 1e-12 of the figure is thousands of roundings.
void expect_row(const AccuracyRow& row, const Plain& plain) {
  const auto near = [](double got, double expected) { EXPECT_NEAR(got, expected, 1e-12 * (1 + std::fabs(expected))); };
  near(row.pcc, plain.pcc);
  near(row.max_abs, plain.max);
  near(row.mean_abs, plain.mean);
  near(row.rms, plain.rms);
  ASSERT_EQ(row.dimensions.size(), plain.dim_max.size());
  std::size_t worst = 0;
  for (std::size_t d = 0; d < plain.dim_max.size(); ++d) {
    near(row.dimensions[d].max_abs, plain.dim_max[d]);
    near(row.dimensions[d].mean_abs, plain.dim_mean[d]);
    if (plain.dim_mean[d] > plain.dim_mean[worst]) worst = d;
  }
  EXPECT_EQ(row.worst, worst);
}

void append(std::vector<double>& all, const std::vector<double>& more) { all.insert(all.end(), more.begin(), more.end()); }

TEST(Accuracy, FiguresArePlainSumsOverTheSameActions) {
  const fs::path folder = kTrained / "observations";
  const AccuracyReport report = bill(kTrained, {folder}, {Precision::bf16, Precision::f32});
  Context ctx;
  PolicyOptions options;
  options.precision = Precision::bf16;
  Policy policy = Policy::load(ctx, kTrained, options);
  std::vector<double> got, reference, own;
  const io::Json index = io::Json::read(folder / "index.json");
  const auto& entries = index.at("observations").array();
  for (const io::Json& entry : entries) {
    const auto file = io::SafetensorsFile::open(folder / entry.at("recording").string());
    Observation observation;
    observation.prompt = entry.at("sentence").string();
    observation.state = file->doubles("obs.observation.state");
    for (const char* camera : {"observation.images.scene", "observation.images.wrist"})
      observation.images[camera] = file->tensor(std::string("obs.") + camera);
    ActOptions act;
    act.noise = file->tensor("noise");
    act.steps = index.find("num_steps") == nullptr ? 0 : static_cast<int>(index.at("num_steps").integer());
    append(got, policy.act(ctx, observation, act).actions);
    append(reference, file->doubles("out.actions"));
    append(own, file->doubles("bf16.actions"));
  }
  ASSERT_EQ(report.rows.size(), 3u);
  EXPECT_EQ(report.recordings, entries.size());
  EXPECT_EQ(report.actions, got.size() / 4);
  EXPECT_TRUE(report.robot_units);
  EXPECT_EQ(report.rows[0].name, "bf16");
  EXPECT_EQ(report.rows[1].name, "f32");
  EXPECT_EQ(report.rows[2].name, "reference bf16");
  for (const AccuracyRow& row : report.rows) EXPECT_EQ(row.recordings, entries.size());
  const Plain ours(got, reference, 4), theirs(own, reference, 4);
  expect_row(report.rows[0], ours);
  expect_row(report.rows[2], theirs);
  EXPECT_NEAR(report.rows[0].to_reference, ours.rms / theirs.rms, 1e-12);
  EXPECT_EQ(report.rows[2].to_reference, -1);
}

TEST(Accuracy, F32IsExactAndBf16NoWorseThanTwiceTheReferences) {
  const std::vector<std::pair<fs::path, std::size_t>> folders = {
      {kTrained, 4}, {kLeRobot, 7}, {kGoldens / "pi0" / "lerobot_pi05_a", 7}, {kOpenpi, 32}};
  for (const auto& [folder, dims] : folders) {
    const AccuracyReport report = bill(folder, {folder}, {Precision::f32, Precision::bf16});
    ASSERT_EQ(report.rows.size(), 3u) << folder;
    const AccuracyRow &f32 = report.rows[0], &bf16 = report.rows[1], &reference = report.rows[2];
    EXPECT_EQ(f32.dimensions.size(), dims);
    EXPECT_LE(f32.max_abs, 1e-4) << folder;  // verify's bound, 2e-4 of actions whose largest is below 5, and these are nearer
    EXPECT_GE(f32.pcc, 1 - 1e-9);
    EXPECT_GT(bf16.rms, 20 * f32.rms) << "bf16 that is as near as f32 is no bf16";
    EXPECT_LE(bf16.rms, 2 * reference.rms) << folder;
    EXPECT_LE(bf16.mean_abs, 2 * reference.mean_abs) << folder;
    EXPECT_GE(bf16.pcc, 0.999) << folder;
    EXPECT_EQ(report.robot_units, folder != kOpenpi) << folder;
  }
}

TEST(Accuracy, Int8CostsMoreThanBf16AndStaysNear) {
  for (const fs::path& folder : {kTrained, kLeRobot, kGoldens / "pi0" / "lerobot_pi05_a", kOpenpi}) {
    const AccuracyReport report = bill(folder, {folder}, {Precision::int8, Precision::bf16});
    ASSERT_EQ(report.rows.size(), 3u) << folder;
    EXPECT_EQ(report.rows[0].name, "int8");
    EXPECT_GE(report.rows[0].pcc, 0.999) << folder;  // what verify asks for
    EXPECT_GT(report.rows[0].rms, report.rows[1].rms) << folder;
    EXPECT_GT(report.rows[0].to_reference, 0) << folder;
  }
}

TEST(Accuracy, ModelLevelActionsAreUnnormalised) {
  const io::Json processor = io::Json::read(kLeRobot / "policy_postprocessor.json");
  const AccuracyReport report = bill(kLeRobot, {kLeRobot / "io.safetensors"}, {Precision::bf16});
  EXPECT_TRUE(report.robot_units);
  // The reference's line by hand: mean and standard deviation, of which only the second shows in a distance.
  const auto stats = io::SafetensorsFile::open(kLeRobot / "policy_postprocessor_step_0_unnormalizer_processor.safetensors");
  const std::vector<double> deviation = stats->doubles("action.std"), mean = stats->doubles("action.mean");
  const auto file = io::SafetensorsFile::open(kLeRobot / "io.safetensors");
  const std::vector<double> f32 = file->doubles("f32.actions"), bf16 = file->doubles("bf16.actions");
  std::vector<double> got, reference;
  for (std::size_t i = 0; i < f32.size(); ++i) {
    const std::size_t d = i % 32;
    if (d >= 7) continue;  // padding: not the robot's
    got.push_back(bf16[i] * deviation[d] + mean[d]);
    reference.push_back(f32[i] * deviation[d] + mean[d]);
  }
  const Plain plain(got, reference, 7);
  ASSERT_EQ(report.rows.size(), 2u);
  const AccuracyRow& row = report.rows[1];
  // Un-normalising rounds both to f32: an ulp each of values below 8.
  EXPECT_NEAR(row.max_abs, plain.max, 2e-6);
  EXPECT_NEAR(row.mean_abs, plain.mean, 2e-6);
  EXPECT_NEAR(row.pcc, plain.pcc, 1e-6);
  for (std::size_t d = 0; d < 7; ++d) EXPECT_NEAR(row.dimensions[d].max_abs, plain.dim_max[d], 2e-6) << d;
}

TEST(Accuracy, NormalisedUnitsAreSaid) {
  const AccuracyReport report = bill(kOpenpi, {kOpenpi}, {Precision::f32});
  EXPECT_FALSE(report.robot_units);
  EXPECT_EQ(report.units, "normalised units");
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("tokenizer"), std::string::npos) << "the note says why: " << report.notes[0];
}

TEST(Accuracy, MatricesThatStayBf16AreSaid) {
  const fs::path folder = fs::path(testing::TempDir()) / "accuracy_kept";
  fs::create_directories(folder);
  fs::copy_file(kOpenpi / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
  const auto model = io::SafetensorsFile::open(kOpenpi / "model.safetensors");
  std::string name;
  for (const io::StoredTensor& tensor : model->tensors())
    if (tensor.name.find("gemma_expert") != std::string::npos && tensor.name.ends_with("o_proj.weight")) name = tensor.name;
  ASSERT_FALSE(name.empty());
  // One huge weight takes all steps of its output's scale.
  fs::rename(RecordingCopy(kOpenpi / "model.safetensors").shift(name, 1, 1000.0f).write("accuracy_kept.safetensors"), folder / "model.safetensors");
  const auto kept = [&](const fs::path& checkpoint) {
    const AccuracyReport report = bill(checkpoint, {kOpenpi / "io.safetensors"}, {Precision::f32, Precision::int8});
    return std::ranges::count(report.notes, "int8: 1 matrix stays bf16, where int8 would cost too much");
  };
  EXPECT_EQ(kept(folder), 1);
  EXPECT_EQ(kept(kOpenpi), 0);
}

TEST(Accuracy, AMovedActionIsFound) {
  const fs::path io = kOpenpi / "io.safetensors";
  const fs::path moved = RecordingCopy(io).shift("f32.actions", 3 * 32 + 5, 0.75f).write("accuracy_moved.safetensors");
  const AccuracyRow row = bill(kOpenpi, {io, moved}, {Precision::f32}).rows[0];
  EXPECT_NEAR(row.max_abs, 0.75, 1e-4);
  EXPECT_EQ(row.max_where, "dimension 5 of action 3 of accuracy_moved.safetensors");
  EXPECT_EQ(row.worst, 5u);
  EXPECT_NEAR(row.dimensions[5].mean_abs, 0.75 / 14, 1e-4);  // 2 recordings of 7 actions
  EXPECT_NEAR(row.mean_abs, 0.75 / (14 * 32), 1e-5);
  EXPECT_NEAR(row.rms, 0.75 / std::sqrt(14.0 * 32), 1e-5);
}

TEST(Accuracy, ANanIsInfinitelyFar) {
  const fs::path broken =
      RecordingCopy(kOpenpi / "io.safetensors").shift("f32.actions", 40, std::numeric_limits<float>::quiet_NaN()).write("accuracy_nan.safetensors");
  const AccuracyRow row = bill(kOpenpi, {broken}, {Precision::f32}).rows[0];
  EXPECT_EQ(row.max_abs, std::numeric_limits<double>::infinity());
  EXPECT_EQ(row.worst, 8u);
  EXPECT_EQ(row.max_where, "dimension 8 of action 1 of accuracy_nan.safetensors");
}

TEST(Accuracy, RecordingsWithoutTheReferencesBf16RunAreSaid) {
  const fs::path io = kOpenpi / "io.safetensors";
  const fs::path none = RecordingCopy(io).rename("bf16.actions", "none.actions").write("accuracy_none.safetensors");
  const AccuracyReport some = bill(kOpenpi, {io, none}, {Precision::bf16});
  ASSERT_EQ(some.rows.size(), 2u);
  EXPECT_EQ(some.rows[0].to_reference, -1) << "not over the same recordings";
  EXPECT_EQ(some.rows[1].recordings, 1u);
  EXPECT_NE(some.notes.back().find("1 of 2"), std::string::npos);
  const AccuracyReport nothing = bill(kOpenpi, {none}, {Precision::bf16});
  EXPECT_EQ(nothing.rows.size(), 1u);
}

TEST(Accuracy, ProgressEndsAtOne) {
  double last = 0;
  std::map<std::string, int, std::less<>> seen;
  PolicyOptions options;
  options.progress = [&](std::string_view what, double share) {
    ++seen[std::string(what)];
    last = share;
  };
  bill(kOpenpi, {kOpenpi}, {Precision::bf16, Precision::f32}, options);
  EXPECT_EQ(last, 1);
  EXPECT_TRUE(seen.contains("running recordings in bf16"));
  EXPECT_TRUE(seen.contains("running recordings in f32"));
}

TEST(AccuracyErrors, SayWhatIsWrong) {
  const fs::path io = kOpenpi / "io.safetensors";
  EXPECT_NE(message_of(kOpenpi, {io}, {}).find("at least one precision"), std::string::npos);
  EXPECT_NE(message_of(kOpenpi, {}, {Precision::f32}).find("at least one recording"), std::string::npos);
  EXPECT_NE(message_of(kOpenpi, {io, kOpenpi / "nothing"}, {Precision::f32}).find("nothing there"), std::string::npos);
  EXPECT_NE(message_of(kOpenpi, {kLeRobot / "io.safetensors"}, {Precision::f32}).find("in.images.0"), std::string::npos);
  const fs::path gone = RecordingCopy(io).rename("f32.actions", "f32.octions").write("accuracy_gone.safetensors");
  EXPECT_NE(message_of(kOpenpi, {gone}, {Precision::f32}).find("'f32.actions'"), std::string::npos);
  // Without a tokenizer there is no policy, which a policy-level recording needs.
  EXPECT_NE(message_of(kOpenpi, {kLeRobot / "policy_io.safetensors"}, {Precision::f32}).find("tokenizer"), std::string::npos);
  EXPECT_NE(message_of(kGoldens / "pi0", {io}, {Precision::f32}).find("config.json"), std::string::npos);
}

}  // namespace
}  // namespace tessera::models

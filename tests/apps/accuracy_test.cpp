// tessera accuracy as a person runs it: the table, the JSON, and what can be asked wrongly.
#include <algorithm>

#include "tessera/io/json.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

std::string trained() { return golden("policies/metaworld_pi0").string(); }
std::string one_recording() { return golden("policies/metaworld_pi0/observations/faucet-open-0.safetensors").string(); }

/// Fails unless the program ended with `status` and said every one of `words`, in one line where it ran at all.
void expect_refused(const std::vector<std::string>& arguments, int status, const std::vector<std::string>& words) {
  const Outcome o = run(arguments);
  EXPECT_EQ(o.status, status) << o.out << o.err;
  EXPECT_EQ(o.out, "");
  for (const std::string& word : words) EXPECT_NE(o.err.find(word), std::string::npos) << "'" << word << "' is not in: " << o.err;
  if (status == 1) EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
}

TEST(CliAccuracy, TheTableIsAligned) {
  const Outcome o = run({"accuracy", trained(), "--precision", "f32,bf16"});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out.rfind("8 recordings, 128 actions of 4 dimensions; errors in the robot's own units\n\n", 0), 0u) << o.out;
  std::istringstream lines(o.out);
  std::string line;
  std::size_t column = 0, rows = 0;
  while (std::getline(lines, line)) {
    if (line.rfind("precision ", 0) == 0) column = line.find("PCC") + 3;
    if (line.rfind("f32 ", 0) != 0 && line.rfind("bf16 ", 0) != 0 && line.rfind("reference bf16 ", 0) != 0) continue;
    ++rows;
    ASSERT_GT(line.size(), column);
    EXPECT_TRUE(line[column - 1] != ' ' && line[column] == ' ') << line;
  }
  EXPECT_EQ(rows, 3u);
}

TEST(CliAccuracy, EveryPrecisionIsBilledUnlessAskedOtherwise) {
  const Outcome o = run({"accuracy", trained(), one_recording(), "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  std::vector<std::string> names;
  const io::Json json = io::Json::parse(o.out, "accuracy");
  for (const io::Json& row : json.at("rows").array()) names.push_back(row.at("precision").string());
  EXPECT_EQ(names, (std::vector<std::string>{"f32", "bf16", "int8", "reference bf16"}));
}

TEST(CliAccuracy, VerifyJudgesInt8ByCorrelation) {
  const Outcome o = run({"verify", trained(), one_recording(), "--precision", "int8"});
  EXPECT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_NE(o.out.find("PCC 0.999  pass"), std::string::npos) << o.out;
}

TEST(CliAccuracy, JsonHasEveryDimension) {
  const Outcome o = run({"accuracy", trained(), one_recording(), one_recording(), "--precision=bf16", "--precision=f32,f32", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const io::Json json = io::Json::parse(o.out, "accuracy");
  EXPECT_EQ(json.at("recordings").integer(), 2);
  EXPECT_EQ(json.at("actions").integer(), 32);
  EXPECT_TRUE(json.at("robot_units").boolean());
  const auto& rows = json.at("rows").array();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].at("precision").string(), "bf16");
  EXPECT_EQ(rows[1].at("precision").string(), "f32");
  EXPECT_EQ(rows[2].at("precision").string(), "reference bf16");
  for (const io::Json& row : rows) {
    double worst = 0;
    for (const io::Json& d : row.at("dimensions").array()) worst = std::max(worst, d.at("mean").number());
    EXPECT_EQ(row.at("dimensions").array().size(), 4u);
    EXPECT_EQ(row.at("worst_mean").number(), worst);
    EXPECT_GE(row.at("pcc").number(), 0.999);
    EXPECT_GE(row.at("max").number(), row.at("mean").number());
  }
  EXPECT_LE(rows[0].at("rms_of_reference_bf16").number(), 2);
}

TEST(CliAccuracy, NormalisedUnitsAreSaidAloud) {
  const Outcome o = run({"accuracy", golden("pi0/openpi_pi0_a").string(), "--precision", "bf16"});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("errors in normalised units"), std::string::npos) << o.out;
  EXPECT_NE(o.err.find("note: normalised units, because"), std::string::npos) << o.err;
}

TEST(CliAccuracy, BadRequests) {
  expect_refused({"accuracy"}, 2, {"checkpoint"});
  expect_refused({"accuracy", trained(), "--precision", "f64"}, 2, {"f64", "bf16"});
  expect_refused({"accuracy", trained(), "--precision", "f32,,half"}, 2, {"--precision"});
  expect_refused({"accuracy", trained(), "--precision"}, 2, {"--precision"});
  expect_refused({"accuracy", trained(), "--threads", "0"}, 2, {"--threads"});
  expect_refused({"accuracy", trained(), "--nonsense"}, 2, {"nonsense"});
  expect_refused({"accuracy", "nowhere", "--precision", "f32"}, 1, {"nowhere"});
  expect_refused({"accuracy", trained(), one_recording(), "nowhere.safetensors", "--precision", "f32"}, 1, {"nowhere.safetensors"});
  expect_refused({"accuracy", trained(), golden("pi0/lerobot_pi0_a").string(), "--precision", "f32"}, 1, {"in.images.0", "io.safetensors"});
  expect_refused({"accuracy", trained(), trained() + "/model.safetensors", "--precision", "f32"}, 1, {"'in.noise'"});
  expect_refused({"accuracy", golden("pi0/openpi_pi0_a").string(), one_recording(), "--precision", "f32"}, 1, {"tokenizer"});
  const TempFolder folder;
  const std::string cut = (folder / "io.safetensors").string();
  spill(cut, slurp(golden("pi0/openpi_pi0_a/io.safetensors")).substr(0, 5000));
  expect_refused({"accuracy", golden("pi0/openpi_pi0_a").string(), cut, "--precision", "f32"}, 1, {"io.safetensors"});
  expect_refused({"accuracy", trained(), folder.path().string() + "/empty", "--precision", "f32"}, 1, {"nothing there"});
}

}  // namespace
}  // namespace tessera::test

// tessera sweep as a person uses it: tables, CSV, exit status.
#include <set>

#include "tessera/io/json.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

/// Fields of every line; quoted ones may hold commas and doubled quotes.
std::vector<std::vector<std::string>> read_csv(const fs::path& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream text(slurp(path));
  for (std::string line; std::getline(text, line);) {
    std::vector<std::string> fields(1);
    bool inside = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '"' && inside && i + 1 < line.size() && line[i + 1] == '"')
        fields.back() += line[++i];
      else if (line[i] == '"')
        inside = !inside;
      else if (line[i] == ',' && !inside)
        fields.emplace_back();
      else
        fields.back() += line[i];
    }
    rows.push_back(fields);
  }
  return rows;
}

const std::vector<std::string> kColumns = {"op",   "size", "shape", "output",  "dtype", "layout",   "options", "plan",    "uniform_plan",
                                           "row",  "runs", "pcc",   "max_abs", "limit", "of_limit", "pass",    "time_us", "memory_overhead_percent",
                                           "error"};

std::size_t column(const std::string& name) {
  const auto found = std::find(kColumns.begin(), kColumns.end(), name);
  EXPECT_NE(found, kColumns.end()) << name;
  return static_cast<std::size_t>(found - kColumns.begin());
}

TEST(Sweep, HelpHasExamples) {
  const Outcome o = run({"sweep", "--help"});
  EXPECT_EQ(o.status, 0);
  for (const char* word : {"Examples:", "--suite", "--csv", "depthwise_conv2d"}) EXPECT_NE(o.out.find(word), std::string::npos) << word;
}

TEST(Sweep, AllOpsWriteATableAndACsv) {
  const TempFolder folder;
  const Outcome o = run({"sweep", "all", "--suite", "full", "--sizes", "25", "--csv", (folder / "all.csv").string()});
  EXPECT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_NE(o.out.find("PASS: 125 sizes"), std::string::npos) << o.out;
  const auto rows = read_csv(folder / "all.csv");
  ASSERT_GT(rows.size(), 500u);
  EXPECT_EQ(rows[0], kColumns);
  std::set<std::string> ops, dtypes, layouts, plans;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].size(), kColumns.size()) << i;
    ops.insert(rows[i][column("op")]);
    dtypes.insert(rows[i][column("dtype")]);
    layouts.insert(rows[i][column("layout")]);
    plans.insert(rows[i][column("plan")]);
    EXPECT_EQ(rows[i][column("pass")], "pass");
    EXPECT_EQ(rows[i][column("error")], "");
    EXPECT_GT(std::stod(rows[i][column("time_us")]), 0);
    EXPECT_LE(std::stod(rows[i][column("max_abs")]), std::stod(rows[i][column("limit")]));
    EXPECT_LE(std::stod(rows[i][column("of_limit")]), 1);
    EXPECT_FALSE(rows[i][column("row")].empty());
    EXPECT_GE(std::stoi(rows[i][column("runs")]), 2);
    if (const std::string& pcc = rows[i][column("pcc")]; !pcc.empty()) EXPECT_GT(std::stod(pcc), 0.98) << i;
    if (const std::string& more = rows[i][column("memory_overhead_percent")]; !more.empty()) EXPECT_GT(std::stod(more), 0);
  }
  EXPECT_EQ(ops.size(), 5u);
  EXPECT_EQ(dtypes, (std::set<std::string>{"f32", "bf16"}));
  EXPECT_EQ(layouts, (std::set<std::string>{"nhwc", "nchw", "flat", "tile"}));
  for (const char* plan : {"DIRECT", "uniform", "depthwise"}) EXPECT_EQ(plans.count(plan), 1u) << plan;
}

TEST(Sweep, JsonOfOneShortSize) {
  const Outcome o = run({"sweep", "adaptive_avg_pool2d", "--only", "13", "--json"});  // 64x64 to 3x5
  ASSERT_EQ(o.status, 0) << o.err;
  const io::Json json = io::Json::parse(o.out, "sweep");
  EXPECT_TRUE(json.at("pass").boolean());
  const io::Json& op = json.at("ops").array().at(0);
  EXPECT_EQ(op.at("op").string(), "adaptive_avg_pool2d");
  EXPECT_EQ(op.at("sizes").integer(), 1);
  EXPECT_EQ(op.at("cases").integer(), 8);
  EXPECT_EQ(op.at("failures").integer(), 0);
  EXPECT_EQ(op.at("kinds").at("PADDING_DOMINANT").integer(), 1);
  EXPECT_TRUE(json.at("failures").array().empty());
}

TEST(Sweep, OverheadStandsWhereAUniformPlanNeedsMemory) {
  const TempFolder folder;
  const std::string csv = (folder / "one.csv").string();
  ASSERT_EQ(run({"sweep", "adaptive_max_pool2d", "--only", "13", "--csv", csv}).status, 0);
  EXPECT_EQ(read_csv(csv).at(1).at(column("uniform_plan")), "PADDING_DOMINANT");
  EXPECT_GT(std::stod(read_csv(csv).at(1).at(column("memory_overhead_percent"))), 0);
  ASSERT_EQ(run({"sweep", "adaptive_max_pool2d", "--only", "0", "--csv", csv}).status, 0);  // 56x56 to 1x1
  EXPECT_EQ(read_csv(csv).at(1).at(column("uniform_plan")), "PURE_UNIFORM");
  EXPECT_EQ(read_csv(csv).at(1).at(column("memory_overhead_percent")), "");
}

TEST(Sweep, FailuresAreStatusOneWithTheCommandThatRepeatsThem) {
  const TempFolder folder;
  const std::string csv = (folder / "failed.csv").string();
  const Outcome o = run({"sweep", "avg_pool2d", "--suite", "full", "--sizes", "10", "--limits", "0", "--csv", csv});
  EXPECT_EQ(o.status, 1) << o.out << o.err;
  for (const char* words : {"FAIL avg_pool2d", "again: tessera sweep avg_pool2d --suite full --seed 1 --only", "may differ by"})
    EXPECT_NE(o.out.find(words), std::string::npos) << words << " is not in: " << o.out;
  bool failed = false;
  for (const auto& row : read_csv(csv)) failed = failed || (row.at(column("pass")) == "fail" && !row.at(column("error")).empty());
  EXPECT_TRUE(failed);
  EXPECT_EQ(run({"sweep", "avg_pool2d", "--suite", "full", "--sizes", "10"}).status, 0);
}

TEST(Sweep, WrongUseIsStatusTwoAndSaysWhat) {
  const TempFolder folder;
  const auto refused = [](const std::vector<std::string>& words, const std::string& says) {
    const Outcome o = run(words);
    EXPECT_EQ(o.status, 2) << o.out << o.err;
    EXPECT_NE(o.err.find(says), std::string::npos) << o.err;
    EXPECT_LT(o.seconds, 10);
  };
  refused({"sweep"}, "op is required");
  refused({"sweep", "softmax"}, "softmax");
  refused({"sweep", "all", "--suite", "medium"}, "medium");
  refused({"sweep", "all", "--sizes", "0"}, "--sizes");
  refused({"sweep", "all", "--seed", "-1"}, "--seed");
  refused({"sweep", "all", "--csv", (folder / "no/such/sweep.csv").string()}, "No such file or directory");
  refused({"sweep", "all", "--csv", folder.path().string()}, "--csv: cannot write");
  refused({"sweep", "all", "--csv", "/dev/full"}, "No space left");
  const Outcome beyond = run({"sweep", "max_pool2d", "--only", "5000"});
  EXPECT_EQ(beyond.status, 1);
  EXPECT_NE(beyond.err.find("expected a size in the suite"), std::string::npos) << beyond.err;
}

}  // namespace
}  // namespace tessera::test

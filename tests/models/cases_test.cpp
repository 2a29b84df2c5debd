#include "tessera/models/parity/cases.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/json.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

fs::path goldens() { return fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / "vision"; }

class Cases : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tessera_cases_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  /// One family with one case of cases.json, its parameters changed.
  void write(const std::string& family, std::size_t which, const std::function<void(io::Json&)>& change) {
    const io::Json all = io::Json::read(goldens() / "cases.json");
    const io::Json& entry = all.at("families").at(family);
    io::Json one = entry.at("cases").array().at(which);
    change(one);
    io::Json list, families, json;
    list.push(one);
    io::Json changed;
    changed.set("file", entry.at("file").string()).set("cases", list);
    families.set(family, changed);
    json.set("families", families);
    std::ofstream(folder_ / "cases.json") << json.dump();
    fs::copy_file(goldens() / entry.at("file").string(), folder_ / entry.at("file").string(), fs::copy_options::overwrite_existing);
  }
  fs::path folder_;
};

TEST_F(Cases, EveryFamilyPassesInEveryRow) {
  Context ctx({.threads = 2, .isa = {}});
  const CasesReport report = verify_cases(ctx, goldens());
  std::set<std::string> families;
  for (const CaseRow& row : report.rows) {
    families.insert(row.family);
    EXPECT_TRUE(row.pass) << row.family << " " << row.name << " " << row.variant << ": " << row.max_abs << " > " << row.limit << " " << row.error;
    EXPECT_GT(row.runs, 0);
  }
  EXPECT_TRUE(report.pass);
  EXPECT_EQ(families.size(), 13u);
  EXPECT_GE(report.rows.size(), 200u);
  EXPECT_TRUE(holds_cases(goldens()));
  EXPECT_FALSE(holds_cases(folder_));
}

TEST_F(Cases, AWrongResultIsNoticed) {
  Context ctx({.threads = 1, .isa = {}});
  write("avg_pool2d", 1, [](io::Json& one) { one.set("params", io::Json(one.at("params")).set("count_include_pad", false)); });
  CasesReport report = verify_cases(ctx, folder_);
  EXPECT_FALSE(report.pass);
  EXPECT_NE(report.summary.find("1 failed"), std::string::npos) << report.summary;
  write("max_pool2d", 0, [](io::Json& one) { one.set("params", io::Json(one.at("params")).set("stride", 1)); });
  EXPECT_FALSE(verify_cases(ctx, folder_).pass);  // another number of outputs
}

TEST_F(Cases, WhatIsNotKnownFailsItsRow) {
  Context ctx({.threads = 1, .isa = {}});
  write("interpolate_bicubic", 0, [](io::Json& one) { one.set("params", io::Json(one.at("params")).set("mode", "lanczos")); });
  const CasesReport report = verify_cases(ctx, folder_);
  ASSERT_EQ(report.rows.size(), 1u);
  EXPECT_FALSE(report.pass);
  EXPECT_NE(report.rows[0].error.find("lanczos"), std::string::npos) << report.rows[0].error;
}

TEST_F(Cases, BrokenDirectoriesAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  EXPECT_THROW(verify_cases(ctx, folder_), Error);
  for (const char* text : {"{", "{}", R"({"families":{}})", R"({"families":{"softmax":{"file":"../x","cases":[]}}})",
                           R"({"families":{"softmax":{"file":"none.safetensors","cases":[]}}})"}) {
    std::ofstream(folder_ / "cases.json") << text;
    EXPECT_THROW(verify_cases(ctx, folder_), Error) << text;
  }
}

}  // namespace
}  // namespace tessera::models

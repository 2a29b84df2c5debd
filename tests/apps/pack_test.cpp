// tessera pack and what takes its file, through the program: the same answers as from the folder, and one line for everything that is wrong.
#include <algorithm>
#include <thread>

#include "tessera/io/json.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

const std::string kPolicy = golden("policies/metaworld_pi0").string();

std::vector<std::string> act(const std::string& checkpoint, const std::vector<std::string>& more = {}) {
  const auto picture = [](const std::string& camera) {
    return camera + "=" + golden("policies/metaworld_pi0/observations/faucet-open-0." + camera + ".png").string();
  };
  std::vector<std::string> words = {"act",     checkpoint,    "--image", picture("scene"), "--image",        picture("wrist"),
                                    "--state", "0,0.4,0.2,1", "--json",  "--prompt",       "open the faucet"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string actions(const Outcome& o) {
  EXPECT_EQ(o.status, 0) << o.err;
  return o.status == 0 ? io::Json::parse(o.out, "act").at("actions").dump() : "";
}

void expect_refused(const Outcome& o, int status, const std::vector<std::string>& says) {
  EXPECT_EQ(o.status, status) << o.out << o.err;
  for (const std::string& word : says) EXPECT_NE(o.err.find(word), std::string::npos) << "'" << word << "' is not in: " << o.err;
  if (status == 1) {
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

class PackCommand : public ::testing::Test {
 protected:
  std::string pack(const std::vector<std::string>& more = {}) {
    const std::string out = (folder_ / "policy.tessera").string();
    std::vector<std::string> words = {"pack", kPolicy, out};
    words.insert(words.end(), more.begin(), more.end());
    outcome_ = run(words);
    EXPECT_EQ(outcome_.status, 0) << outcome_.err;
    return out;
  }
  TempFolder folder_;
  Outcome outcome_;
};

TEST_F(PackCommand, ActsAsTheFolderDoes) {
  for (const char* precision : {"f32", "bf16"}) {
    const std::string file = pack({"--precision", precision, "--force"});
    EXPECT_NE(outcome_.out.find("token table"), std::string::npos) << outcome_.out;
    EXPECT_NE(outcome_.out.find(std::string("packed metaworld_pi0 in ") + precision), std::string::npos) << outcome_.out;
    const std::string wanted = actions(run(act(kPolicy, {"--precision", precision})));
    EXPECT_EQ(actions(run(act(file))), wanted);
    EXPECT_EQ(actions(run(act(file, {"--precision", precision, "--threads", "1", "--skip-checksums"}))), wanted);
    // Two at once.
    Outcome other;
    std::thread thread([&] { other = run(act(file)); });
    EXPECT_EQ(actions(run(act(file))), wanted);
    thread.join();
    EXPECT_EQ(actions(other), wanted);
  }
}

TEST_F(PackCommand, TheOthersTakeTheFile) {
  const std::string file = pack();
  const Outcome inspect = run({"inspect", file, "--json"});
  ASSERT_EQ(inspect.status, 0) << inspect.err;
  const io::Json report = io::Json::parse(inspect.out, "inspect");
  EXPECT_EQ(report.at("packed").at("precision").string(), "f32");
  EXPECT_TRUE(report.at("packed").at("rows").array().at(0).at("runs_here").boolean());
  EXPECT_NE(run({"inspect", file}).out.find("packed"), std::string::npos);
  const Outcome verify = run({"verify", file, golden("policies/metaworld_pi0/observations/faucet-open-0.safetensors").string()});
  EXPECT_EQ(verify.status, 0) << verify.out << verify.err;
  const Outcome bench = run({"bench", file, "--repeat", "1", "--json"});
  EXPECT_EQ(bench.status, 0) << bench.err;
}

TEST_F(PackCommand, SaysItsSizesAsJson) {
  const std::string file = pack({"--json"});
  const io::Json report = io::Json::parse(outcome_.out, "pack");
  EXPECT_EQ(static_cast<std::uintmax_t>(report.at("bytes").integer()), fs::file_size(file));
  std::int64_t parts = report.at("token_table_bytes").integer(1) + report.at("tensor_bytes").integer(1) + report.at("file_bytes").integer(1);
  for (const io::Json& row : report.at("rows").array()) parts += row.at("bytes").integer(1);
  EXPECT_LT(parts, report.at("bytes").integer());  // and an index
}

TEST_F(PackCommand, HelpHasExamples) {
  const Outcome help = run({"pack", "--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* word : {"--force", "--precision", "--robot", "Examples:", "policy.tessera"}) EXPECT_NE(help.out.find(word), std::string::npos);
  EXPECT_NE(run({"--help"}).out.find("tessera pack"), std::string::npos);
}

TEST_F(PackCommand, RefusesWhatItCannotDo) {
  const std::string file = pack();
  expect_refused(run({"pack", kPolicy}), 2, {"out"});
  expect_refused(run({"pack", kPolicy, file}), 1, {"policy.tessera", "--force"});
  expect_refused(run({"pack", kPolicy, (folder_ / "no/a.tessera").string()}), 1, {"a file in a folder that is there"});
  expect_refused(run({"pack", kPolicy, folder_.path().string(), "--force"}), 1, {"a file to write", "a directory"});
  expect_refused(run({"pack", file, (folder_ / "b.tessera").string()}), 1, {"a checkpoint folder to pack", "a packed file"});
  expect_refused(run({"pack", "nowhere", (folder_ / "b.tessera").string()}), 1, {"nowhere", "nothing there"});
  expect_refused(run({"pack", kPolicy, "/dev/full", "--force"}), 1, {"/dev/full"});
  expect_refused(run({"pack", kPolicy, (folder_ / "b.tessera").string(), "--precision", "f64"}), 2, {"--precision"});
  EXPECT_FALSE(fs::exists(folder_ / "b.tessera"));
}

TEST_F(PackCommand, RefusesDamagedAndForeignFiles) {
  const std::string file = pack();
  const std::string all = slurp(file);
  const std::string bad = (folder_ / "bad.tessera").string();
  const auto refused = [&](const std::string& bytes, const std::vector<std::string>& says) {
    spill(bad, bytes);
    expect_refused(run(act(bad)), 1, says);
    fs::remove(bad);
  };
  refused("", {"a file that tessera pack made", "an empty file"});
  refused("PK\x03\x04 and so on", {"a file that tessera pack made"});
  refused(all.substr(0, 40), {"a whole packed file"});
  refused(all.substr(0, all.size() / 2), {"as the file says of itself", "copy it again"});
  refused(all + all, {"as the file says of itself"});
  for (const std::size_t at : {std::size_t{20}, all.size() / 2 / 4096 * 4096 + 64, all.size() - 5}) {
    std::string flipped = all;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    refused(flipped, {"damaged", "copy the file again, or pack the checkpoint again"});
  }
  std::string newer = all;
  newer[8] = 9;
  refused(newer, {"format 9", "update Tessera"});
  expect_refused(run(act(file, {"--precision", "bf16"})), 1, {"holds f32 weights, and bf16 was asked for", "--precision bf16"});
  const Outcome capped = run(act(file, {"--isa", "scalar"}));
  if (capped.status != 0)
    expect_refused(capped, 1, {"was packed for the kernel row", "cannot run here", "pack the checkpoint again here: tessera pack"});
}

}  // namespace
}  // namespace tessera::test

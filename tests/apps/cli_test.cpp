// The command line as a person uses it: right answers, right files, right exit status.
#include <cmath>

#include "tessera/io/json.h"
#include "tessera/io/npy.h"
#include "tessera/io/safetensors.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

std::string observation(const std::string& file) { return golden("policies/metaworld_pi0/observations/" + file).string(); }

std::vector<std::string> act(const std::string& prompt = "open the faucet") {
  return {"act",      golden("policies/metaworld_pi0").string(),
          "--image",  "scene=" + observation("faucet-open-0.scene.png"),
          "--image",  "observation.images.wrist=" + observation("faucet-open-0.wrist.png"),
          "--state",  "0.0045042322017252445,0.40032991766929626,0.19574034214019775,1.0",
          "--prompt", prompt};
}

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Cli, HelpHasExamplesAndStatusZero) {
  for (const char* command : {"act", "inspect", "verify", "accuracy", "bench", "info"}) {
    const Outcome o = run({command, "--help"});
    EXPECT_EQ(o.status, 0) << command;
    EXPECT_NE(o.out.find("Examples:"), std::string::npos) << command;
  }
  EXPECT_EQ(run({"--version"}).out, "0.1.0\n");
}

TEST(Cli, ActReproducesTheRecordedChunk) {
  const TempFolder folder;
  const std::string out = (folder / "chunk.safetensors").string();
  const std::string recording = observation("faucet-open-0.safetensors");
  const Outcome o = run(with(act(), {"--precision", "f32", "--noise", recording + ":noise", "--out", out}));
  ASSERT_EQ(o.status, 0) << o.err;
  const auto ours = io::SafetensorsFile::open(out)->floats("actions");
  const auto reference = io::SafetensorsFile::open(recording)->floats("out.actions");
  ASSERT_EQ(ours.size(), reference.size());
  // 2e-4 of the actions' magnitude (about 1): the bound that parity is promised with.
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], reference[i], 2e-4) << i;
}

TEST(Cli, ActWritesTheSameChunkInEveryFormat) {
  const TempFolder folder;
  std::vector<float> first;
  for (const char* kind : {"safetensors", "npy", "csv", "json"}) {
    const std::string out = (folder / (std::string("chunk.") + kind)).string();
    const Outcome o = run(with(act(), {"--seed", "7", "--out", out}));
    ASSERT_EQ(o.status, 0) << o.err;
    if (std::string(kind) == "safetensors") {
      first = io::SafetensorsFile::open(out)->floats("actions");
    } else if (std::string(kind) == "npy") {
      const Tensor t = io::read_npy(out);
      ASSERT_EQ(t.shape(), (Shape{16, 4}));
      for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(t.data<float>()[i], first[i]);
    } else if (std::string(kind) == "json") {
      const io::Json json = io::Json::read(out);
      const auto& rows = json.at("actions").array();
      ASSERT_EQ(rows.size(), 16u);
      for (std::size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(rows[i / 4].numbers()[i % 4], first[i], 1e-6);
    } else {
      const std::string text = slurp(out);
      EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 17);
    }
  }
}

TEST(Cli, SeedAndThreadsDecideNothingElse) {
  const TempFolder folder;
  const auto chunk = [&](const std::vector<std::string>& more) {
    const std::string out = (folder / "c.safetensors").string();
    EXPECT_EQ(run(with(with(act(), {"--out", out}), more)).status, 0);
    return io::SafetensorsFile::open(out)->floats("actions");
  };
  const auto one = chunk({"--seed", "1", "--threads", "1"});
  EXPECT_EQ(one, chunk({"--seed", "1", "--threads", "3"}));
  EXPECT_NE(one, chunk({"--seed", "2", "--threads", "1"}));
}

TEST(Cli, SentenceChangesTheActions) {
  const std::string a = run(with(act("open the faucet"), {"--json"})).out;
  const std::string b = run(with(act("close the faucet"), {"--json"})).out;
  const auto first = io::Json::parse(a, "a").at("actions").array();
  const auto second = io::Json::parse(b, "b").at("actions").array();
  double apart = 0;
  for (std::size_t t = 0; t < first.size(); ++t)
    for (std::size_t d = 0; d < 3; ++d) apart = std::max(apart, std::fabs(first[t].numbers()[d] - second[t].numbers()[d]));
  EXPECT_GT(apart, 0.2);
}

TEST(Cli, PlotsAndTraceAreWritten) {
  const TempFolder folder;
  const std::string svg = (folder / "p.svg").string();
  const std::string png = (folder / "p.png").string();
  const std::string trace = (folder / "t.json").string();
  EXPECT_EQ(run(with(act(), {"--plot", svg, "--overlay", "expert=" + observation("faucet-open-0.safetensors") + ":expert.actions"})).status, 0);
  EXPECT_NE(slurp(svg).find("<svg"), std::string::npos);
  EXPECT_EQ(run(with(act(), {"--plot", png, "--profile", trace})).status, 0);
  EXPECT_EQ(slurp(png).substr(1, 3), "PNG");
  EXPECT_FALSE(io::Json::read(trace).at("traceEvents").array().empty());
}

TEST(Cli, VerifyPassesOnTheTrainedPolicy) {
  const Outcome o = run({"verify", golden("policies/metaworld_pi0").string(), "--precision", "f32", "--json"});
  ASSERT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_TRUE(io::Json::parse(o.out, "verify").at("pass").boolean());
}

TEST(Cli, VerifyFailsWhenAWeightIsWrong) {
  const TempFolder folder;
  link_policy(folder);
  std::string model = slurp(folder / "model.safetensors");
  // One exponent bit of one weight near the end of the file (the action head or a norm): small, and must be seen.
  for (std::size_t i = model.size() - 400; i < model.size(); i += 4) model[i + 2] = static_cast<char>(model[i + 2] ^ 0x60);
  replace(folder / "model.safetensors", model);
  const Outcome o = run({"verify", folder.path().string(), golden("policies/metaworld_pi0/observations").string(), "--precision", "f32"});
  EXPECT_EQ(o.status, 1) << o.out << o.err;
}

TEST(Cli, InspectNamesTheFamily) {
  for (const auto& [folder, family] : {std::pair{"pi0/lerobot_pi0_a", "pi0"}, {"pi0/lerobot_pi05_a", "pi0.5"}, {"pi0/openpi_pi0_a", "pi0"}}) {
    const Outcome o = run({"inspect", golden(folder).string(), "--json"});
    ASSERT_EQ(o.status, 0) << o.err;
    const io::Json json = io::Json::parse(o.out, "inspect");
    EXPECT_EQ(json.at("family").string(), family);
    EXPECT_TRUE(json.at("missing").array().empty());
  }
}

TEST(Cli, InfoFollowsTheCap) {
  const io::Json json = io::Json::parse(run({"info", "--ops", "--json"}, {"TESSERA_ISA=scalar"}).out, "info");
  EXPECT_EQ(json.at("isa").string(), "scalar");
  std::size_t used = 0;
  for (const io::Json& row : json.at("rows").array()) {
    if (!row.at("used").boolean()) continue;
    ++used;
    EXPECT_EQ(row.at("row").string().substr(0, 6), "scalar");
  }
  EXPECT_GT(used, 0u);
}

TEST(Cli, BenchReportsStagesAndBounds) {
  const Outcome o = run({"bench", golden("policies/metaworld_pi0").string(), "--repeat", "2", "--masked-cameras", "1", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const io::Json json = io::Json::parse(o.out, "bench");
  const auto& stages = json.at("stages").array();
  ASSERT_EQ(stages.size(), 4u);  // images, prefix, steps, chunk
  for (const io::Json& s : stages) {
    EXPECT_GT(s.at("min_ms").number(), 0);
    EXPECT_GT(s.at("gflop").number(), 0);
    EXPECT_GT(s.at("bound_ms").number(), 0);
    EXPECT_LE(s.at("min_ms").number(), s.at("median_ms").number());
    EXPECT_LE(s.at("median_ms").number(), s.at("p99_ms").number());
    // An op's bound is the larger of its two, so the sum lies between the larger sum and both together.
    const double arithmetic = s.at("arithmetic_ms").number(), memory = s.at("memory_ms").number(), bound = s.at("bound_ms").number();
    EXPECT_GE(bound, std::max(arithmetic, memory) * (1 - 1e-9));
    EXPECT_LE(bound, (arithmetic + memory) * (1 + 1e-9));
    // The fastest calls of the ops cannot take longer together than the stage that they make up.
    EXPECT_GT(s.at("fastest_calls_ms").number(), 0);
    EXPECT_LE(s.at("fastest_calls_ms").number(), s.at("min_ms").number() * (1 + 1e-9));
    EXPECT_NEAR(s.at("share_of_larger_bound").number(), std::max(arithmetic, memory) / s.at("min_ms").number(), 1e-9);
  }
  EXPECT_EQ(json.at("ratio_to_bound").number(), stages[3].at("ratio_to_bound").number());
  for (const char* key : {"load_s", "first_chunk_s", "peak_rss_bytes", "weight_bytes"}) EXPECT_GT(json.at(key).number(), 0) << key;
  // A camera without a picture costs nothing: two of 36 patches, and 16 tokens.
  EXPECT_EQ(json.at("prefix_tokens").integer(), 88);
  EXPECT_EQ(json.at("masked_cameras").integer(), 1);
}

}  // namespace
}  // namespace tessera::test

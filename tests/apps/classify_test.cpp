// tessera classify as a person runs it: what it prints, what it writes, what it refuses.
#include "tessera/io/image.h"
#include "tessera/io/json.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

const std::string kModel = golden("vision_models/efficientnet_lite0").string();
const std::string kPhoto = golden("photos/chelsea.png").string();

void expect_refused(const std::vector<std::string>& arguments, int status, const std::vector<std::string>& says) {
  const Outcome o = run(arguments);
  EXPECT_EQ(o.status, status) << o.out << o.err;
  EXPECT_TRUE(o.out.empty()) << o.out;
  for (const std::string& word : says) EXPECT_NE(o.err.find(word), std::string::npos) << "'" << word << "' is not in: " << o.err;
  if (status == 1) EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
}

TEST(Classify, PrintsATable) {
  const Outcome o = run({"classify", kModel, "--image", kPhoto, "--top", "3", "--threads", "2"});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("probability"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("efficientnet_lite0, f32 precision, 2 threads"), std::string::npos) << o.out;
  std::size_t labels = 0;
  for (std::size_t at = o.out.find("class "); at != std::string::npos; at = o.out.find("class ", at + 1)) ++labels;
  EXPECT_EQ(labels, 4u) << o.out;  // the heading and three labels
}

TEST(Classify, PrintsJson) {
  for (const char* precision : {"f32", "bf16"}) {
    const Outcome o = run({"classify", kModel, "--image", kPhoto, "--precision", precision, "--json"});
    ASSERT_EQ(o.status, 0) << o.err;
    const io::Json json = io::Json::parse(o.out, "output");
    EXPECT_EQ(json.at("image").string(), kPhoto);
    EXPECT_EQ(json.at("architecture").string(), "efficientnet_lite0");
    EXPECT_EQ(json.at("precision").string(), precision);
    EXPECT_GE(json.at("milliseconds").at("network").number(), 0);
    const auto& top = json.at("top").array();
    ASSERT_EQ(top.size(), 5u);
    for (std::size_t i = 0; i < top.size(); ++i) {
      EXPECT_EQ(top[i].at("label").string(), "class " + std::to_string(top[i].at("class").integer()));
      if (i > 0) EXPECT_LE(top[i].at("probability").number(), top[i - 1].at("probability").number());
    }
  }
}

TEST(Classify, ALoneFileHasNumbersOnlyUnlessLabelsAreGiven) {
  const std::string file = kModel + "/model.safetensors";
  const Outcome numbers = run({"classify", file, "--image", kPhoto, "--json"});
  ASSERT_EQ(numbers.status, 0) << numbers.err;
  EXPECT_EQ(io::Json::parse(numbers.out, "output").at("top").array()[0].find("label"), nullptr);
  const Outcome words = run({"classify", file, "--image", kPhoto, "--json", "--labels", kModel + "/labels.txt"});
  ASSERT_EQ(words.status, 0) << words.err;
  EXPECT_TRUE(io::Json::parse(words.out, "output").at("top").array()[0].has("label"));
}

TEST(Classify, TakesGreyAndAlpha) {
  const TempFolder folder;
  for (const std::int64_t channels : {1, 4}) {
    Tensor picture = Tensor::zeros({40, 50, channels}, DType::u8);
    for (std::int64_t i = 0; i < picture.numel(); ++i) picture.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i);
    io::write_png(folder / "picture.png", picture);
    const Outcome o = run({"classify", kModel, "--image", (folder / "picture.png").string()});
    EXPECT_EQ(o.status, 0) << o.err;
  }
}

TEST(Classify, WritesATrace) {
  const TempFolder folder;
  const std::string trace = (folder / "trace.json").string();
  const Outcome o = run({"classify", kModel, "--image", kPhoto, "--repeat", "2", "--profile", trace});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("stage: blocks 4"), std::string::npos) << o.out;
  EXPECT_NE(slurp(trace).find("stage: preprocess"), std::string::npos);
}

TEST(Classify, RefusesWhatCannotBe) {
  const TempFolder folder;
  spill(folder / "cat.png", "this is no picture");
  expect_refused({"classify", kModel, "--image", (folder / "cat.png").string()}, 1, {"cat.png"});
  spill(folder / "short.png", slurp(kPhoto).substr(0, 5000));
  expect_refused({"classify", kModel, "--image", (folder / "short.png").string()}, 1, {"short.png"});
  expect_refused({"classify", kModel, "--image", (folder / "none.png").string()}, 1, {"none.png"});
  expect_refused({"classify", (folder / "nothing").string(), "--image", kPhoto}, 1, {"nothing"});
  expect_refused({"classify", golden("policies/metaworld_pi0").string(), "--image", kPhoto}, 1, {"mobilenet_v2", "efficientnet_lite0"});
  expect_refused({"classify", kModel, "--image", kPhoto, "--labels", kPhoto}, 1, {"chelsea.png"});
  const Outcome o = run({"classify", kModel, "--image", kPhoto, "--profile", (folder / "no" / "trace.json").string()});
  EXPECT_EQ(o.status, 1);
  EXPECT_NE(o.err.find("trace.json"), std::string::npos) << o.err;
  expect_refused({"classify", kModel}, 2, {"--image"});
  expect_refused({"classify", kModel, "--image", kPhoto, "--top", "0"}, 2, {"--top"});
  expect_refused({"classify", kModel, "--image", kPhoto, "--precision", "int8"}, 2, {"--precision"});
}

}  // namespace
}  // namespace tessera::test

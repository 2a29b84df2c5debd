// What a file, a user or a client can get wrong: one line that helps, the right exit status, no crash, no hang, no gigabyte.
#include <cstring>
#include <limits>
#include <sstream>

#include "tessera/io/image.h"
#include "tessera/io/npy.h"
#include "tessera/io/safetensors.h"
#include "tests/apps/program.h"

namespace tessera::test {
namespace {

constexpr std::size_t kGigabyte = std::size_t{1} << 30;

/// Without those that tell the progress of work that takes long, as it does in a slow build: " 48 %  prefix, layer 2 of 4".
std::int64_t lines_of_errors(const std::string& err) {
  std::istringstream lines(err);
  std::string line;
  std::int64_t count = 0;
  while (std::getline(lines, line)) count += line.find(" %  ") == std::string::npos || line.find(" %  ") > 3;
  return count;
}

/// Fails unless the program ended by itself with `status` and one line that contains every word of `says`.
void expect_refused(const Outcome& o, int status, const std::vector<std::string>& says) {
  EXPECT_EQ(o.status, status) << o.out << o.err;
  EXPECT_LT(o.peak_rss, kGigabyte);
  EXPECT_LT(o.seconds, 60);
  for (const std::string& word : says) EXPECT_NE(o.err.find(word), std::string::npos) << "'" << word << "' is not in: " << o.err;
  if (status == 1) {
    EXPECT_EQ(lines_of_errors(o.err), 1) << o.err;
  }
}

std::string observation(const std::string& file) { return golden("policies/metaworld_pi0/observations/" + file).string(); }

struct Request {
  std::string checkpoint = golden("policies/metaworld_pi0").string();
  std::vector<std::string> images = {"scene=" + observation("faucet-open-0.scene.png"), "wrist=" + observation("faucet-open-0.wrist.png")};
  std::string state = "0,0.4,0.2,1";
  std::string prompt = "open the faucet";
  std::vector<std::string> more;

  Outcome send(const std::vector<std::string>& environment = {}) const {
    std::vector<std::string> words = {"act", checkpoint, "--state", state, "--prompt", prompt};
    for (const std::string& image : images) words.insert(words.end(), {"--image", image});
    words.insert(words.end(), more.begin(), more.end());
    return run(words, environment);
  }
};

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override { link_policy(folder_); }
  Outcome send() {
    Request r;
    r.checkpoint = folder_.path().string();
    return r.send();
  }
  std::string model() { return slurp(golden("policies/metaworld_pi0/model.safetensors")); }
  void set_model(const std::string& bytes) { replace(folder_ / "model.safetensors", bytes); }
  /// The header's JSON changed by `from` -> `to` (first place), lengths kept right.
  void edit_header(const std::string& from, const std::string& to) {
    std::string bytes = model();
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    std::string header = bytes.substr(8, length);
    const std::size_t at = header.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    header.replace(at, from.size(), to);
    length = header.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    set_model(out + header + bytes.substr(8 + slurp_length(bytes)));
  }
  void edit_json(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = slurp(folder_ / file);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << file;
    text.replace(at, from.size(), to);
    replace(folder_ / file, text);
  }
  static std::uint64_t slurp_length(const std::string& bytes) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    return length;
  }
  TempFolder folder_;
};

TEST_F(Checkpoint, TruncatedWeights) {
  set_model(model().substr(0, 4000000));
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, WeightsCutInTheHeader) {
  set_model(model().substr(0, 100));
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, EmptyWeights) {
  set_model("");
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, HeaderLengthNearTwoToThe63) {
  std::string bytes = model();
  const std::uint64_t length = std::numeric_limits<std::int64_t>::max() - 7;
  std::memcpy(bytes.data(), &length, 8);
  set_model(bytes);
  expect_refused(send(), 1, {"model.safetensors", "header"});
}
TEST_F(Checkpoint, DuplicateTensorName) {
  edit_header("model.action_in_proj.weight", "model.action_in_proj.bias");
  expect_refused(send(), 1, {"action_in_proj.bias"});
}
TEST_F(Checkpoint, NonUtf8TensorName) {
  edit_header("model.action_in_proj.weight", "model.action_in_proj.w\xff\xfeght");
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, OverlappingTensors) {
  edit_header("\"data_offsets\":[0,", "\"data_offsets\":[4,");
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, ShapeAgainstBytes) {
  edit_header("\"shape\":[96,32]", "\"shape\":[96,33]");
  expect_refused(send(), 1, {"[96, 33]"});
}
TEST_F(Checkpoint, DtypeAgainstBytes) {
  edit_header("\"dtype\":\"F32\"", "\"dtype\":\"F16\"");
  expect_refused(send(), 1, {"F16"});
}
TEST_F(Checkpoint, UnknownDtype) {
  edit_header("\"dtype\":\"F32\"", "\"dtype\":\"Q99\"");
  expect_refused(send(), 1, {"Q99"});
}
TEST_F(Checkpoint, ShapeProductOverflows) {
  edit_header("\"shape\":[96,32]", "\"shape\":[4611686018427387904,4611686018427387904]");
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, MissingTensorIsNamed) {
  edit_header("model.action_out_proj.weight", "model.action_oot_proj.weight");
  expect_refused(send(), 1, {"action_out_proj.weight"});
}
TEST_F(Checkpoint, NanWeightIsNamedAndCanBeAllowed) {
  std::string bytes = model();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + bytes.size() - 4, &nan, 4);
  set_model(bytes);
  expect_refused(send(), 1, {"finite"});
  Request r;
  r.checkpoint = folder_.path().string();
  r.more = {"--allow-nonfinite"};
  EXPECT_EQ(r.send().status, 0);
}
TEST_F(Checkpoint, ConfigIsNotJson) {
  replace(folder_ / "config.json", "{\"type\": \"pi0\",");
  expect_refused(send(), 1, {"config.json"});
}
TEST_F(Checkpoint, ConfigHasAWrongType) {
  edit_json("config.json", "\"chunk_size\": 16", "\"chunk_size\": \"sixteen\"");
  expect_refused(send(), 1, {"config.json", "chunk_size"});
}
TEST_F(Checkpoint, ConfigWithoutInputFeatures) {
  edit_json("config.json", "\"input_features\"", "\"inpot_features\"");
  expect_refused(send(), 1, {"config.json", "input_features"});
}
TEST_F(Checkpoint, NegativeZeroAndHugeSizes) {
  for (const char* value : {"-16", "0", "4611686018427387904"}) {
    fs::remove(folder_ / "config.json");
    fs::create_symlink(golden("policies/metaworld_pi0/config.json"), folder_ / "config.json");
    edit_json("config.json", "\"chunk_size\": 16", std::string("\"chunk_size\": ") + value);
    expect_refused(send(), 1, {"chunk_size"});
  }
}
TEST_F(Checkpoint, HeadsThatDoNotDivide) {
  edit_json("config.json", "\"heads\": 4", "\"heads\": 5");
  expect_refused(send(), 1, {"heads"});
}
TEST_F(Checkpoint, DeeplyNestedConfig) {
  replace(folder_ / "config.json", std::string(100000, '[') + std::string(100000, ']'));
  expect_refused(send(), 1, {"config.json"});
}
TEST_F(Checkpoint, UnknownPolicyType) {
  edit_json("config.json", "\"type\": \"pi0\"", "\"type\": \"diffusion\"");
  expect_refused(send(), 1, {"diffusion"});
}
TEST_F(Checkpoint, ProcessorJsonBroken) {
  replace(folder_ / "policy_preprocessor.json", "[]");
  expect_refused(send(), 1, {"policy_preprocessor.json"});
}
TEST_F(Checkpoint, StateFileOfAProcessorMissing) {
  fs::remove(folder_ / "policy_preprocessor_step_6_normalizer_processor.safetensors");
  expect_refused(send(), 1, {"policy_preprocessor_step_6_normalizer_processor.safetensors"});
}
TEST_F(Checkpoint, StateFileOutsideTheFolder) {
  edit_json("policy_preprocessor.json", "policy_preprocessor_step_6_normalizer_processor.safetensors", "../../../../etc/passwd");
  expect_refused(send(), 1, {"policy_preprocessor.json"});
}
TEST_F(Checkpoint, NoTokenizerInReach) {
  fs::remove(folder_ / "tokenizer.model");
  fs::remove(folder_ / "tokenizer.json");
  expect_refused(send(), 1, {"tokenizer.model"});
}
TEST_F(Checkpoint, TokenizerIsRubbish) {
  replace(folder_ / "tokenizer.model", std::string(5000, '\x99'));
  replace(folder_ / "tokenizer.json", "{\"model\": 3}");
  expect_refused(send(), 1, {"tokenizer"});
}
TEST_F(Checkpoint, DirectoryWhereAFileIsDue) {
  fs::remove(folder_ / "model.safetensors");
  fs::create_directory(folder_ / "model.safetensors");
  expect_refused(send(), 1, {"model.safetensors"});
}
TEST_F(Checkpoint, NoReadPermission) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  set_model(model());
  fs::permissions(folder_ / "model.safetensors", fs::perms::none);
  expect_refused(send(), 1, {"model.safetensors", "ermission"});
}
TEST_F(Checkpoint, IndexNamesAShardThatIsNotThere) {
  fs::remove(folder_ / "model.safetensors");
  spill(folder_ / "model.safetensors.index.json",
        R"({"metadata": {}, "weight_map": {"model.action_in_proj.bias": "model-00001-of-00002.safetensors"}})");
  expect_refused(send(), 1, {"model-00001-of-00002.safetensors"});
}
TEST_F(Checkpoint, EmptyFolder) {
  const TempFolder empty;
  Request r;
  r.checkpoint = empty.path().string();
  expect_refused(r.send(), 1, {"config.json"});
}

TEST(BadRequest, CheckpointIsNotThere) {
  Request r;
  r.checkpoint = "no/such/folder";
  expect_refused(r.send(), 1, {"no/such/folder"});
}
TEST(BadRequest, WrongCameraListsTheRightOnes) {
  Request r;
  r.images = {"left_eye=" + observation("faucet-open-0.scene.png")};
  expect_refused(r.send(), 1, {"left_eye", "scene", "wrist"});
}
TEST(BadRequest, CameraTwice) {
  Request r;
  r.images.push_back(r.images[0]);
  expect_refused(r.send(), 2, {"scene"});
}
TEST(BadRequest, TheSameCameraByTwoNames) {
  Request r;
  r.images.push_back("observation.images." + r.images[0]);
  expect_refused(r.send(), 1, {"scene"});
}
TEST(BadRequest, ImageWithoutAFile) {
  Request r;
  r.images = {"scene"};
  expect_refused(r.send(), 2, {"NAME=FILE"});
}
TEST(BadRequest, ImageIsNotThere) {
  Request r;
  r.images = {"scene=nowhere.png"};
  expect_refused(r.send(), 1, {"nowhere.png"});
}
TEST(BadRequest, ImageOfZeroBytes) {
  const TempFolder folder;
  spill(folder / "a.png", "");
  Request r;
  r.images = {"scene=" + (folder / "a.png").string()};
  expect_refused(r.send(), 1, {"a.png"});
}
TEST(BadRequest, ImageCutShort) {
  const TempFolder folder;
  spill(folder / "a.png", slurp(observation("faucet-open-0.scene.png")).substr(0, 9000));
  Request r;
  r.images = {"scene=" + (folder / "a.png").string()};
  expect_refused(r.send(), 1, {"a.png"});
}
TEST(BadRequest, HugeImageIsRefusedBeforeMemoryIsTaken) {
  const TempFolder folder;
  // A PNG header that announces 20000 x 20000 pixels.
  std::string png = slurp(observation("faucet-open-0.scene.png"));
  const unsigned char size[8] = {0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20};
  std::memcpy(png.data() + 16, size, 8);
  std::uint32_t crc = 0xffffffffu;  // of the IHDR chunk
  for (std::size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(png[i]);
    for (int b = 0; b < 8; ++b) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  crc = ~crc;
  for (int i = 0; i < 4; ++i) png[29 + static_cast<std::size_t>(i)] = static_cast<char>(crc >> (24 - 8 * i));
  spill(folder / "a.png", png);
  Request r;
  r.images = {"scene=" + (folder / "a.png").string()};
  expect_refused(r.send(), 1, {"a.png", "20000"});
}
TEST(BadRequest, ImageOfOnePixelIsAnImage) {
  const TempFolder folder;
  io::write_png(folder / "one.png", Tensor::zeros(Shape{1, 1, 3}, DType::u8));
  Request r;
  r.images = {"scene=" + (folder / "one.png").string(), "wrist=" + (folder / "one.png").string()};
  EXPECT_EQ(r.send().status, 0);
}
TEST(BadRequest, StateOfTheWrongLength) {
  Request r;
  r.state = "1,2,3";
  expect_refused(r.send(), 1, {"4", "3"});
}
TEST(BadRequest, StateIsNotNumbers) {
  Request r;
  r.state = "1,two,3,4";
  expect_refused(r.send(), 2, {"two"});
}
TEST(BadRequest, StateWithNan) {
  Request r;
  r.state = "1,nan,3,4";
  expect_refused(r.send(), 1, {"finite"});
}
TEST(BadRequest, EmptyPromptIsRefusedUnlessAskedFor) {
  Request r;
  for (const char* empty : {"", " \n\t "}) {
    r.prompt = empty;
    r.more.clear();
    expect_refused(r.send(), 1, {"prompt that says what to do"});
    r.more = {"--any-prompt"};
    EXPECT_EQ(r.send().status, 0);
  }
}
TEST(BadRequest, PromptOfAHundredKilobytesIsRefusedUnlessItMayBeCut) {
  Request r;
  for (int i = 0; i < 100000 / 16; ++i) r.prompt += "open the faucet ";
  expect_refused(r.send(), 1, {"at most 16 tokens", "--any-prompt"});
  r.more = {"--any-prompt"};
  const Outcome o = r.send();
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_LT(o.seconds, 20);
}
TEST(BadRequest, PromptThatWouldPushTheStateOutIsRefused) {
  Request r;  // pi0.5 spells the state behind the sentence
  r.checkpoint = golden("pi0/lerobot_pi05_a").string();
  r.images = {"scene=" + observation("faucet-open-0.scene.png")};
  r.state = "0,0,0,0,0,0,0";
  r.prompt = std::string(300, 'a');
  expect_refused(r.send(), 1, {"the state in it included"});
}
TEST(BadRequest, StateThatOverflowsWhenNormalised) {
  Request r;
  r.state = "3e38,3e38,3e38,3e38";
  expect_refused(r.send(), 1, {"finite"});
}
TEST(BadRequest, ActionsThatAreNotFiniteAreNotGivenOut) {
  TempFolder folder;
  Request r;
  std::vector<double> huge(16 * 32, 1e38);
  io::write_npy_f64(folder / "noise.npy", huge, Shape{16, 32});
  const std::filesystem::path out = folder / "chunk.json";
  replace(out, "the old file");
  r.more = {"--noise", (folder / "noise.npy").string(), "--out", out.string()};
  expect_refused(r.send(), 1, {"finite values as actions"});
  EXPECT_EQ(slurp(out), "the old file");
}
TEST(BadRequest, PreviousChunkWithNanOrInTheRobotsUnits) {
  TempFolder folder;
  Request r;
  std::vector<double> nan(16 * 32, std::numeric_limits<double>::quiet_NaN());
  io::write_npy_f64(folder / "nan.npy", nan, Shape{16, 32});
  r.more = {"--previous", (folder / "nan.npy").string()};
  expect_refused(r.send(), 1, {"previous chunk of finite values"});
  r.more = {"--out", (folder / "chunk.json").string()};
  ASSERT_EQ(r.send().status, 0);
  r.more = {"--previous", (folder / "chunk.json").string()};  // un-normalised actions
  expect_refused(r.send(), 1, {"model_actions"});
  r.more = {"--out", (folder / "chunk.safetensors").string()};
  ASSERT_EQ(r.send().status, 0);
  r.more = {"--previous", (folder / "chunk.safetensors").string(), "--executed", "4"};
  EXPECT_EQ(r.send().status, 0);
  r.more = {"--previous", (folder / "chunk.safetensors").string(), "--executed", "16"};
  expect_refused(r.send(), 2, {"--executed"});
}
TEST(BadRequest, PictureOfFloatsBeyondOne) {
  TempFolder folder;
  Request r;
  Tensor picture = Tensor::empty(Shape{8, 8, 3}, DType::f32);
  for (float& v : picture.span<float>()) v = 200;
  io::write_safetensors(folder / "bright.safetensors", std::vector<std::pair<std::string, Tensor>>{{"picture", picture}}, {});
  r.images[0] = "scene=" + (folder / "bright.safetensors").string();
  expect_refused(r.send(), 1, {"[0, 1]", "200", "divide by 255"});
}
TEST(BadRequest, TokenizerOfAnotherModel) {
  Request r;  // 768 tokens for a table of 384 rows
  r.more = {"--tokenizer", golden("pi0/lerobot_pi05_a/tokenizer.json").string()};
  expect_refused(r.send(), 1, {"token table", "--tokenizer"});
}
TEST(BadRequest, SeedThatIsNoNumber) {
  for (const char* seed : {"-1", "0x10", "99999999999999999999", "1.5", ""}) {
    Request r;
    r.more = {std::string("--seed=") + seed};
    EXPECT_EQ(r.send().status, 2) << seed;
  }
}
TEST(BadRequest, UnknownRobotSetOrCommandIsWrongUse) {
  EXPECT_EQ(run({"foo"}).status, 2);
  EXPECT_NE(run({"foo"}).err.find("'foo'"), std::string::npos);
  EXPECT_EQ(run({"info", "--isa", "mmx"}).status, 2);
  Request r;
  r.more = {"--robot", "nope"};
  EXPECT_EQ(r.send().status, 2);
}
TEST(ActCsv, ReadsBackWhatItWrote) {
  TempFolder folder;
  Request r;
  const std::string csv = (folder / "chunk.csv").string();
  r.more = {"--out", csv};
  ASSERT_EQ(r.send().status, 0);
  r.more = {"--plot", (folder / "chunk.svg").string(), "--overlay", "again=" + csv};
  EXPECT_EQ(r.send().status, 0);
  r.more = {"--previous", csv};  // 16 rows of 4: the header is none of them
  EXPECT_EQ(r.send().status, 0);
}
TEST_F(Checkpoint, WithoutAStepThatNormalisesSaysSo) {
  replace(folder_ / "policy_postprocessor.json", R"({"name":"policy_postprocessor","steps":[]})");
  const Outcome o = send();
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.err.find("no statistics for the actions"), std::string::npos) << o.err;
}
TEST(BadRequest, PromptIsNotUtf8) {
  Request r;
  r.prompt = "open \xff\xfe the faucet";
  expect_refused(r.send(), 1, {"UTF-8"});
}
TEST(BadRequest, NoiseOfTheWrongShape) {
  const TempFolder folder;
  spill(folder / "noise.csv", "1,2,3\n4,5,6\n");
  Request r;
  r.more = {"--noise", (folder / "noise.csv").string()};
  expect_refused(r.send(), 1, {"noise", "16"});
}
TEST(BadRequest, OutOfADirectoryThatIsNotThereAndOldFileKept) {
  Request r;
  r.more = {"--out", "/no/such/place/chunk.json"};
  expect_refused(r.send(), 1, {"/no/such/place/chunk.json"});
}
TEST(BadRequest, FullDiskKeepsTheOldFile) {
  const TempFolder folder;
  const fs::path disk = folder / "disk";
  fs::create_directory(disk);
  if (::geteuid() != 0 || std::system(("mount -t tmpfs -o size=8k tmpfs " + disk.string() + " 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "cannot mount a small file system here; io/file_test covers a full disk by a size limit";
  spill(disk / "chunk.json", "the old chunk");
  spill(disk / "filler", std::string(4096, 'x'));
  Request r;
  r.more = {"--out", (disk / "chunk.json").string()};
  const Outcome o = r.send();
  const std::string kept = slurp(disk / "chunk.json");
  const auto files = std::distance(fs::directory_iterator(disk), fs::directory_iterator());
  EXPECT_EQ(std::system(("umount " + disk.string()).c_str()), 0);
  expect_refused(o, 1, {"chunk.json"});
  EXPECT_EQ(kept, "the old chunk");
  EXPECT_EQ(files, 2);
}
TEST(BadRequest, UnknownRobot) {
  Request r;
  r.more = {"--robot", "r2d2"};
  const Outcome o = r.send();
  EXPECT_NE(o.status, 0);
  EXPECT_NE(o.err.find("r2d2"), std::string::npos) << o.err;
}

TEST(WrongUse, IsStatusTwo) {
  EXPECT_EQ(run({}).status, 2);
  EXPECT_EQ(run({"dance"}).status, 2);
  EXPECT_EQ(run({"info", "--nonsense"}).status, 2);
  EXPECT_EQ(run({"act"}).status, 2);
  EXPECT_EQ(run({"bench", "pi0", "--steps", "0"}).status, 2);
  EXPECT_EQ(run({"bench", "pi0", "--precision", "fp4"}).status, 2);
  Request r;
  for (const auto& more : std::vector<std::vector<std::string>>{
           {"--out", "chunk.pickle"}, {"--plot", "chunk.gif"}, {"--overlay", "a=b.npy"}, {"--seed", "1", "--noise", "a.npy"}}) {
    r.more = more;
    EXPECT_EQ(r.send().status, 2) << more[0];
  }
}
TEST(WrongUse, EnvironmentIsChecked) {
  expect_refused(run({"info"}, {"TESSERA_ISA=avx4096"}), 1, {"avx4096", "scalar"});
  expect_refused(run({"info"}, {"TESSERA_THREADS=many"}), 1, {"many"});
}
TEST(WrongUse, BenchOfNothing) { expect_refused(run({"bench", "no/such/model"}), 1, {"no/such/model"}); }
TEST(WrongUse, VerifyWithAFileThatIsNoRecording) {
  expect_refused(run({"verify", golden("policies/metaworld_pi0").string(), golden("policies/metaworld_pi0/model.safetensors").string()}), 1,
                 {"model.safetensors"});
  expect_refused(run({"verify", golden("policies/metaworld_pi0").string(), golden("pi0/openpi_pi0_a/io.safetensors").string()}), 1,
                 {"io.safetensors"});
}

}  // namespace
}  // namespace tessera::test

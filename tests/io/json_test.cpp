// JSON: values, what each kind of access says when it fails and where, limits, and writing.
#include "tessera/io/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/reference/io.h"

namespace tessera::io {
namespace {

using reference::error_of;
using reference::Folder;
using reference::put;

std::string parse_error(std::string_view text) {
  return error_of([&] { (void)Json::parse(text, "a.json"); });
}

TEST(Json, ReadsEveryKind) {
  const Json j = Json::parse(
      R"( {"n": null, "t": true, "f": false, "i": -12, "d": 2.5, "s": "a\"\u00e9\ud83d\ude00\n", "a": [1, [], {}], "o": {"x": 1}} )", "a.json");
  ASSERT_TRUE(j.is_object());
  EXPECT_TRUE(j.at("n").is_null());
  EXPECT_TRUE(j.at("t").boolean());
  EXPECT_FALSE(j.at("f").boolean());
  EXPECT_EQ(j.at("i").integer(), -12);
  EXPECT_EQ(j.at("i").kind(), Json::Kind::integer);
  EXPECT_EQ(j.at("d").number(), 2.5);
  EXPECT_EQ(j.at("d").kind(), Json::Kind::number);
  EXPECT_EQ(j.at("s").string(), "a\"\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT_EQ(j.at("a").array().size(), 3u);
  EXPECT_EQ(j.at("o").at("x").integer(), 1);
  std::vector<std::string> names;
  for (const auto& [name, value] : j.object()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"n", "t", "f", "i", "d", "s", "a", "o"}));  // in the order of the text
  EXPECT_EQ(Json::parse("\xef\xbb\xbf[1]", "a.json").array().size(), 1u);                // a byte order mark is skipped
}

TEST(Json, KeepsIntegersOf64BitsExactly) {
  const Json j = Json::parse("[9223372036854775807, -9223372036854775808, 9007199254740993, 18446744073709551615, 1e3, 0.5, -0]", "a.json");
  const auto& a = j.array();
  EXPECT_EQ(a[0].integer(), INT64_MAX);
  EXPECT_EQ(a[1].integer(), INT64_MIN);
  EXPECT_EQ(a[2].integer(), 9007199254740993);
  EXPECT_EQ(a[3].number(), 18446744073709551616.0);
  EXPECT_EQ(error_of([&] { (void)a[3].integer(); }), "[a.json: [3]] expected an integer, got 1.8446744073709552e+19");
  EXPECT_EQ(a[4].integer(), 1000);
  EXPECT_EQ(error_of([&] { (void)a[5].integer(); }), "[a.json: [5]] expected an integer, got 0.5");
  EXPECT_EQ(a[6].integer(), 0);
}

TEST(Json, SaysWhereAValueStands) {
  const Json j = Json::parse(R"({"vision": {"hidden": "x", "list": [1, {"deep": [true, null]}]}})", "config.json");
  EXPECT_EQ(j.where(), "config.json");
  EXPECT_EQ(j.at("vision").where(), "config.json: vision");
  EXPECT_EQ(j.at("vision").at("hidden").where(), "config.json: vision.hidden");
  EXPECT_EQ(j.at("vision").at("list").array()[1].at("deep").array()[1].where(), "config.json: vision.list[1].deep[1]");
  EXPECT_EQ(Json(5).where(), "");
  const Json copy = Json(j).at("vision");  // a place outlives the value that it was read from
  EXPECT_EQ(copy.at("list").where(), "config.json: vision.list");
}

TEST(Json, SaysWhatWasExpectedAndWhatCame) {
  const Json j = Json::parse(R"({"s": "text", "n": 3, "d": 0.5, "b": true, "z": null, "a": [1, "x"], "o": {}})", "c.json");
  EXPECT_EQ(error_of([&] { (void)j.at("n").string(); }), "[c.json: n] expected a string, got 3");
  EXPECT_EQ(error_of([&] { (void)j.at("d").string(); }), "[c.json: d] expected a string, got 0.5");
  EXPECT_EQ(error_of([&] { (void)j.at("s").number(); }), "[c.json: s] expected a number, got 'text'");
  EXPECT_EQ(error_of([&] { (void)j.at("b").integer(); }), "[c.json: b] expected an integer, got true");
  EXPECT_EQ(error_of([&] { (void)j.at("z").boolean(); }), "[c.json: z] expected true or false, got null");
  EXPECT_EQ(error_of([&] { (void)j.at("o").array(); }), "[c.json: o] expected an array, got an object");
  EXPECT_EQ(error_of([&] { (void)j.at("a").object(); }), "[c.json: a] expected an object, got an array");
  EXPECT_EQ(error_of([&] { (void)j.at("a").numbers(); }), "[c.json: a[1]] expected a number, got 'x'");
  EXPECT_EQ(error_of([&] { (void)j.at("a").strings(); }), "[c.json: a[0]] expected a string, got 1");
  EXPECT_EQ(error_of([&] { (void)j.at("missing"); }), "[c.json] expected the key 'missing', got none");
  EXPECT_EQ(error_of([&] { (void)j.at("o").at("x"); }), "[c.json: o] expected the key 'x', got none");
  EXPECT_EQ(error_of([&] { (void)j.at("a").find("x"); }), "[c.json: a] expected an object, got an array");
  EXPECT_EQ(error_of([&] { (void)j.at("n").integer(4, 9); }), "[c.json: n] expected an integer from 4 to 9, got 3");
  EXPECT_EQ(error_of([&] { (void)j.at("n").integer(4); }), "[c.json: n] expected an integer of 4 or more, got 3");
  EXPECT_EQ(j.at("n").integer(3, 3), 3);
  const std::string longer = Json::parse("[\"" + std::string(5000, 'x') + "\"]", "c.json").dump();
  EXPECT_LT(error_of([&] { (void)Json::parse(longer, "c.json").array()[0].number(); }).size(), 200u);
}

TEST(Json, FindAnswersNullForAbsentAndForNull) {
  const Json j = Json::parse(R"({"z": null, "n": 3})", "c.json");
  EXPECT_EQ(j.find("z"), nullptr);
  EXPECT_EQ(j.find("missing"), nullptr);
  EXPECT_FALSE(j.has("z"));
  ASSERT_NE(j.find("n"), nullptr);
  EXPECT_EQ(j.find("n")->integer(), 3);
}

TEST(Json, ListsOfNumbersAndStrings) {
  const Json j = Json::parse(R"({"n": [1, 2.5, -3], "s": ["a", ""], "e": []})", "c.json");
  EXPECT_EQ(j.at("n").numbers(), (std::vector<double>{1, 2.5, -3}));
  EXPECT_EQ(j.at("s").strings(), (std::vector<std::string>{"a", ""}));
  EXPECT_TRUE(j.at("e").numbers().empty());
}

TEST(Json, RefusesWhatIsNoJson) {
  EXPECT_EQ(parse_error("{\"a\": 1,\n \"b\" 2}").substr(0, 42), "[a.json] parse error at line 2, column 6: ");
  for (const char* text :
       {"",      " ",       "{",        "[1,]", "{\"a\":1,}", "[1] 2", "nul",    "01",      "+1",        ".5",          "1.",
        "1e",    "NaN",     "Infinity", "'a'",  "{a:1}",      "\"a",   "\"\t\"", "// x\n1", "\"\\x41\"", "\"\\ud800\"", "\"\\udc00\\ud800\"",
        "[1 2]", "{\"a\"}", "{1:2}",    "]",    "[}"})
    EXPECT_NE(parse_error(text).find("[a.json] "), std::string::npos) << text;
  EXPECT_NE(parse_error("[1e999]").find("number overflow"), std::string::npos);
  EXPECT_EQ(parse_error(std::string("[1]\0 and more", 13)), "[a.json] a null byte at 3");
}

TEST(Json, RefusesTextThatIsNotUtf8) {
  for (const char* bytes : {"\xff", "\xc3", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\x80"}) {
    const std::string error = parse_error("[\"" + std::string(bytes) + "\"]");
    EXPECT_NE(error.find("UTF-8"), std::string::npos) << error;
    for (const char c : error) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << error;  // the broken bytes are escaped in the message
  }
}

TEST(Json, MessagesAreShortAndWithoutControlCharacters) {
  const std::string error = parse_error("[\"" + std::string(100'000, 'x') + "\x01\"]");
  EXPECT_LT(error.size(), 400u);
  const Json j = Json::parse("{\"a\\u0001\\u001b[2J\\u009b\": [1]}", "c.json");
  EXPECT_EQ(j.object()[0].second.where(), "c.json: a\\x01\\x1b[2J\\xc2\\x9b");
  EXPECT_EQ(error_of([&] { (void)j.at("b\n"); }), "[c.json] expected the key 'b\\x0a', got none");
}

TEST(Json, RefusesAKeyThatStandsTwice) {
  EXPECT_EQ(parse_error(R"({"a": 1, "b": 2, "a": 3})"), "[a.json] the key 'a' stands twice");
  EXPECT_EQ(parse_error(R"({"x": [{"a": 1, "\u0061": 3}]})"), "[a.json: x[0]] the key 'a' stands twice");
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += "\"k" + std::to_string(i) + "\": 0, ";
  EXPECT_EQ(parse_error(many + "\"k57\": 1}"), "[a.json] the key 'k57' stands twice");
  EXPECT_EQ(parse_error(many + "\"k100\": 1}"), "no error");
  EXPECT_EQ(parse_error(R"({"a": {"a": {"a": 1}}, "b": {"a": 1}})"), "no error");
}

TEST(Json, RefusesDeepNesting) {
  const auto nested = [](int depth) { return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']'); };
  EXPECT_EQ(parse_error(nested(64)), "no error");
  EXPECT_NE(parse_error(nested(65)).find("nested deeper than 64 levels"), std::string::npos);
  EXPECT_NE(parse_error(std::string(1'000'000, '[')).find("nested deeper than 64 levels"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(parse_error(objects).find("nested deeper than 64 levels"), std::string::npos);
}

TEST(Json, RefusesMoreValuesThanMemoryShouldHold) {
  std::string text = "[0";
  for (int i = 0; i < (1 << 23); ++i) text += ",0";
  EXPECT_EQ(parse_error(text + "]"), "[a.json] more than 8388608 values");
}

TEST(Json, ReadsFiles) {
  const Folder folder;
  EXPECT_EQ(Json::read(put(folder / "a.json", "{\"a\": 1}")).at("a").where(), (folder / "a.json").string() + ": a");
  EXPECT_EQ(error_of([&] { (void)Json::read(folder / "none.json"); }),
            "[" + (folder / "none.json").string() + "] cannot open the file: No such file or directory");
  EXPECT_NE(error_of([&] { (void)Json::read(put(folder / "b.json", "{")); }).find((folder / "b.json").string()), std::string::npos);
}

TEST(Json, WritesWhatItReads) {
  const std::string line = R"({"z":null,"t":true,"i":-9223372036854775808,"d":0.1,"e":1e+300,"s":"a\"\\\n\u0001é","a":[1,[],{}],"o":{"b":1,"a":2}})";
  EXPECT_EQ(Json::parse(line, "a").dump(-1), line);
  const std::string block = "{\n  \"a\": [1, 2],\n  \"b\": [\n    {\n      \"c\": []\n    }\n  ],\n  \"d\": {}\n}";
  EXPECT_EQ(Json::parse(block, "a").dump(), block);
  EXPECT_EQ(Json::parse(Json::parse(block, "a").dump(-1), "a").dump(2), block);
}

TEST(Json, WritesNumbersThatReadAsTheSame) {
  Json list;
  const std::vector<double> values = {
      0.1, 1.0 / 3, 5e-324, std::numeric_limits<double>::max(), -0.0, 100.0, 1e15, 123456789.123456789, std::nextafter(1.0, 2.0)};
  for (const double v : values) list.push(v);
  EXPECT_EQ(Json::parse(list.dump(), "a").numbers(), values);
  EXPECT_TRUE(std::signbit(Json::parse(list.dump(), "a").numbers()[4]));
  EXPECT_EQ(Json::parse(list.dump(), "a").array()[5].kind(), Json::Kind::number);  // "100.0"
  Json others;
  others.push(std::numeric_limits<double>::quiet_NaN());
  others.push(-std::numeric_limits<double>::infinity());
  others.push("\xff");
  EXPECT_EQ(others.dump(-1), "[null,null,\"\xef\xbf\xbd\"]");  // bytes that are not UTF-8 become U+FFFD
}

TEST(Json, IsBuiltInCode) {
  Json j;
  j.set("a", 1).set("b", "x").set("a", 2.5);
  j.set("list", Json::Array{});
  EXPECT_EQ(j.dump(-1), R"({"a":2.5,"b":"x","list":[]})");
  Json list;
  list.push(nullptr);
  list.push(true);
  EXPECT_EQ(list.dump(-1), "[null,true]");
  EXPECT_EQ(error_of([&] { list.set("a", 1); }), "[] expected an object, got an array");
  EXPECT_EQ(error_of([&] { j.push(1); }), "[] expected an array, got an object");
}

// The size of a large vocabulary with its merges (33 MB). Quadratic work anywhere would take minutes; the bound is loose, for slow machines and
// sanitizers.
TEST(Json, ReadsALargeVocabularyInLinearTime) {
  std::string text = "{\"model\":{\"vocab\":{";
  constexpr int kWords = 257'000;
  for (int i = 0; i < kWords; ++i) text += (i > 0 ? ",\"word" : "\"word") + std::to_string(i) + "\":" + std::to_string(i);
  text += "},\"merges\":[";
  constexpr int kMerges = 514'000;
  for (int i = 0; i < kMerges; ++i) text += (i > 0 ? ",[\"left" : "[\"left") + std::to_string(i) + "\",\"right" + std::to_string(i) + "\"]";
  text += "]}}";
  const auto begin = std::chrono::steady_clock::now();
  const Json j = Json::parse(text, "tokenizer.json");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
  EXPECT_LT(seconds, 60.0);
  const auto& vocab = j.at("model").at("vocab").object();
  ASSERT_EQ(vocab.size(), static_cast<std::size_t>(kWords));
  EXPECT_EQ(vocab[200'000].first, "word200000");
  EXPECT_EQ(vocab[200'000].second.integer(), 200'000);
  EXPECT_EQ(vocab[200'000].second.where(), "tokenizer.json: model.vocab.word200000");
  const auto& merges = j.at("model").at("merges").array();
  ASSERT_EQ(merges.size(), static_cast<std::size_t>(kMerges));
  EXPECT_EQ(merges[kMerges - 1].array()[1].where(), "tokenizer.json: model.merges[513999][1]");
}

}  // namespace
}  // namespace tessera::io

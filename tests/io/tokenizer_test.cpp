// Tokenizers against what the reference libraries answered (tests/goldens/tokenizer, made by tools/make_tokenizer_goldens.py), and against
// files that are wrong.
#include "tessera/io/tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/tokenizer_formats.h"

namespace tessera::io {
namespace {

using Ids = std::vector<std::int32_t>;

std::filesystem::path goldens() { return std::filesystem::path(TESSERA_SOURCE_DIR) / "tests" / "goldens"; }

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

const Json& expected() {
  static const Json value = Json::read(goldens() / "tokenizer" / "expected.json");
  return value;
}

Ids ids_of(const Json& array) {
  Ids ids;
  for (const Json& id : array.array()) ids.push_back(static_cast<std::int32_t>(id.integer()));
  return ids;
}

/// `object` with the member at `path` ("model/vocab") replaced or added.
Json with(Json object, std::string_view path, Json value) {
  const std::size_t slash = path.find('/');
  const std::string_view key = path.substr(0, slash);
  if (slash != std::string_view::npos) value = with(object.at(key), path.substr(slash + 1), std::move(value));
  object.set(key, std::move(value));
  return object;
}

/// The message of the Error that `fn` throws; empty when it throws none.
template <class Fn>
std::string error_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; }
#define EXPECT_ERROR(statement, part) EXPECT_PRED2(holds, error_of([&] { (void)(statement); }), part)

TEST(Tokenizer, GivesTheReferencesIds) {
  const auto& files = expected().at("files").object();
  ASSERT_GE(files.size(), 15u);
  const auto texts = expected().at("texts").strings();
  ASSERT_GE(texts.size(), 50u);
  for (const auto& [file, want] : files) {
    SCOPED_TRACE(file);
    const auto tokenizer = read_tokenizer(goldens() / file);
    const Json& named = want.at("special");
    const auto special = [&](const char* name) {
      const Json* id = named.find(name);
      return id == nullptr ? -1 : id->integer();
    };
    EXPECT_EQ(tokenizer->vocab_size(), want.at("vocab_size").integer());
    EXPECT_EQ(tokenizer->bos_id(), special("bos"));
    EXPECT_EQ(tokenizer->eos_id(), special("eos"));
    EXPECT_EQ(tokenizer->pad_id(), special("pad"));
    const auto decoded = want.at("decoded").strings();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Ids ids = tokenizer->encode(texts[i]);
      EXPECT_EQ(ids, ids_of(want.at("ids").array()[i])) << "text " << i << ": " << texts[i];
      EXPECT_EQ(tokenizer->decode(ids), decoded[i]) << "text " << i << ": " << texts[i];
    }
  }
}

TEST(Tokenizer, GivesTheReferencesIdsForRandomSettings) {
  const Json cases = Json::read(goldens() / "tokenizer" / "random_settings.json");
  ASSERT_GE(cases.array().size(), 100u);
  for (const Json& one : cases.array()) {
    const std::string settings = one.at("tokenizer").dump(-1);
    const auto tokenizer = tokenizers::parse_tokenizer_json(settings, "random");
    const auto texts = one.at("texts").strings(), decoded = one.at("decoded").strings();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Ids ids = tokenizer->encode(texts[i]);
      EXPECT_EQ(ids, ids_of(one.at("ids").array()[i])) << "text " << texts[i] << " with " << settings;
      EXPECT_EQ(tokenizer->decode(ids), decoded[i]) << "text " << texts[i] << " with " << settings;
    }
  }
}

TEST(Tokenizer, FindsTheFileOfADirectory) {
  EXPECT_EQ(read_tokenizer(goldens() / "pi0" / "lerobot_pi0_a")->describe(), "SentencePiece model tokenizer.model, 640 pieces");
  const auto directory = std::filesystem::path(TESSERA_BINARY_DIR) / "tokenizer_test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory / "tokenizer");
  EXPECT_ERROR(read_tokenizer(directory), "google/paligemma-3b-pt-224");
  EXPECT_ERROR(read_tokenizer(directory / "missing"), "no such file");
  std::filesystem::copy_file(goldens() / "tokenizer" / "gemma_like.json", directory / "tokenizer" / "tokenizer.json");
  EXPECT_NE(read_tokenizer(directory)->describe().find("BPE tokenizer tokenizer.json"), std::string::npos);
  std::filesystem::copy_file(goldens() / "tokenizer" / "bpe_bytes.model", directory / "tokenizer" / "tokenizer.model");
  EXPECT_NE(read_tokenizer(directory)->describe().find("SentencePiece"), std::string::npos);
  std::filesystem::copy_file(goldens() / "tokenizer" / "gemma_like.json", directory / "tokenizer.json");
  EXPECT_NE(read_tokenizer(directory)->describe().find("BPE tokenizer"), std::string::npos);
  std::filesystem::remove_all(directory);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  for (const char* file : {"tokenizer/gemma_like.json", "tokenizer/bpe_bytes.model"}) {
    const auto tokenizer = read_tokenizer(goldens() / file);
    for (const std::string text : {"\x80", "ok \xff", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x9f\x98", "a\xe2\x96"}) {
      EXPECT_ERROR(tokenizer->encode(text), "UTF-8");
    }
    EXPECT_ERROR(tokenizer->encode(std::string(tokenizers::kMaxText + 1, 'a')), "at most");
    EXPECT_ERROR(tokenizer->decode(Ids{tokenizer->vocab_size()}), "expected");
    EXPECT_ERROR(tokenizer->decode(Ids{-1}), "expected");
    EXPECT_EQ(tokenizer->decode(Ids{}), "");
  }
}

TEST(Tokenizer, MayBeUsedByManyThreads) {
  const auto texts = expected().at("texts").strings();
  for (const char* file : {"tokenizer/gemma_like.json", "tokenizer/unigram.model"}) {
    const auto tokenizer = read_tokenizer(goldens() / file);
    const Json& want = expected().at("files").at(file).at("ids");
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (std::size_t i = 0; i < texts.size(); ++i) wrong += tokenizer->encode(texts[i]) != ids_of(want.array()[i]);
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
  }
}

// A quadratic merge loop needs 10^10 steps for this text, minutes; the bound leaves room for sanitizers and a loaded machine.
TEST(Tokenizer, EncodesALongTextInReasonableTime) {
  std::string text;
  while (text.size() < 100'000) text += "pick up the red block and put it into the drawer ";
  for (const char* file : {"tokenizer/gemma_like.json", "tokenizer/bpe_bytes.model"}) {
    const auto tokenizer = read_tokenizer(goldens() / file);
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = tokenizer->encode(text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    EXPECT_EQ(tokenizer->decode(ids), text);
  }
}

// One text in one piece against a plain quadratic merge: best rank first, leftmost of equals.
TEST(Tokenizer, MergesInTheOrderOfRanks) {
  const std::string json = R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"ba":3,"aa":4,"aba":5,"abab":6,"aab":7},
      "merges":["b a","a b","a a",["ab","ab"],["ab","a"],["a","ab"]]}})";
  const std::vector<std::string> names = {"a", "b", "ab", "ba", "aa", "aba", "abab", "aab"};
  const std::vector<std::array<int, 3>> rules = {{1, 0, 3}, {0, 1, 2}, {0, 0, 4}, {2, 2, 6}, {2, 0, 5}, {0, 2, 7}};
  const auto tokenizer = tokenizers::parse_tokenizer_json(json, "test");
  for (unsigned length = 0; length <= 10; ++length) {
    for (unsigned bits = 0; bits < (1u << length); ++bits) {
      std::string text;
      Ids want;
      for (unsigned i = 0; i < length; ++i) {
        want.push_back((bits >> i) & 1 ? 1 : 0);
        text += (bits >> i) & 1 ? 'b' : 'a';
      }
      for (bool merged = true; merged;) {
        merged = false;
        for (const auto& rule : rules) {
          for (std::size_t i = 0; i + 1 < want.size(); ++i) {
            if (want[i] != rule[0] || want[i + 1] != rule[1]) continue;
            want[i] = rule[2];
            want.erase(want.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            merged = true;
            break;
          }
          if (merged) break;
        }
      }
      EXPECT_EQ(tokenizer->encode(text), want) << text;
    }
  }
}

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  const Json base = Json::parse(R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})", "base");
  const auto parse = [](const std::string& text) { return tokenizers::parse_tokenizer_json(text, "t.json"); };
  EXPECT_EQ(parse(base.dump())->encode("aabb"), (Ids{0, 2, 1}));
  const std::vector<std::array<const char*, 3>> cases = {
      {"model/type", R"("WordPiece")", "WordPiece"},
      {"model/type", R"("Unigram")", "tokenizer.model"},
      {"model/vocab", R"([["a",0.5]])", "without vocab"},
      {"model/vocab", "5", "without vocab"},
      {"model/merges", "5", "without vocab and merges"},
      {"model/merges", R"(["a b c"])", "model.merges"},
      {"model/merges", R"(["ab"])", "model.merges"},
      {"model/merges", R"([["a"]])", "model.merges"},
      {"model/merges", R"([["a","b","a"]])", "model.merges"},
      {"model/merges", R"([["a",1]])", "model.merges"},
      {"model/merges", R"([{"a":1}])", "model.merges"},
      {"model/merges", R"([["b","a"]])", "\"ba\""},
      {"model/merges", R"(["a c"])", "\"c\""},
      {"model/vocab/a", "-1", "token ids"},
      {"model/vocab/a", "1.5", "token ids"},
      {"model/vocab/a", "\"x\"", "token ids"},
      {"model/vocab/a", "[]", "token ids"},
      {"model/vocab/a", "4294967296", "token ids"},
      {"model/vocab/a", "1", "stands twice"},
      {"model/dropout", "0.1", "dropout"},
      {"model/unk_token", R"("<unk>")", "unk_token"},
      {"model/end_of_word_suffix", R"("</w>")", "end_of_word_suffix"},
      {"model/continuing_subword_prefix", R"("##")", "continuing_subword_prefix"},
      {"model/byte_fallback", "1", "byte_fallback"},
      {"normalizer", R"({"type":"NFKC"})", "NFKC"},
      {"normalizer", R"({"type":"Sequence","normalizers":[{"type":"Lowercase"}]})", "Lowercase"},
      {"normalizer", R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":""})", "\\s+"},
      {"normalizer", R"({"type":"Replace","pattern":{"Regex":"a*"},"content":""})", "a*"},
      {"normalizer", R"({"type":"Replace","pattern":{"String":""},"content":""})", "empty pattern"},
      {"normalizer", R"({"type":"Replace","pattern":{"String":" "}})", "content"},
      {"normalizer", R"("NFC")", "object"},
      {"pre_tokenizer", R"({"type":"ByteLevel"})", "ByteLevel"},
      {"pre_tokenizer", R"({"type":"Split","pattern":{"String":" "},"behavior":"Sideways"})", "Sideways"},
      {"pre_tokenizer", R"({"type":"Metaspace","replacement":"ab"})", "one character"},
      {"pre_tokenizer", R"({"type":"Metaspace","prepend_scheme":"sometimes"})", "sometimes"},
      {"decoder", R"({"type":"WordPiece"})", "WordPiece"},
      {"decoder", R"({"type":"Strip","content":" ","start":-1,"stop":0})", "start"},
      {"post_processor", R"({"type":"BertProcessing"})", "BertProcessing"},
      {"post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],"special_tokens":{}})", "<s>"},
      {"post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[9]}}})", "id 9"},
      {"added_tokens", R"([{"id":0,"content":"b"}])", "model.vocab gives 1"},
      {"added_tokens", R"([{"id":0,"content":"x"}])", "it to \"a\""},
      {"added_tokens", R"([{"id":3,"content":""}])", "empty"},
      {"added_tokens", R"([{"id":3,"content":"x"},{"id":3,"content":"y"}])", "stands twice"},
      {"added_tokens", R"([{"id":3,"content":"x","single_word":true}])", "single_word"},
      {"added_tokens", R"({"x":1})", "array"},
  };
  for (const auto& [path, value, part] : cases) {
    SCOPED_TRACE(std::string(path) + " = " + value);
    const std::string text = with(base, path, Json::parse(value, "value")).dump(-1);
    EXPECT_ERROR(parse(text), part);
    EXPECT_ERROR(parse(text), "[t.json]");
  }
}

TEST(TokenizerJson, RefusesMalformedText) {
  const auto parse = [](const std::string& text) { return tokenizers::parse_tokenizer_json(text, "t.json"); };
  const std::string good = R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})";
  for (std::size_t length = 0; length < good.size(); ++length) EXPECT_ERROR(parse(good.substr(0, length)), "[t.json]");
  EXPECT_ERROR(parse(good + "x"), "malformed JSON at byte");
  EXPECT_ERROR(parse("[]"), "object");
  EXPECT_ERROR(parse("7"), "object");
  EXPECT_ERROR(parse("{}"), "no model");
  EXPECT_ERROR(parse(std::string(100, '[')), "nesting");
  EXPECT_ERROR(parse(R"({"a":1,"a":2})"), "stands twice");
  EXPECT_ERROR(parse(R"({"model":{"vocab":{"a":0,"a":0},"merges":[]}})"), "stands twice");
  EXPECT_ERROR(parse(R"({"model":{"vocab":{"a":0},"vocab":{"b":1},"merges":[]}})"), "stands twice");
  EXPECT_ERROR(parse("{\"model\":{\"vocab\":{\"\xff\":0},\"merges\":[]}}"), "malformed JSON");
}

TEST(SentencePiece, RefusesEveryTruncationAndManyFlips) {
  const std::string good = bytes_of(goldens() / "tokenizer" / "bpe_bytes.model");
  ASSERT_GT(good.size(), 1000u);
  const auto parse = [](const std::string& bytes) { return tokenizers::parse_sentencepiece(bytes, "t.model"); };
  EXPECT_ERROR(parse(""), "t.model");
  EXPECT_ERROR(parse("hello"), "not a SentencePiece model");
  EXPECT_ERROR(parse(std::string(1000, '\0')), "not a SentencePiece model");
  int refused = 0;
  for (std::size_t length = 0; length < good.size(); length += 7) refused += !error_of([&] { parse(good.substr(0, length)); }).empty();
  EXPECT_GT(refused, 100);  // a cut between two fields leaves a smaller message, which may still lack what a model needs
  for (std::size_t i = 0; i < good.size(); i += 11) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x5a);
    error_of([&] { parse(bad)->encode("pick up the cup \n 12"); });  // an answer or an Error, never a crash
  }
}

TEST(SentencePiece, ChecksTheCharacterMap) {
  const std::string good = bytes_of(goldens() / "tokenizer" / "unigram.model");
  ASSERT_GT(good.size(), 200'000u);  // nearly all of it the map of NFKC
  EXPECT_EQ(error_of([&] { tokenizers::check_sentencepiece(good, "t.model"); }), "");
  int refused = 0;
  for (std::size_t i = 20'000; i < good.size() - 10'000; i += 4999) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x80);
    const bool ok = error_of([&] { tokenizers::check_sentencepiece(bad, "t.model"); }).empty();
    refused += !ok;
    if (ok) error_of([&] { tokenizers::parse_sentencepiece(bad, "t.model")->encode("ﬁ ＡＢＣ é e\xcc\x81 ½ 漢字 한국어"); });
  }
  EXPECT_GT(refused, 2);
}

}  // namespace
}  // namespace tessera::io

// Any bytes are a tokenizer or an Error. The first byte chooses the format and where the model ends and a text to encode begins.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool json = (data[0] & 1) != 0;
  const std::size_t text_size = data[0] >> 1;  // at the end of the input
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view text = rest.substr(rest.size() < text_size ? 0 : rest.size() - text_size);
  const std::string_view model = rest.substr(0, rest.size() - text.size());
  try {
    const auto tokenizer =
        json ? tessera::io::tokenizers::parse_tokenizer_json(model, "fuzz") : tessera::io::tokenizers::parse_sentencepiece(model, "fuzz");
    for (const std::string_view one : {std::string_view("Task: pick up 3 cups \xc3\xa9 \xe6\xbc\xa2\n"), text}) {
      try {
        const auto ids = tokenizer->encode(one);
        for (const std::int32_t id : ids)
          if (id < 0 || id >= tokenizer->vocab_size()) std::abort();
        (void)tokenizer->decode(ids);
      } catch (const tessera::Error&) {
      }
    }
    (void)tokenizer->describe();
  } catch (const tessera::Error&) {
  }
  return 0;
}

// PNG through libpng. Its errors arrive by longjmp, so every function that calls setjmp owns nothing with a destructor.
#include <fmt/format.h>
#include <png.h>

#include <array>
#include <cstring>
#include <new>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/image.h"
#include "tessera/io/image_codec.h"

namespace tessera::io {
namespace {

struct Message {
  std::array<char, 128> text{};
  void set(const char* message) { std::strncpy(text.data(), message, text.size() - 1); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  static_cast<Message*>(png_get_error_ptr(png))->set(message);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : left_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) message_.set("out of memory");
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Each answers false after an error; message() says which.
  bool read_header(bool want_exif) {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(png_, 0);  // an error where libpng would warn and go on
    // Colour profiles, texts and transparency take no part in the result: skipped by length (their checksums still count).
    static constexpr png_byte kTransparency[] = {'t', 'R', 'N', 'S', 0};
    static constexpr png_byte kExif[] = {'e', 'X', 'I', 'f', 0};
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, kTransparency, 1);
    if (want_exif) png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT, kExif, 1);
    png_read_info(png_, info_);
    width = png_get_image_width(png_, info_);
    height = png_get_image_height(png_, info_);
    color_type = png_get_color_type(png_, info_);
    stored_row_bytes = png_get_rowbytes(png_, info_);
    if (color_type == PNG_COLOR_TYPE_PALETTE) png_get_PLTE(png_, info_, &palette, &palette_size);
    return true;
  }
  /// Rows come as 8-bit RGB, or as one byte per pixel for palettes.
  bool start() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_strip_16(png_);  // the upper byte
    png_set_strip_alpha(png_);
    if (color_type == PNG_COLOR_TYPE_PALETTE) {
      png_set_packing(png_);
    } else if (color_type == PNG_COLOR_TYPE_GRAY || color_type == PNG_COLOR_TYPE_GRAY_ALPHA) {
      png_set_expand_gray_1_2_4_to_8(png_);
      png_set_gray_to_rgb(png_);
    }
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    row_bytes = png_get_rowbytes(png_, info_);
    return true;
  }
  bool read_rows(std::uint8_t* rows, std::size_t stride) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass)
      for (std::size_t y = 0; y < height; ++y) png_read_row(png_, rows + y * stride, nullptr);
    return true;
  }
  bool finish() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_end(png_, info_);
    return true;
  }
  std::span<const std::byte> exif() const {
    png_uint_32 size = 0;
    png_bytep data = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &data) == 0 || data == nullptr) return {};
    return {reinterpret_cast<const std::byte*>(data), size};
  }
  std::string message() const { return message_.text.data(); }

  std::size_t width = 0, height = 0, stored_row_bytes = 0, row_bytes = 0;
  int color_type = 0;
  png_colorp palette = nullptr;
  int palette_size = 0;

 private:
  static void on_read(png_structp png, png_bytep to, std::size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader->left_.size()) png_error(png, "the file is truncated");
    std::memcpy(to, reader->left_.data(), count);
    reader->left_ = reader->left_.subspan(count);
  }

  std::span<const std::byte> left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  Message message_;
};

class PngWriter {
 public:
  explicit PngWriter(std::vector<std::byte>& out) : out_(out) {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) message_.set("out of memory");
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  bool write(const std::uint8_t* rows, std::size_t stride, std::size_t height, std::size_t width, int channels) {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_write_fn(png_, this, on_write, [](png_structp) {});
    const int color = channels == 1 ? PNG_COLOR_TYPE_GRAY : channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8, color, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    png_write_info(png_, info_);
    for (std::size_t y = 0; y < height; ++y) png_write_row(png_, rows + y * stride);
    png_write_end(png_, info_);
    return true;
  }
  std::string message() const { return message_.text.data(); }

 private:
  static void on_write(png_structp png, png_bytep data, std::size_t count) {
    if (!static_cast<PngWriter*>(png_get_io_ptr(png))->append(data, count)) png_error(png, "out of memory");
  }
  bool append(const png_byte* data, std::size_t count) noexcept {
    try {
      const auto* bytes = reinterpret_cast<const std::byte*>(data);
      out_.insert(out_.end(), bytes, bytes + count);
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  std::vector<std::byte>& out_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Message message_;
};

}  // namespace

namespace codec {

Picture decode_png(std::span<const std::byte> bytes, std::string_view where, bool want_exif) {
  PngReader reader(bytes);
  const auto check = [&](bool ok) {
    if (!ok) fail(where, "malformed PNG: " + reader.message());
  };
  check(reader.read_header(want_exif));
  check_size(reader.width, reader.height, where);
  // Deflate shrinks to 1/1032 at best, so a short file with a large header is refused before memory is taken for its pixels.
  constexpr std::size_t kBestDeflate = 1032;
  if (reader.stored_row_bytes * reader.height / kBestDeflate > bytes.size())
    fail(where, fmt::format("malformed PNG: {} bytes cannot hold {} x {} pixels", bytes.size(), reader.width, reader.height));
  check(reader.start());
  const std::size_t h = reader.height, w = reader.width;
  const bool indexed = reader.color_type == PNG_COLOR_TYPE_PALETTE;
  if (reader.row_bytes != (indexed ? w : w * 3)) fail(where, "malformed PNG: unexpected row length");
  Picture picture;
  picture.rgb = Tensor::empty({static_cast<std::int64_t>(h), static_cast<std::int64_t>(w), 3}, DType::u8);
  std::uint8_t* rgb = picture.rgb.data<std::uint8_t>();
  check(reader.read_rows(rgb, w * 3));
  if (indexed) {  // in place, from the back of each row
    for (std::size_t y = 0; y < h; ++y) {
      std::uint8_t* row = rgb + y * w * 3;
      for (std::size_t x = w; x-- > 0;) {
        const int index = row[x];
        if (index >= reader.palette_size) fail(where, fmt::format("malformed PNG: colour {} of a palette of {}", index, reader.palette_size));
        const png_color color = reader.palette[index];
        row[x * 3] = color.red;
        row[x * 3 + 1] = color.green;
        row[x * 3 + 2] = color.blue;
      }
    }
  }
  check(reader.finish());
  if (want_exif) {
    const auto exif = reader.exif();
    picture.exif.assign(exif.begin(), exif.end());
  }
  return picture;
}

}  // namespace codec

std::vector<std::byte> encode_png(const Tensor& x) {
  if (!x.defined() || x.dtype() != DType::u8 || x.layout() != Layout::row_major || x.shape().rank() != 3 || x.numel() == 0 ||
      (x.shape()[2] != 1 && x.shape()[2] != 3 && x.shape()[2] != 4))
    fail_expected("encode_png", "uint8 [H, W, 1], [H, W, 3] or [H, W, 4], row-major", x.defined() ? x.str() : "no tensor");
  const auto h = static_cast<std::size_t>(x.shape()[0]), w = static_cast<std::size_t>(x.shape()[1]), c = static_cast<std::size_t>(x.shape()[2]);
  codec::check_size(w, h, "encode_png");
  const std::uint8_t* data = x.data<std::uint8_t>();
  std::vector<std::uint8_t> packed;
  if (!x.is_contiguous()) {  // some channels of a wider image
    packed.resize(h * w * c);
    for (std::size_t i = 0; i < h * w; ++i) std::memcpy(packed.data() + i * c, data + i * static_cast<std::size_t>(x.row_stride()), c);
    data = packed.data();
  }
  std::vector<std::byte> out;
  PngWriter writer(out);
  if (!writer.write(data, w * c, h, w, static_cast<int>(c))) fail("encode_png", writer.message());
  return out;
}

}  // namespace tessera::io

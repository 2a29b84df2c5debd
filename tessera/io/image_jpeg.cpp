// JPEG through libjpeg-turbo. Its errors arrive by longjmp, so every function that calls setjmp owns nothing with a destructor.
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE and size_t

#include <jpeglib.h>

#include <jerror.h>

#include <array>
#include <cstring>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/image_codec.h"

namespace tessera::io::codec {
namespace {

// A progressive file may repeat its scans over the whole picture without end; no encoder writes more than a few dozen.
constexpr int kMaxScans = 200;
// Coefficients of the largest picture that kMaxPixels lets in: four full-size components of 16 bits, and some for the tables.
constexpr long kMaxMemory = 544L << 20;

class JpegReader {
 public:
  JpegReader(std::span<const std::byte> bytes) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    errors_.output_message = [](j_common_ptr) {};
    source_.init_source = [](j_decompress_ptr) {};
    source_.term_source = [](j_decompress_ptr) {};
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.fill_input_buffer = on_end;
    source_.skip_input_data = on_skip;
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source_.bytes_in_buffer = bytes.size();
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  /// Each answers false after an error; message() says which.
  bool read_header(bool want_exif) {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.mem->max_memory_to_use = kMaxMemory;
    info_.src = &source_;
    info_.progress = &progress_;
    if (want_exif) jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info_, TRUE);
    return true;
  }
  bool start() {
    if (setjmp(jump_) != 0) return false;
    info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : info_.num_components == 3 ? JCS_RGB : JCS_GRAYSCALE;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    return true;
  }
  /// `rows` holds height * width pixels of channels() bytes, and there is room for `stride` bytes per row.
  bool read_rows(std::uint8_t* rows, std::size_t stride) {
    if (setjmp(jump_) != 0) return false;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = rows + static_cast<std::size_t>(info_.output_scanline) * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }
  /// One row at a time into `buffer` (four bytes per pixel), converted to RGB.
  bool read_cmyk_rows(std::uint8_t* rgb, std::uint8_t* buffer) {
    if (setjmp(jump_) != 0) return false;
    while (info_.output_scanline < info_.output_height) {
      std::uint8_t* out = rgb + static_cast<std::size_t>(info_.output_scanline) * info_.output_width * 3;
      JSAMPROW row = buffer;
      jpeg_read_scanlines(&info_, &row, 1);
      cmyk_to_rgb(buffer, out, info_.output_width);
    }
    return true;
  }
  bool finish() {
    if (setjmp(jump_) != 0) return false;
    jpeg_finish_decompress(&info_);
    return true;
  }

  std::string message() const { return message_.data(); }
  const jpeg_decompress_struct& info() const { return info_; }

 private:
  static JpegReader& self(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }
  [[noreturn]] void stop(const char* text) {
    std::strncpy(message_.data(), text, message_.size() - 1);
    std::longjmp(jump_, 1);
  }
  static void on_error(j_common_ptr info) {
    std::array<char, JMSG_LENGTH_MAX> text{};
    info->err->format_message(info, text.data());
    self(info).stop(text.data());
  }
  static void on_message(j_common_ptr info, int level) {
    if (level >= 0) return;  // traces
    switch (info->err->msg_code) {
      // Harmless, and written by cameras: stray bytes between segments, odd version or profile fields, scan fields of the wrong mode.
      case JWRN_EXTRANEOUS_DATA:
      case JWRN_ADOBE_XFORM:
      case JWRN_JFIF_MAJOR:
      case JWRN_BOGUS_ICC:
      case JWRN_NOT_SEQUENTIAL: return;
      default: on_error(info);  // the decoder would go on with invented pixels
    }
  }
  static boolean on_end(j_decompress_ptr info) { self(reinterpret_cast<j_common_ptr>(info)).stop("the file is truncated"); }
  static void on_skip(j_decompress_ptr info, long count) {
    if (count <= 0) return;
    JpegReader& reader = self(reinterpret_cast<j_common_ptr>(info));
    if (static_cast<std::size_t>(count) > reader.source_.bytes_in_buffer) reader.stop("the file is truncated");
    reader.source_.next_input_byte += count;
    reader.source_.bytes_in_buffer -= static_cast<std::size_t>(count);
  }
  static void on_progress(j_common_ptr info) {
    if (info->is_decompressor && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) self(info).stop("too many scans");
  }
  // Four-component files follow Adobe's habit of storing the inks inverted; ink on ink as Pillow rounds it.
  static void cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, std::size_t pixels) {
    for (std::size_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
      const int white = cmyk[3];
      for (int c = 0; c < 3; ++c) {
        const int product = (255 - cmyk[c]) * white + 128;
        const int value = white - (((product >> 8) + product) >> 8);
        rgb[c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
      }
    }
  }

  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
};

}  // namespace

Picture decode_jpeg(std::span<const std::byte> bytes, std::string_view where, bool want_exif) {
  JpegReader reader(bytes);
  const auto check = [&](bool ok) {
    if (!ok) fail(where, "malformed JPEG: " + reader.message());
  };
  check(reader.read_header(want_exif));
  const auto& info = reader.info();
  check_size(info.image_width, info.image_height, where);
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4) fail_expected(where, "a JPEG of 1, 3 or 4 components", std::to_string(components));
  Picture picture;
  if (want_exif) {
    constexpr std::string_view kTag("Exif\0\0", 6);
    for (auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->data_length < kTag.size() || std::memcmp(marker->data, kTag.data(), kTag.size()) != 0) continue;
      const auto* data = reinterpret_cast<const std::byte*>(marker->data);
      picture.exif.assign(data + kTag.size(), data + marker->data_length);
      break;
    }
  }
  check(reader.start());
  const std::size_t h = info.output_height, w = info.output_width;
  picture.rgb = Tensor::empty({static_cast<std::int64_t>(h), static_cast<std::int64_t>(w), 3}, DType::u8);
  std::uint8_t* rgb = picture.rgb.data<std::uint8_t>();
  if (components == 4) {
    std::vector<std::uint8_t> row(w * 4);
    check(reader.read_cmyk_rows(rgb, row.data()));
  } else {
    check(reader.read_rows(rgb, w * 3));
    if (components == 1) {
      for (std::size_t y = 0; y < h; ++y) {
        std::uint8_t* row = rgb + y * w * 3;
        for (std::size_t x = w; x-- > 0;) row[x * 3] = row[x * 3 + 1] = row[x * 3 + 2] = row[x];
      }
    }
  }
  check(reader.finish());
  return picture;
}

}  // namespace tessera::io::codec

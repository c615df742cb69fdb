// JPEG files, by libjpeg (turbo).
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
// libjpeg's headers need FILE and size_t declared before them.
#include <cstdio>
//
#include <jpeglib.h>
//
#include <jerror.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <span>
#include <string_view>

#include "promiseg/core/error.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {
namespace detail {

/// libjpeg's error manager with the way out of it and its last words. `base` must come first:
/// libjpeg hands out a pointer to it, which is cast back.
struct JpegErrors {
  jpeg_error_mgr base{};
  std::jmp_buf way_out{};
  char message[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] inline void jpeg_on_error(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<JpegErrors*>(jpeg->err);
  jpeg->err->format_message(jpeg, errors->message);
  std::longjmp(errors->way_out, 1);
}

/// libjpeg warns of data it could not decode and fills the gap with grey: here this is an error.
inline void jpeg_on_message(j_common_ptr jpeg, int level) {
  constexpr std::array<int, 5> kDamage{JWRN_JPEG_EOF, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE,
                                       JWRN_ARITH_BAD_CODE, JWRN_MUST_RESYNC};
  const bool damage =
      std::find(kDamage.begin(), kDamage.end(), jpeg->err->msg_code) != kDamage.end();
  if (level < 0 && damage) jpeg->err->error_exit(jpeg);
}

/// A progressive file may repeat scans for ever; each costs a pass over the whole picture.
inline void jpeg_on_progress(j_common_ptr jpeg) {
  constexpr int kMaxScans = 200;
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans) {
    jpeg->err->msg_code = JERR_BAD_PROGRESSION;
    jpeg->err->error_exit(jpeg);
  }
}

struct JpegDecoder {
  JpegDecoder() {
    jpeg.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_on_error;
    errors.base.emit_message = jpeg_on_message;
    progress.progress_monitor = jpeg_on_progress;
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg); }

  JpegErrors errors;
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct jpeg{};
};

// The two functions below are left by longjmp: they own nothing with a destructor.

inline bool jpeg_read_head(JpegDecoder& decoder, const std::uint8_t* data, unsigned long size) {
  if (setjmp(decoder.errors.way_out) != 0) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.progress = &decoder.progress;
  jpeg_mem_src(&decoder.jpeg, data, size);
  jpeg_read_header(&decoder.jpeg, TRUE);
  return true;
}

inline bool jpeg_read_rows(JpegDecoder& decoder, std::uint8_t* pixels, std::size_t row_bytes) {
  if (setjmp(decoder.errors.way_out) != 0) return false;
  jpeg_start_decompress(&decoder.jpeg);
  while (decoder.jpeg.output_scanline < decoder.jpeg.output_height) {
    JSAMPROW row = pixels + decoder.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&decoder.jpeg);
  return true;
}

}  // namespace detail

/// Decodes a JPEG file's bytes: grey, or YCbCr and RGB as RGB, 8 bits. The orientation of EXIF is
/// not applied: pixels come as stored. CMYK is refused. `path` is for messages. Throws
/// `bad_format` or `unsupported`.
inline RawImage decode_jpeg(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  detail::JpegDecoder decoder;
  const auto check = [&](bool done) {
    require(done, ErrorCode::bad_format, path.string(),
            ": damaged or unusual JPEG: ", std::string_view(decoder.errors.message));
  };
  require(bytes.size() <= std::numeric_limits<unsigned long>::max(), ErrorCode::unsupported,
          path.string(), ": a JPEG of ", bytes.size(), " bytes is too large");
  check(detail::jpeg_read_head(decoder, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                               static_cast<unsigned long>(bytes.size())));
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  require_picture_size(path, jpeg.image_width, jpeg.image_height);
  // The shortest code of an 8x8 block is a bit or two: 512 pixels a byte; twice this for caution.
  require_plausible_size(path, std::uint64_t{jpeg.image_width} * jpeg.image_height, bytes.size(),
                         1024);
  const bool grey = jpeg.jpeg_color_space == JCS_GRAYSCALE;
  require(grey || jpeg.jpeg_color_space == JCS_YCbCr || jpeg.jpeg_color_space == JCS_RGB,
          ErrorCode::unsupported, path.string(), ": a JPEG of ", jpeg.num_components, " components",
          jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK ? " (CMYK)" : "",
          " is not supported: convert it to grey or RGB");
  jpeg.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;

  RawImage raw;
  raw.format = format_name(ImageFormat::jpeg);
  const Index channels = grey ? 1 : 3;
  auto& samples = raw.samples.emplace<Image>(Extents<3>{
      static_cast<Index>(jpeg.image_height), static_cast<Index>(jpeg.image_width), channels});
  check(detail::jpeg_read_rows(decoder, samples.data(),
                               jpeg.image_width * static_cast<std::size_t>(channels)));
  return raw;
}

}  // namespace promiseg

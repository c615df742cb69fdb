// An image as it comes back from JPEG compression, in memory, by libjpeg (turbo).
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

#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/io/jpeg_file.hpp"

namespace promiseg {
namespace detail {

/// Where libjpeg writes. `base` must come first: libjpeg hands out a pointer to it, which is cast
/// back.
struct JpegBytes {
  jpeg_destination_mgr base{};
  std::vector<JOCTET> bytes = std::vector<JOCTET>(std::size_t{1} << 16);

  /// Makes everything from `used` bytes on free for writing.
  void continue_at(std::size_t used) {
    base.next_output_byte = bytes.data() + used;
    base.free_in_buffer = bytes.size() - used;
  }

  /// False if there is no memory: libjpeg is C, and no exception may pass through it.
  bool grow() noexcept {
    try {
      bytes.resize(2 * bytes.size());
      return true;
    } catch (...) {
      return false;
    }
  }
};

inline JpegBytes& jpeg_bytes(j_compress_ptr jpeg) {
  return *reinterpret_cast<JpegBytes*>(jpeg->dest);
}

inline void jpeg_on_start(j_compress_ptr jpeg) { jpeg_bytes(jpeg).continue_at(0); }

inline boolean jpeg_on_full(j_compress_ptr jpeg) {
  const std::size_t used = jpeg_bytes(jpeg).bytes.size();
  if (!jpeg_bytes(jpeg).grow()) {
    jpeg->err->msg_code = JERR_OUT_OF_MEMORY;
    jpeg->err->msg_parm.i[0] = 0;
    jpeg->err->error_exit(reinterpret_cast<j_common_ptr>(jpeg));
  }
  jpeg_bytes(jpeg).continue_at(used);
  return TRUE;
}

inline void jpeg_on_end(j_compress_ptr jpeg) {
  JpegBytes& destination = jpeg_bytes(jpeg);
  destination.bytes.resize(destination.bytes.size() - destination.base.free_in_buffer);
}

struct JpegEncoder {
  JpegEncoder() {
    jpeg.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_on_error;
    errors.base.emit_message = [](j_common_ptr /*jpeg*/, int /*level*/) {};
    destination.base.init_destination = jpeg_on_start;
    destination.base.empty_output_buffer = jpeg_on_full;
    destination.base.term_destination = jpeg_on_end;
  }
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;
  ~JpegEncoder() { jpeg_destroy_compress(&jpeg); }

  JpegErrors errors;
  JpegBytes destination;
  jpeg_compress_struct jpeg{};
};

/// Left by longjmp: owns nothing with a destructor. `pixels` are only read.
inline bool jpeg_write_rows(JpegEncoder& encoder, std::uint8_t* pixels, const Extents<3>& extents,
                            int quality) {
  if (setjmp(encoder.errors.way_out) != 0) return false;
  jpeg_create_compress(&encoder.jpeg);
  encoder.jpeg.dest = &encoder.destination.base;
  encoder.jpeg.image_height = static_cast<JDIMENSION>(extents[0]);
  encoder.jpeg.image_width = static_cast<JDIMENSION>(extents[1]);
  encoder.jpeg.input_components = static_cast<int>(extents[2]);
  encoder.jpeg.in_color_space = extents[2] == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&encoder.jpeg);
  jpeg_set_quality(&encoder.jpeg, quality, TRUE);
  jpeg_start_compress(&encoder.jpeg, TRUE);
  while (encoder.jpeg.next_scanline < encoder.jpeg.image_height) {
    JSAMPROW row =
        pixels + static_cast<Index>(encoder.jpeg.next_scanline) * extents[1] * extents[2];
    jpeg_write_scanlines(&encoder.jpeg, &row, 1);
  }
  jpeg_finish_compress(&encoder.jpeg);
  return true;
}

}  // namespace detail

/// The image after compression with `quality`, 1 to 100, and decompression; grey stays grey. For
/// `augment`. Throws `invalid_argument`, or `unsupported` for a side above JPEG's limit of 65500
/// pixels.
inline Image compress_jpeg(ImageView image, int quality) {
  require_image(image);
  require(quality >= 1 && quality <= 100, ErrorCode::invalid_argument,
          "JPEG compression: expected a quality of 1 to 100, got ", quality);
  require(image.extent(0) <= JPEG_MAX_DIMENSION && image.extent(1) <= JPEG_MAX_DIMENSION,
          ErrorCode::unsupported, "JPEG compression: image: expected at most ", JPEG_MAX_DIMENSION,
          " pixels a side, got ", shape_text(image.extents()));
  Image pixels(image);
  detail::JpegEncoder encoder;
  require(detail::jpeg_write_rows(encoder, pixels.data(), pixels.extents(), quality),
          ErrorCode::unsupported, "JPEG compression: ", std::string_view(encoder.errors.message));
  RawImage raw =
      decode_jpeg(std::as_bytes(std::span(encoder.destination.bytes)), "JPEG compression");
  return std::get<Image>(std::move(raw.samples));
}

}  // namespace promiseg

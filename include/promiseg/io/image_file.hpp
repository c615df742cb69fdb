// PNG, JPEG and TIFF files: reading any of them, writing PNG. Needs libpng, libjpeg and libtiff.
#pragma once

#include <filesystem>
#include <optional>

#include "promiseg/core/error.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"
#include "promiseg/io/jpeg_file.hpp"
#include "promiseg/io/png_file.hpp"
#include "promiseg/io/tiff_file.hpp"

namespace promiseg {

/// Reads a PNG, JPEG or TIFF file, told apart by its first bytes. `frame` is the page of a TIFF
/// file, from 0; the others hold one picture. See `decode_png`, `decode_jpeg`, `read_tiff` for what
/// each accepts, and `to_8bit` for the way on. Throws `not_found`, `bad_format`, `unsupported`, or
/// `invalid_argument` for a frame the file does not have.
inline RawImage read_image_file(const std::filesystem::path& path, Index frame = 0) {
  const MappedFile file(path);
  const std::optional<ImageFormat> format = detect_image_format(file.bytes());
  if (!format) fail_not_an_image(path, "PNG, JPEG or TIFF", file.bytes());
  require(format != ImageFormat::dicom, ErrorCode::unsupported, path.string(),
          ": this is a DICOM file, and this program reads PNG, JPEG and TIFF only");
  if (format == ImageFormat::tiff) return read_tiff(path, frame);
  require_frame(path, frame, 1);
  return format == ImageFormat::png ? decode_png(file.bytes(), path)
                                    : decode_jpeg(file.bytes(), path);
}

}  // namespace promiseg

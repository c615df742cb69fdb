// Reading any image file that promiseg knows. Needs libpng, libjpeg, libtiff and DCMTK; without
// DICOM, image_file.hpp is enough.
#pragma once

#include <filesystem>
#include <optional>

#include "promiseg/core/error.hpp"
#include "promiseg/io/dicom.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {

/// True if `read_image` would try to read a file that begins so.
inline bool looks_like_image(std::span<const std::byte> bytes) {
  return detect_image_format(bytes).has_value() || looks_like_bare_dicom(bytes);
}

/// Reads one frame (from 0) of a PNG, JPEG, TIFF or DICOM file, told apart by its first bytes,
/// never by its name. Throws `not_found`, `bad_format`, `unsupported`, or `invalid_argument` for a
/// frame the file does not have.
inline RawImage read_image(const std::filesystem::path& path, Index frame = 0) {
  const MappedFile file(path);
  const std::optional<ImageFormat> format = detect_image_format(file.bytes());
  if (format && format != ImageFormat::dicom) return read_image_file(path, frame);
  if (format || looks_like_bare_dicom(file.bytes())) return read_dicom(path, frame);
  fail_not_an_image(path, "PNG, JPEG, TIFF or DICOM", file.bytes());
}

}  // namespace promiseg

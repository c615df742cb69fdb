// Reading any picture that promiseg knows. Needs libpng, libjpeg, libtiff, DCMTK, nifti_clib and
// zlib; without DICOM and NIfTI, image_file.hpp is enough.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "promiseg/core/error.hpp"
#include "promiseg/io/dicom.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/image_reference.hpp"
#include "promiseg/io/intensity.hpp"
#include "promiseg/io/nifti.hpp"

namespace promiseg {

/// True if `read_image` would try to read a file that begins so, without being told a slice.
inline bool looks_like_image(std::span<const std::byte> bytes) {
  return detect_image_format(bytes).has_value() || looks_like_bare_dicom(bytes);
}

/// Reads one frame (from 0) of a PNG, JPEG, TIFF or DICOM file, or one slice of a NIfTI volume;
/// told apart by the first bytes, never by the name. A path is a reference to a whole file.
/// Throws `not_found`, `bad_format`, `unsupported`, or `invalid_argument` for a frame or slice that
/// the file does not have.
inline RawImage read_image(const ImageReference& image, Index frame = 0) {
  const std::filesystem::path& path = image.path;
  const MappedFile file(path);
  const std::optional<ImageFormat> format = detect_image_format(file.bytes());
  if (!format && looks_like_nifti(file.bytes())) {
    require(frame == 0, ErrorCode::invalid_argument, path.string(), ": frame ", frame,
            " was asked for, a NIfTI volume has slices: FILE#AXIS=INDEX");
    return read_nifti(image);
  }
  if (!format && !looks_like_bare_dicom(file.bytes())) {
    fail_not_an_image(path, "PNG, JPEG, TIFF, DICOM or NIfTI", file.bytes());
  }
  require(!image.slice, ErrorCode::invalid_argument, to_string(image),
          ": only NIfTI volumes have slices");
  const bool is_dicom = !format || format == ImageFormat::dicom;
  return is_dicom ? read_dicom(path, frame) : read_image_file(path, frame);
}

}  // namespace promiseg

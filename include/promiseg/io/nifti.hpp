// NIfTI volumes: one slice, turned as physicians look at it. Needs nifti_clib and zlib.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/tensor.hpp"
#include "promiseg/io/gzip_input.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/image_reference.hpp"
#include "promiseg/io/intensity.hpp"
#include "promiseg/io/nifti_header.hpp"

namespace promiseg {
namespace detail {

/// The slice that is asked for, or the only one of a flat volume. Throws `invalid_argument`.
inline Slice nifti_slice(const ImageReference& image, const NiftiHeader& header) {
  const std::string path = image.path.string();
  if (image.slice) {
    const Slice& slice = *image.slice;
    const Index slices = header.slices(slice.axis);
    require(slice.index >= 0 && slice.index < slices, ErrorCode::invalid_argument, path, ": slice ",
            to_string(slice.axis), '=', slice.index, " was asked for, the volume has ", slices,
            " (numbers start at 0)");
    require(slice.volume >= 0 && static_cast<std::uint64_t>(slice.volume) < header.volumes,
            ErrorCode::invalid_argument, path, ": volume ", slice.volume,
            " was asked for, the file has ", header.volumes, " (numbers start at 0)");
    return slice;
  }
  int flat_axes = 0;
  Slice only;
  for (SliceAxis axis : kSliceAxes) {
    if (header.slices(axis) != 1) continue;
    ++flat_axes;
    only.axis = axis;
  }
  require(flat_axes == 1, ErrorCode::invalid_argument, path,
          ": a volume: name one slice as FILE#AXIS=INDEX or FILE#AXIS=INDEX,volume=V. It has ",
          header.slices(SliceAxis::axial), " axial, ", header.slices(SliceAxis::coronal),
          " coronal and ", header.slices(SliceAxis::sagittal), " sagittal slices and ",
          header.volumes, header.volumes == 1 ? " volume" : " volumes", " (numbers start at 0)");
  return only;
}

/// Where the pixels of a slice lie among its voxels as stored, in voxels.
struct NiftiPlane {
  Index height = 0;
  Index width = 0;
  Index first = 0;  ///< the top left pixel
  Index row_step = 0;
  Index column_step = 0;
};

/// Rows begin at the patient's head (of axial slices at the front), columns at the patient's right
/// (of sagittal slices at the front).
inline NiftiPlane nifti_plane(const NiftiHeader& header, SliceAxis across) {
  const bool is_axial = across == SliceAxis::axial;
  const bool is_sagittal = across == SliceAxis::sagittal;
  const SliceAxis down = is_axial ? SliceAxis::coronal : SliceAxis::axial;
  const SliceAxis along = is_sagittal ? SliceAxis::coronal : SliceAxis::sagittal;
  const std::size_t nearest = header.axis(across).stored == 0 ? 1 : 0;
  const auto step = [&](SliceAxis axis) {
    const auto [stored, reversed] = header.axis(axis);
    const Index stride = stored == nearest ? 1 : static_cast<Index>(header.extents[nearest]);
    return reversed ? stride : -stride;  // pictures begin where the anatomical axes end
  };
  NiftiPlane plane;
  plane.height = header.slices(down);
  plane.width = header.slices(along);
  plane.row_step = step(down);
  plane.column_step = step(along);
  if (plane.row_step < 0) plane.first -= plane.row_step * (plane.height - 1);
  if (plane.column_step < 0) plane.first -= plane.column_step * (plane.width - 1);
  return plane;
}

/// The voxels of one slice in the order and type in which they are stored, in this machine's byte
/// order. Throws `bad_format` for a file too short for all its voxels or damaged.
inline std::vector<std::byte> nifti_voxels(GzipInput& file, const std::filesystem::path& path,
                                           const NiftiHeader& header, const Slice& slice) {
  const std::uint64_t all = header.voxel_offset + header.voxels() * header.voxel_bytes;
  std::error_code ignored;
  require_plausible_size(path, all, std::filesystem::file_size(path, ignored),
                         file.is_compressed() ? kMaxDeflateRatio : 1);

  const auto [stored, reversed] = header.axis(slice.axis);
  const std::uint64_t index = static_cast<std::uint64_t>(
      reversed ? header.slices(slice.axis) - 1 - slice.index : slice.index);
  // The slice lies in runs of voxels, one run in each `step`.
  std::uint64_t run = 1;
  for (std::size_t axis = 0; axis < stored; ++axis) run *= header.extents[axis];
  const std::uint64_t step = run * header.extents[stored];
  const std::uint64_t volume = header.voxels() / header.volumes;
  const auto run_bytes = static_cast<std::size_t>(run * header.voxel_bytes);

  std::vector<std::byte> bytes(run_bytes * static_cast<std::size_t>(volume / step));
  std::uint64_t voxel = static_cast<std::uint64_t>(slice.volume) * volume + index * run;
  for (std::size_t at = 0; at < bytes.size(); at += run_bytes, voxel += step) {
    file.skip_to(header.voxel_offset + voxel * header.voxel_bytes);
    file.read(std::span(bytes).subspan(at, run_bytes));
  }
  if (file.is_compressed()) file.finish();
  if (header.swapped && header.voxel_bytes > 1) {
    nifti_swap_Nbytes(static_cast<std::int64_t>(bytes.size() / header.voxel_bytes),
                      static_cast<int>(header.voxel_bytes), bytes.data());
  }
  return bytes;
}

/// The picture of stored voxels, `[height, width, 1]`, in the file's units.
template <class Value, class Stored>
Tensor<Value, 3> nifti_picture(std::span<const std::byte> voxels, const NiftiPlane& plane,
                               const NiftiHeader& header) {
  Tensor<Value, 3> picture({plane.height, plane.width, 1});
  Value* to = picture.data();
  for (Index y = 0; y < plane.height; ++y) {
    for (Index x = 0; x < plane.width; ++x) {
      const Index at = plane.first + y * plane.row_step + x * plane.column_step;
      Stored voxel{};
      std::memcpy(&voxel, voxels.data() + static_cast<std::size_t>(at) * sizeof voxel,
                  sizeof voxel);
      *to++ = static_cast<Value>(static_cast<double>(voxel) * header.slope + header.intercept);
    }
  }
  return picture;
}

/// The file of the voxels that go with the header `path`. Throws `not_found`.
inline std::filesystem::path nifti_voxel_path(const std::filesystem::path& path) {
  std::filesystem::path plain = path;
  if (plain.extension() == ".gz") plain.replace_extension();
  plain.replace_extension(".img");
  std::filesystem::path packed = plain;
  packed += ".gz";
  std::error_code ignored;
  const bool is_packed = !std::filesystem::exists(plain, ignored);
  require(!is_packed || std::filesystem::exists(packed, ignored), ErrorCode::not_found,
          path.string(), ": a NIfTI header without voxels: expected them in ", plain.string(),
          " or ", packed.string());
  return is_packed ? packed : plain;
}

}  // namespace detail

/// Reads one slice of a NIfTI-1 or -2 volume (.nii, .nii.gz, .hdr with .img) as
/// `[height, width, 1]`. The slice may be missing in `image` where there is only one.
///
/// The file's orientation counts (sform, else qform, else as stored: right, anterior, superior) up
/// to the closest axes; nothing is resampled. Up is the patient's head, in axial slices the front;
/// the patient's right is on the left, in sagittal slices the front is. Bytes that are not scaled
/// come as they are, all others as floats after slope and intercept, with an automatic window.
/// Of a compressed file everything is unpacked, to compare its checksum.
/// Throws `not_found`, `bad_format`, `unsupported` (colours, complex numbers), or
/// `invalid_argument` for a slice that is missing or that the file does not have.
inline RawImage read_nifti(const ImageReference& image) {
  GzipInput file(image.path);
  const detail::NiftiHeader header = detail::read_nifti_header(file, image.path.string());
  const Slice slice = detail::nifti_slice(image, header);
  const detail::NiftiPlane plane = detail::nifti_plane(header, slice.axis);
  require_picture_size(image.path, static_cast<std::uint64_t>(plane.width),
                       static_cast<std::uint64_t>(plane.height));
  std::vector<std::byte> voxels;
  if (header.separate) {
    const std::filesystem::path path = detail::nifti_voxel_path(image.path);
    GzipInput voxel_file(path);
    voxels = detail::nifti_voxels(voxel_file, path, header, slice);
  } else {
    voxels = detail::nifti_voxels(file, image.path, header, slice);
  }

  RawImage raw;
  raw.format = "NIfTI";
  raw.frames = header.slices(slice.axis);
  raw.bits = static_cast<int>(8 * header.voxel_bytes);
  if (header.datatype == NIFTI_TYPE_UINT8 && !header.is_scaled()) {
    raw.samples = detail::nifti_picture<std::uint8_t, std::uint8_t>(voxels, plane, header);
    return raw;
  }
  detail::with_nifti_type(header.datatype, [&]<class Stored>(Stored /*voxel*/) {
    raw.samples = detail::nifti_picture<float, Stored>(voxels, plane, header);
  });
  raw.suggested_window = Window::automatic();
  return raw;
}

}  // namespace promiseg

// What the header of a NIfTI volume tells, checked; by nifti_clib.
#pragma once

// nifti1.h makes a macro of a name that <dirent.h> gives to an enumerator, so it must come second.
#include <dirent.h>
//
#include <nifti2_io.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "promiseg/core/error.hpp"
#include "promiseg/io/gzip_input.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/image_reference.hpp"

namespace promiseg::detail {

/// How the voxels are stored along an anatomical axis.
struct NiftiAxis {
  std::size_t stored = 0;  ///< 0: neighbours lie side by side in the file, 2: farthest apart
  bool reversed = false;   ///< the first voxel is the most right, anterior or superior one
};

struct NiftiHeader {
  bool separate = false;  ///< the voxels are in a file of their own
  bool swapped = false;   ///< they are in the other byte order
  int datatype = 0;       ///< NIFTI_TYPE_...
  std::size_t voxel_bytes = 0;
  std::uint64_t voxel_offset = 0;                 ///< of the first voxel in its file
  std::array<std::uint64_t, 3> extents{1, 1, 1};  ///< of a volume, as stored
  std::uint64_t volumes = 1;
  double slope = 1;
  double intercept = 0;
  std::array<NiftiAxis, 3> axes;  ///< by `SliceAxis`

  const NiftiAxis& axis(SliceAxis which) const { return axes[static_cast<std::size_t>(which)]; }
  Index slices(SliceAxis which) const { return static_cast<Index>(extents[axis(which).stored]); }
  std::uint64_t voxels() const { return extents[0] * extents[1] * extents[2] * volumes; }
  bool is_scaled() const { return slope != 1 || intercept != 0; }
};

/// Calls `use` with a value of the C++ type of `datatype`; false if it is none that we read.
template <class Use>
bool with_nifti_type(int datatype, Use use) {
  const auto is = [&](int type, auto value) {
    if (datatype == type) use(value);
    return datatype == type;
  };
  return is(NIFTI_TYPE_UINT8, std::uint8_t{}) || is(NIFTI_TYPE_INT8, std::int8_t{}) ||
         is(NIFTI_TYPE_UINT16, std::uint16_t{}) || is(NIFTI_TYPE_INT16, std::int16_t{}) ||
         is(NIFTI_TYPE_UINT32, std::uint32_t{}) || is(NIFTI_TYPE_INT32, std::int32_t{}) ||
         is(NIFTI_TYPE_UINT64, std::uint64_t{}) || is(NIFTI_TYPE_INT64, std::int64_t{}) ||
         is(NIFTI_TYPE_FLOAT32, float{}) || is(NIFTI_TYPE_FLOAT64, double{});
}

/// The anatomical axes of the voxels, by the sform, else the qform, else as stored: the axes of the
/// patient that lie closest. Throws `bad_format` if the matrix names no three axes.
inline std::array<NiftiAxis, 3> nifti_axes(const nifti_image& image, const std::string& path) {
  std::array<int, 3> codes{NIFTI_L2R, NIFTI_P2A, NIFTI_I2S};
  const bool has_sform = image.sform_code > 0;
  if (has_sform || image.qform_code > 0) {
    const nifti_dmat44& matrix = has_sform ? image.sto_xyz : image.qto_xyz;
    bool valid = true;
    for (const auto& row : matrix.m) {
      for (int column = 0; column < 3; ++column) valid = valid && std::isfinite(row[column]);
    }
    if (valid) nifti_dmat44_to_orientation(matrix, &codes[0], &codes[1], &codes[2]);
    require(valid && codes[0] != 0, ErrorCode::bad_format, path, ": damaged NIfTI header: the ",
            has_sform ? "sform" : "qform", " gives the voxels no orientation");
  }
  // The codes count left to right, right to left, posterior to anterior, and so on, from 1.
  std::array<NiftiAxis, 3> axes;
  for (std::size_t stored = 0; stored < 3; ++stored) {
    axes[static_cast<std::size_t>((codes[stored] - 1) / 2)] = {stored, codes[stored] % 2 == 0};
  }
  return axes;
}

struct FreeNifti {
  void operator()(nifti_image* image) const { nifti_image_free(image); }
};
using NiftiImage = std::unique_ptr<nifti_image, FreeNifti>;

inline NiftiImage convert_nifti(const nifti_1_header& header) {
  return NiftiImage(nifti_convert_n1hdr2nim(header, nullptr));
}
inline NiftiImage convert_nifti(const nifti_2_header& header) {
  return NiftiImage(nifti_convert_n2hdr2nim(header, nullptr));
}

/// Makes sense of a header's bytes. The library prints what it rejects and trusts the sizes, so it
/// sees only headers that were checked before. Throws `bad_format` or `unsupported`.
template <class Header>
NiftiHeader parse_nifti_header(std::span<const std::byte> bytes, const std::string& path) {
  constexpr auto kSize = static_cast<int>(sizeof(Header));
  constexpr std::string_view kDamaged = ": damaged NIfTI header: ";
  alignas(std::int64_t) Header header{};  // that of version 2 is declared without alignment
  std::memcpy(&header, bytes.data(), sizeof header);
  NiftiHeader result;
  result.swapped = header.sizeof_hdr != kSize;
  if (result.swapped) {
    swap_nifti_header(&header, std::is_same_v<Header, nifti_1_header> ? 1 : 2);
  }
  const int claimed_size = header.sizeof_hdr;
  require(claimed_size == kSize, ErrorCode::bad_format, path, kDamaged, "it claims a size of ",
          claimed_size, " bytes, expected ", kSize);

  const std::int64_t rank = header.dim[0];
  require(rank >= 1 && rank <= 7, ErrorCode::bad_format, path, kDamaged, rank,
          " dimensions, expected 1 to 7");
  constexpr std::uint64_t kMaxVoxels = std::uint64_t{1} << 48;
  std::uint64_t voxels = 1;
  for (std::size_t i = 1; i <= static_cast<std::size_t>(rank); ++i) {
    const std::int64_t extent = header.dim[i];
    const auto count = static_cast<std::uint64_t>(extent);
    require(extent >= 1 && count <= kMaxVoxels / voxels, ErrorCode::bad_format, path, kDamaged,
            "the extent ", extent, " of dimension ", i, " is impossible");
    voxels *= count;
    (i <= 3 ? result.extents[i - 1] : result.volumes) *= count;
  }

  result.datatype = header.datatype;
  const bool known = with_nifti_type(result.datatype, [&]<class Stored>(Stored /*voxel*/) {
    result.voxel_bytes = sizeof(Stored);
  });
  require(known, ErrorCode::unsupported, path, ": NIfTI voxels of type ", result.datatype, " (",
          nifti_datatype_to_string(result.datatype),
          ") are not supported: expected integers of 8 to 64 bits, or floats of 32 or 64");

  result.separate = header.magic[1] == 'i';
  const auto offset = static_cast<double>(header.vox_offset);
  // Four bytes after the header tell of extensions.
  const double least = result.separate ? 0.0 : static_cast<double>(sizeof header + 4);
  require(offset >= least && offset <= 0x1p30, ErrorCode::bad_format, path, kDamaged,
          "the voxels begin at byte ", offset, ", expected ", least, " or more");
  result.voxel_offset = static_cast<std::uint64_t>(offset);

  const NiftiImage image = convert_nifti(header);
  require(image != nullptr, ErrorCode::bad_format, path, kDamaged, "nifti_clib refuses it");
  if (image->scl_slope != 0) {  // 0 or no number at all: not scaled
    result.slope = image->scl_slope;
    result.intercept = image->scl_inter;
  }
  result.axes = nifti_axes(*image, path);
  return result;
}

/// Reads the header that `file` begins with. Throws `bad_format` or `unsupported`.
inline NiftiHeader read_nifti_header(GzipInput& file, const std::string& path) {
  std::array<std::byte, sizeof(nifti_2_header)> buffer{};
  const std::span<std::byte> bytes(buffer);
  file.read(bytes.first(sizeof(nifti_1_header)));
  const int version = nifti_version(bytes);
  if (version == 1) return parse_nifti_header<nifti_1_header>(bytes, path);
  require(version == 2, ErrorCode::bad_format, path,
          file.is_compressed() ? ": the gzip file holds no NIfTI volume, it begins with "
                               : ": not a NIfTI volume, it begins with ",
          first_bytes_text(bytes));
  file.read(bytes.subspan(sizeof(nifti_1_header)));
  return parse_nifti_header<nifti_2_header>(bytes, path);
}

}  // namespace promiseg::detail

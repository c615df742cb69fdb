#include "promiseg/io/nifti.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include "hostile_files.hpp"
#include "nifti_files.hpp"
#include "promiseg/io/image_reader.hpp"
#include "temporary_folder.hpp"

namespace fs = std::filesystem;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::Image;
using promiseg::ImageReference;
using promiseg::Index;
using promiseg::RawImage;
using promiseg::read_image;
using promiseg::read_nifti;
using promiseg::Slice;
using promiseg::SliceAxis;
using promiseg::Tensor;
using promiseg_test::NiftiFile;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;
using promiseg_test::write_gzip;

namespace {

constexpr std::int16_t kUint8 = 2;
constexpr std::int16_t kInt16 = 4;
constexpr std::int16_t kFloat32 = 16;

// The volume of the tests about orientation: so many voxels from left to right, from back to front
// and upwards, each of another value.
constexpr std::array<Index, 3> kExtents{2, 3, 4};

float value_at(Index right, Index front, Index up) {
  return static_cast<float>(100 * right + 10 * front + up);
}

// That volume, stored along the directions that three letters name, as in "LPS".
NiftiFile oriented(const std::string& letters) {
  NiftiFile file;
  file.sform_code = 1;
  std::array<std::size_t, 3> axes{};
  std::array<bool, 3> backwards{};
  for (std::size_t stored = 0; stored < 3; ++stored) {
    const std::size_t direction = std::string_view("RLAPSI").find(letters[stored]);
    axes[stored] = direction / 2;
    backwards[stored] = direction % 2 == 1;
    file.dim[stored + 1] = kExtents[axes[stored]];
    file.sform[axes[stored]][stored] = backwards[stored] ? -1 : 1;
  }
  std::vector<float> voxels;
  for (Index k = 0; k < file.dim[3]; ++k) {
    for (Index j = 0; j < file.dim[2]; ++j) {
      for (Index i = 0; i < file.dim[1]; ++i) {
        const std::array<Index, 3> stored_at{i, j, k};
        std::array<Index, 3> at{};
        for (std::size_t stored = 0; stored < 3; ++stored) {
          const Index last = kExtents[axes[stored]] - 1;
          at[axes[stored]] = backwards[stored] ? last - stored_at[stored] : stored_at[stored];
        }
        voxels.push_back(value_at(at[0], at[1], at[2]));
      }
    }
  }
  file.set_voxels(kFloat32, voxels);
  return file;
}

// A slice of that volume: the patient's right on the left, in sagittal slices the front.
std::vector<float> expected_slice(SliceAxis axis, Index index) {
  std::vector<float> values;
  const auto down = [](Index extent, auto use) {
    for (Index i = extent; i-- > 0;) use(i);
  };
  if (axis == SliceAxis::axial) {
    down(3, [&](Index front) {
      down(2, [&](Index right) { values.push_back(value_at(right, front, index)); });
    });
  } else if (axis == SliceAxis::coronal) {
    down(4, [&](Index up) {
      down(2, [&](Index right) { values.push_back(value_at(right, index, up)); });
    });
  } else {
    down(4, [&](Index up) {
      down(3, [&](Index front) { values.push_back(value_at(index, front, up)); });
    });
  }
  return values;
}

std::vector<float> floats_of(const RawImage& raw) {
  const auto& samples = std::get<Tensor<float, 3>>(raw.samples);
  return {samples.elements().begin(), samples.elements().end()};
}

void check_all_slices(const fs::path& path) {
  for (SliceAxis axis : promiseg::kSliceAxes) {
    for (Index index = 0; index < kExtents[static_cast<std::size_t>(axis)]; ++index) {
      CAPTURE(to_string(axis));
      CAPTURE(index);
      CHECK(floats_of(read_nifti({path, Slice{axis, index}})) == expected_slice(axis, index));
    }
  }
}

std::vector<std::string> all_orientations() {
  std::vector<std::string> all;
  std::array<std::size_t, 3> axes{0, 1, 2};
  do {
    for (std::size_t flips = 0; flips < 8; ++flips) {
      std::string letters;
      for (std::size_t stored = 0; stored < 3; ++stored) {
        letters += std::string_view("RLAPSI")[2 * axes[stored] + ((flips >> stored) & 1)];
      }
      all.push_back(letters);
    }
  } while (std::next_permutation(axes.begin(), axes.end()));
  return all;
}

std::string refusal(const ImageReference& image, ErrorCode code, Index frame = 0) {
  try {
    read_image(image, frame);
  } catch (const Error& error) {
    CHECK(error.code() == code);
    CHECK(std::string(error.what()).find(image.path.string()) != std::string::npos);
    return error.what();
  }
  return "read without an error";
}

std::string refusal(const fs::path& path, const NiftiFile& file, ErrorCode code) {
  file.save(path);
  return refusal({path, Slice{SliceAxis::axial, 0}}, code);
}

void check_contains(const std::string& text, std::string_view part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
}

// One row of voxels of that type, in every kind of header. It is shown from right to left.
template <class T>
void check_type(std::int16_t type, const std::vector<T>& values) {
  const TemporaryFolder folder;
  CAPTURE(type);
  const std::vector<float> expected(values.rbegin(), values.rend());
  for (const int version : {1, 2}) {
    for (const bool big_endian : {false, true}) {
      NiftiFile file;
      file.version = version;
      file.big_endian = big_endian;
      file.dim[1] = static_cast<std::int64_t>(values.size());
      file.set_voxels(type, values);
      file.save(folder / "x.nii");
      const RawImage raw = read_nifti({folder / "x.nii", Slice{SliceAxis::axial, 0}});
      CHECK(floats_of(raw) == expected);
      CHECK(raw.bits == static_cast<int>(8 * sizeof(T)));
      CHECK(raw.format == "NIfTI");
      CHECK(raw.suggested_window == promiseg::Window::automatic());
    }
  }
}

}  // namespace

TEST_CASE("NIfTI: slices along every axis of every stored orientation") {
  const TemporaryFolder folder;
  const std::vector<std::string> all = all_orientations();
  CHECK(all.size() == 48);
  for (const std::string& letters : all) {
    CAPTURE(letters);
    const NiftiFile file = oriented(letters);
    file.save(folder / "x.nii");
    check_all_slices(folder / "x.nii");
  }
}

TEST_CASE("NIfTI: oblique volumes count along the closest axes") {
  const TemporaryFolder folder;
  const double angle = 25 * std::numbers::pi / 180;
  for (const std::string& letters : all_orientations()) {
    CAPTURE(letters);
    NiftiFile file = oriented(letters);
    const auto straight = file.sform;
    for (std::size_t column = 0; column < 3; ++column) {
      const double x = straight[0][column];
      const double y = straight[1][column];
      file.sform[0][column] = 0.7 * (std::cos(angle) * x - std::sin(angle) * y);
      file.sform[1][column] = 0.7 * (std::sin(angle) * x + std::cos(angle) * y);
    }
    file.save(folder / "x.nii");
    check_all_slices(folder / "x.nii");
  }
}

TEST_CASE("NIfTI: the sform counts before the qform, and without both the order as stored") {
  const TemporaryFolder folder;
  const auto check = [&](NiftiFile file) {
    for (const int version : {1, 2}) {
      for (const bool big_endian : {false, true}) {
        file.version = version;
        file.big_endian = big_endian;
        file.save(folder / "x.nii");
        check_all_slices(folder / "x.nii");
      }
    }
  };
  NiftiFile both = oriented("LPI");
  both.qform_code = 1;
  check(both);

  NiftiFile none = oriented("RAS");
  none.sform_code = 0;
  none.sform = {};
  check(none);

  NiftiFile turned = oriented("ALS");  // a quarter turn about the axis upwards
  turned.sform_code = 0;
  turned.qform_code = 1;
  turned.quaternion = {0, 0, std::sqrt(0.5)};
  check(turned);

  NiftiFile mirrored = oriented("LAS");  // half a turn about the axis to the front, then mirrored
  mirrored.sform_code = 0;
  mirrored.qform_code = 2;
  mirrored.quaternion = {0, 1, 0};
  mirrored.handedness = -1;
  check(mirrored);
}

TEST_CASE("NIfTI: integers and floats of every size, in both byte orders and versions") {
  check_type<std::int8_t>(256, {-128, 0, 127});
  check_type<std::uint16_t>(512, {0, 1000, 65535});
  check_type<std::int16_t>(kInt16, {-32768, 0, 32767});
  check_type<std::uint32_t>(768, {0, 1, 4294967295U});
  check_type<std::int32_t>(8, {-2147483647, 0, 65536});
  check_type<std::uint64_t>(1280, {0, 1, std::uint64_t{1} << 63});
  check_type<std::int64_t>(1024, {-5, 0, std::int64_t{1} << 40});
  check_type<float>(kFloat32, {-0.5F, 0, 1e6F});
  check_type<double>(64, {-0.25, 0, 1e6});
}

TEST_CASE("NIfTI: bytes come as they are, scaled ones as floats") {
  const TemporaryFolder folder;
  NiftiFile file;
  file.dim[1] = 3;
  file.set_voxels<std::uint8_t>(kUint8, {0, 7, 255});
  const auto read = [&](double slope, double intercept) {
    file.slope = slope;
    file.intercept = intercept;
    file.save(folder / "x.nii");
    return read_nifti({folder / "x.nii", Slice{SliceAxis::axial, 0}});
  };
  for (const double slope : {0.0, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    const RawImage raw = read(slope, 0);
    const Image& bytes = std::get<Image>(raw.samples);
    CHECK(std::vector<int>(bytes.elements().begin(), bytes.elements().end()) ==
          std::vector<int>{255, 7, 0});
    CHECK_FALSE(raw.suggested_window.has_value());
    CHECK(raw.bits == 8);
  }
  CHECK(floats_of(read(0.5, -1)) == std::vector<float>{126.5F, 2.5F, -1});
  CHECK(floats_of(read(1, 10)) == std::vector<float>{265, 17, 10});

  file.set_voxels<std::int16_t>(kInt16, {-1000, 0, 400});
  CHECK(floats_of(read(2, -24)) == std::vector<float>{776, -24, -2024});
}

TEST_CASE("NIfTI: one of several volumes") {
  const TemporaryFolder folder;
  NiftiFile file;
  file.dim = {5, 2, 1, 2, 3, 2, 1, 1};
  std::vector<std::int16_t> voxels(24);
  for (std::size_t i = 0; i < voxels.size(); ++i) voxels[i] = static_cast<std::int16_t>(i);
  file.set_voxels(kInt16, voxels);
  file.save(folder / "x.nii");
  const auto read = [&](Slice slice) { return floats_of(read_nifti({folder / "x.nii", slice})); };
  CHECK(read({SliceAxis::axial, 1, 0}) == std::vector<float>{3, 2});
  CHECK(read({SliceAxis::axial, 1, 5}) == std::vector<float>{23, 22});
  CHECK(read({SliceAxis::sagittal, 1, 4}) == std::vector<float>{19, 17});
  const ImageReference outside(folder / "x.nii", Slice{SliceAxis::axial, 1, 6});
  check_contains(refusal(outside, ErrorCode::invalid_argument), "the file has 6");
}

TEST_CASE("NIfTI: a slice must be named, and be there, unless there is only one") {
  const TemporaryFolder folder;
  oriented("RAS").save(folder / "x.nii");
  const std::string message = refusal(folder / "x.nii", ErrorCode::invalid_argument);
  check_contains(message, "FILE#AXIS=INDEX,volume=V");
  check_contains(message, "4 axial, 3 coronal and 2 sagittal slices and 1 volume");
  const ImageReference outside(folder / "x.nii", Slice{SliceAxis::coronal, 3});
  check_contains(refusal(outside, ErrorCode::invalid_argument), "coronal=3");
  const ImageReference inside(folder / "x.nii", Slice{SliceAxis::coronal, 2});
  CHECK(read_image(inside).frames == 3);
  check_contains(refusal(inside, ErrorCode::invalid_argument, 1), "frame 1");

  NiftiFile flat;
  flat.dim = {2, 3, 2, 1, 1, 1, 1, 1};
  flat.set_voxels<float>(kFloat32, {1, 2, 3, 4, 5, 6});
  flat.save(folder / "flat.nii");
  const RawImage raw = read_image(folder / "flat.nii");
  CHECK(raw.extents() == promiseg::Extents<3>{2, 3, 1});
  CHECK(floats_of(raw) == std::vector<float>{6, 5, 4, 3, 2, 1});

  flat.dim = {2, 6, 1, 1, 1, 1, 1, 1};
  flat.save(folder / "row.nii");
  refusal(folder / "row.nii", ErrorCode::invalid_argument);
}

TEST_CASE("NIfTI: compressed, and under any name") {
  const TemporaryFolder folder;
  write_gzip(folder / "x.nii.gz", oriented("LPS").bytes());
  check_all_slices(folder / "x.nii.gz");
  fs::copy_file(folder / "x.nii.gz", folder / "x.png");
  const ImageReference picture(folder / "x.png", Slice{SliceAxis::axial, 2});
  CHECK(floats_of(read_image(picture)) == expected_slice(SliceAxis::axial, 2));

  write_gzip(folder / "text.gz", std::string(1000, 'a'));
  check_contains(refusal(folder / "text.gz", ErrorCode::bad_format), "holds no NIfTI volume");
  promiseg::write_png(folder / "p.nii", Image({2, 3, 1}));
  const ImageReference slice_of_png(folder / "p.nii", Slice{SliceAxis::axial, 0});
  check_contains(refusal(slice_of_png, ErrorCode::invalid_argument), "only NIfTI volumes");
}

TEST_CASE("NIfTI: a header and its voxels in two files") {
  const TemporaryFolder folder;
  for (const int version : {1, 2}) {
    NiftiFile file = oriented("PIR");
    file.version = version;
    file.separate = true;
    file.save(folder / "x.hdr");
    fs::remove(folder / "x.img.gz");
    const ImageReference image(folder / "x.hdr", Slice{SliceAxis::axial, 0});
    check_contains(refusal(image, ErrorCode::not_found), "x.img");
    write_gzip(folder / "x.img.gz", file.stored_voxels());
    check_all_slices(folder / "x.hdr");
    write_bytes(folder / "x.img", file.stored_voxels());
    check_all_slices(folder / "x.hdr");
    write_bytes(folder / "x.img", std::string(95, 'a'));
    CHECK_THROWS_WITH_AS(read_nifti(image), doctest::Contains("x.img: truncated"), Error);
    fs::remove(folder / "x.img");
  }
}

TEST_CASE("NIfTI: headers that lie or contradict themselves are refused") {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.nii";
  for (const int version : {1, 2}) {
    NiftiFile good = oriented("RAS");
    good.version = version;
    const auto changed = [&](auto change) {
      NiftiFile file = good;
      change(file);
      return file;
    };
    for (const std::int64_t rank : {0, 8, -1}) {
      const NiftiFile file = changed([&](NiftiFile& bad) { bad.dim[0] = rank; });
      check_contains(refusal(path, file, ErrorCode::bad_format), "dimensions, expected 1 to 7");
    }
    for (const std::int64_t extent : {0, -3}) {
      const NiftiFile file = changed([&](NiftiFile& bad) { bad.dim[2] = extent; });
      check_contains(refusal(path, file, ErrorCode::bad_format), "of dimension 2 is impossible");
    }
    const NiftiFile more = changed([](NiftiFile& bad) { bad.dim[3] = 5; });
    check_contains(refusal(path, more, ErrorCode::bad_format), "truncated");
    const NiftiFile large =
        changed([](NiftiFile& bad) { bad.dim = {3, 5000, 5000, 30000, 1, 1, 1, 1}; });
    check_contains(refusal(path, large, ErrorCode::bad_format), "truncated");
    write_gzip(folder / "x.nii.gz", large.bytes());
    const ImageReference packed(folder / "x.nii.gz", Slice{SliceAxis::axial, 0});
    check_contains(refusal(packed, ErrorCode::bad_format), "truncated");
    const NiftiFile wide =
        changed([](NiftiFile& bad) { bad.dim = {3, 30000, 30000, 1, 1, 1, 1, 1}; });
    check_contains(refusal(path, wide, ErrorCode::unsupported), "30000 x 30000 pixels");
    const NiftiFile overflowing = changed(
        [](NiftiFile& bad) { bad.dim = {7, 32767, 32767, 32767, 32767, 32767, 32767, 32767}; });
    check_contains(refusal(path, overflowing, ErrorCode::bad_format), "is impossible");
    for (const std::int16_t type : std::array<std::int16_t, 7>{0, 1, 32, 128, 1536, 2304, 77}) {
      const NiftiFile file = changed([&](NiftiFile& bad) { bad.datatype = type; });
      check_contains(refusal(path, file, ErrorCode::unsupported), "NIfTI voxels of type");
    }
    for (const double offset : {0.0, 340.0, -100.0, 2e9}) {
      const NiftiFile file = changed([&](NiftiFile& bad) { bad.voxel_offset = offset; });
      check_contains(refusal(path, file, ErrorCode::bad_format), "the voxels begin at byte");
    }
    const NiftiFile flat = changed([](NiftiFile& bad) { bad.sform[0][0] = 0; });
    check_contains(refusal(path, flat, ErrorCode::bad_format), "sform");
    const NiftiFile no_number =
        changed([](NiftiFile& bad) { bad.sform[1][1] = std::numeric_limits<double>::quiet_NaN(); });
    check_contains(refusal(path, no_number, ErrorCode::bad_format), "sform");
  }
  NiftiFile endless = oriented("RAS");
  endless.voxel_offset = std::numeric_limits<double>::infinity();
  check_contains(refusal(path, endless, ErrorCode::bad_format), "the voxels begin at byte");
  std::vector<char> size = oriented("RAS").bytes();
  size[0] = 5;
  write_bytes(path, size);
  check_contains(refusal({path, Slice{}}, ErrorCode::bad_format), "claims a size");
}

TEST_CASE("NIfTI: truncated files are refused, damaged ones never crash") {
  const TemporaryFolder folder;
  const auto read = [](const fs::path& path) {
    for (SliceAxis axis : promiseg::kSliceAxes) (void)read_nifti({path, Slice{axis, 1}});
  };
  for (const int version : {1, 2}) {
    NiftiFile file = oriented("LPS");
    file.version = version;
    file.save(folder / "x.nii");
    promiseg_test::check_truncations(folder / "x.nii", 7, read);
    promiseg_test::check_flips(folder / "x.nii", 544, 500, read);
    write_gzip(folder / "x.nii.gz", file.bytes());
    promiseg_test::check_truncations(folder / "x.nii.gz", 1, read);
    promiseg_test::check_flips(folder / "x.nii.gz", 20, 300, read);
  }
}

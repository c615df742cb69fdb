#include "promiseg/io/mask_reader.hpp"

#include <doctest/doctest.h>
#include <png.h>
#include <tiffio.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
// libjpeg's header needs FILE and size_t declared before it.
#include <jpeglib.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "nifti_files.hpp"
#include "temporary_folder.hpp"

namespace fs = std::filesystem;
using promiseg::Error;
using promiseg::Image;
using promiseg::ImageReference;
using promiseg::Mask;
using promiseg::read_mask;
using promiseg::Slice;
using promiseg::SliceAxis;
using promiseg_test::NiftiFile;
using promiseg_test::TemporaryFolder;

namespace {

std::vector<int> values_of(const Mask& mask) {
  return {mask.elements().begin(), mask.elements().end()};
}

// One row of packed pixels.
void write_png_row(const fs::path& path, std::uint32_t width, int bits, int colour,
                   std::vector<std::uint8_t> row) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, width, 1, bits, colour, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  png_write_row(png, row.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

void write_jpeg(const fs::path& path, Image grey, int quality) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_stdio_dest(&jpeg, file);
  jpeg.image_width = static_cast<JDIMENSION>(grey.extent(1));
  jpeg.image_height = static_cast<JDIMENSION>(grey.extent(0));
  jpeg.input_components = 1;
  jpeg.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  for (promiseg::Index y = 0; y < grey.extent(0); ++y) {
    JSAMPROW row = grey.data() + y * grey.extent(1);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::fclose(file);
}

// One row of grey in which low is bright.
void write_inverted_tiff_row(const fs::path& path, std::uint32_t width, int bits,
                             std::vector<std::uint8_t> row) {
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 1);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 1);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISWHITE);
  TIFFWriteScanline(tiff, row.data(), 0, 0);
  TIFFClose(tiff);
}

}  // namespace

TEST_CASE("masks: everything above 0 is the object, in any channel") {
  const TemporaryFolder folder;
  Image grey({2, 2, 1});
  grey.elements()[1] = 1;
  grey.elements()[2] = 255;
  promiseg::write_png(folder / "grey.png", grey);
  const Mask mask = read_mask(folder / "grey.png");
  CHECK(mask.extents() == promiseg::Extents<2>{2, 2});
  CHECK(values_of(mask) == std::vector<int>{0, 255, 255, 0});

  Image colour({1, 3, 3});
  colour.elements()[1] = 7;
  colour.elements()[8] = 1;
  promiseg::write_png(folder / "colour.png", colour);
  CHECK(values_of(read_mask(folder / "colour.png")) == std::vector<int>{255, 0, 255});
}

TEST_CASE("masks: one bit, 16 bits, and alpha that does not count") {
  const TemporaryFolder folder;
  write_png_row(folder / "1", 10, 1, PNG_COLOR_TYPE_GRAY, {0b10110000, 0b01000000});
  CHECK(values_of(read_mask(folder / "1")) ==
        std::vector<int>{255, 0, 255, 255, 0, 0, 0, 0, 0, 255});
  write_png_row(folder / "16", 3, 16, PNG_COLOR_TYPE_GRAY, {0, 1, 0, 0, 255, 255});
  CHECK(values_of(read_mask(folder / "16")) == std::vector<int>{255, 0, 255});
  write_png_row(folder / "alpha", 2, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {0, 255, 9, 0});
  CHECK(values_of(read_mask(folder / "alpha")) == std::vector<int>{0, 255});
}

TEST_CASE("masks: what rings around the edges of a JPEG is not the object") {
  const TemporaryFolder folder;
  Image square({32, 40, 1});
  for (promiseg::Index y = 7; y < 23; ++y) {
    for (promiseg::Index x = 5; x < 21; ++x) square.view()(y, x, 0) = 255;
  }
  write_jpeg(folder / "square", square, 90);
  const auto stored = promiseg::to_8bit(promiseg::read_image(folder / "square"));
  const auto is_dark = [](std::uint8_t value) { return value == 0; };
  CHECK(std::count_if(stored.elements().begin(), stored.elements().end(), is_dark) <
        std::count_if(square.elements().begin(), square.elements().end(), is_dark));
  const Mask mask = read_mask(folder / "square");
  CHECK(std::equal(mask.elements().begin(), mask.elements().end(), square.elements().begin()));

  Image halves({8, 16, 1});  // flat blocks come back as they were
  for (promiseg::Index y = 0; y < 8; ++y) {
    for (promiseg::Index x = 0; x < 16; ++x) halves.view()(y, x, 0) = x < 8 ? 127 : 128;
  }
  write_jpeg(folder / "halves", halves, 100);
  const Mask half = read_mask(folder / "halves");
  CHECK(half.view()(0, 7) == 0);
  CHECK(half.view()(0, 8) == 255);
}

TEST_CASE("masks: where low is bright, bright is the object") {
  const TemporaryFolder folder;
  write_inverted_tiff_row(folder / "1.tif", 4, 1, {0b10010000});
  CHECK(values_of(read_mask(folder / "1.tif")) == std::vector<int>{0, 255, 255, 0});
  write_inverted_tiff_row(folder / "16.tif", 1, 16, {0, 0});
  CHECK_THROWS_WITH_AS(read_mask(folder / "16.tif"), doctest::Contains("16.tif"), Error);
}

TEST_CASE("masks: slices of volumes") {
  const TemporaryFolder folder;
  NiftiFile file;
  file.dim = {3, 5, 1, 2, 1, 1, 1, 1};
  const float nothing = std::numeric_limits<float>::quiet_NaN();
  file.set_voxels<float>(16, {1, 1, 1, 1, 1, -1, 0, nothing, 0.25F, 3});
  file.save(folder / "x.nii");
  const ImageReference slice(folder / "x.nii", Slice{SliceAxis::axial, 1});
  // From the patient's right to the left.
  CHECK(values_of(read_mask(slice)) == std::vector<int>{255, 255, 0, 0, 0});
  const Mask flat = read_mask(folder / "x.nii");  // the only coronal slice
  CHECK(flat.extents() == promiseg::Extents<2>{2, 5});
  CHECK(values_of(flat) == std::vector<int>{255, 255, 0, 0, 0, 255, 255, 255, 255, 255});

  file.set_voxels<std::uint8_t>(2, {0, 1, 2, 0, 0, 0, 0, 0, 0, 0});
  file.save(folder / "x.nii");
  const ImageReference first(folder / "x.nii", Slice{SliceAxis::axial, 0});
  CHECK(values_of(read_mask(first)) == std::vector<int>{0, 0, 255, 255, 0});
}

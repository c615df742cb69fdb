#include "promiseg/io/image_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hostile_files.hpp"
#include "temporary_folder.hpp"

#if defined(__unix__)
#include <sys/resource.h>
#endif

namespace fs = std::filesystem;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::Image;
using promiseg::Index;
using promiseg::RawImage;
using promiseg::read_image_file;
using promiseg::Tensor;
using promiseg_test::read_bytes;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;

namespace {

// Packed rows, as the formats store them.
using Bytes = std::vector<std::uint8_t>;

struct PngKind {
  int bits = 8;
  int colour = PNG_COLOR_TYPE_GRAY;
  bool interlaced = false;
  std::vector<png_color> palette = {};
};

void make_png(const fs::path& path, std::uint32_t width, std::uint32_t height, const PngKind& kind,
              Bytes rows) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, width, height, kind.bits, kind.colour,
               kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!kind.palette.empty()) {
    png_set_PLTE(png, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
  }
  png_write_info(png, info);
  std::vector<png_bytep> pointers;
  for (std::uint32_t y = 0; y < height; ++y) {
    pointers.push_back(rows.data() + rows.size() / height * y);
  }
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

void make_jpeg(const fs::path& path, Index width, Index height, J_COLOR_SPACE space, Bytes pixels,
               bool progressive = false) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_stdio_dest(&jpeg, file);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = space == JCS_GRAYSCALE ? 1 : space == JCS_CMYK ? 4 : 3;
  jpeg.in_color_space = space;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (Index y = 0; y < height; ++y) {
    JSAMPROW row = pixels.data() + y * width * jpeg.input_components;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::fclose(file);
}

struct TiffKind {
  int bits = 8;
  int samples = 1;
  int format = SAMPLEFORMAT_UINT;
  int photometric = PHOTOMETRIC_MINISBLACK;
  int compression = COMPRESSION_NONE;
  int planar = PLANARCONFIG_CONTIG;
  std::uint32_t tile = 0;
  const char* mode = "w";
  std::function<void(TIFF*)> more = {};
};

// One page. Strips of two rows, or tiles; `rows` is packed, plane after plane if these are apart.
void make_tiff_page(TIFF* tiff, std::uint32_t width, std::uint32_t height, const TiffKind& kind,
                    Bytes rows) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, kind.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, kind.samples);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, kind.format);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, kind.photometric);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, kind.compression);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, kind.planar);
  if (kind.more) kind.more(tiff);
  const bool separate = kind.planar == PLANARCONFIG_SEPARATE;
  const int planes = separate ? kind.samples : 1;
  const std::size_t row_bytes = rows.size() / height / static_cast<std::size_t>(planes);
  const auto plane_of = [&](int plane) {
    return rows.data() + static_cast<std::size_t>(plane) * row_bytes * height;
  };
  if (kind.tile == 0) {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 2);
    for (int plane = 0; plane < planes; ++plane) {
      for (std::uint32_t y = 0; y < height; ++y) {
        TIFFWriteScanline(tiff, plane_of(plane) + row_bytes * y, y,
                          static_cast<std::uint16_t>(plane));
      }
    }
  } else {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, kind.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, kind.tile);
    const std::size_t pixel = row_bytes / width;
    for (int plane = 0; plane < planes; ++plane) {
      for (std::uint32_t top = 0; top < height; top += kind.tile) {
        for (std::uint32_t left = 0; left < width; left += kind.tile) {
          Bytes tile(kind.tile * kind.tile * pixel);
          for (std::uint32_t y = top; y < std::min(height, top + kind.tile); ++y) {
            const std::uint32_t columns = std::min(kind.tile, width - left);
            std::memcpy(tile.data() + (y - top) * kind.tile * pixel,
                        plane_of(plane) + y * row_bytes + left * pixel, columns * pixel);
          }
          TIFFWriteTile(tiff, tile.data(), left, top, 0, static_cast<std::uint16_t>(plane));
        }
      }
    }
  }
  TIFFWriteDirectory(tiff);
}

void make_tiff(const fs::path& path, std::uint32_t width, std::uint32_t height,
               const TiffKind& kind, const Bytes& rows) {
  TIFF* tiff = TIFFOpen(path.c_str(), kind.mode);
  make_tiff_page(tiff, width, height, kind, rows);
  TIFFClose(tiff);
}

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T = std::uint8_t>
std::vector<T> samples_of(const RawImage& raw) {
  const auto elements = std::get<Tensor<T, 3>>(raw.samples).elements();
  return {elements.begin(), elements.end()};
}

Bytes ramp(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 + i / 7);
  return bytes;
}

// The message and code of the error that reading raises.
std::string refusal(const fs::path& path, Index frame = 0, ErrorCode code = ErrorCode::bad_format) {
  try {
    read_image_file(path, frame);
  } catch (const Error& error) {
    CHECK(error.code() == code);
    const std::string message = error.what();
    CHECK(message.find(path.string()) != std::string::npos);
    return message;
  }
  return "read without an error";
}

bool contains(const std::string& text, std::string_view part) {
  INFO(text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("PNG: grey and RGB, plain and interlaced, come as stored") {
  const TemporaryFolder folder;
  for (const bool interlaced : {false, true}) {
    make_png(folder / "grey", 13, 9, {8, PNG_COLOR_TYPE_GRAY, interlaced}, ramp(13 * 9));
    const RawImage grey = read_image_file(folder / "grey");
    CHECK(grey.extents() == promiseg::Extents<3>{9, 13, 1});
    CHECK(samples_of(grey) == ramp(13 * 9));
    CHECK(grey.format == "PNG");
    CHECK(grey.bits == 8);
    CHECK(grey.frames == 1);
    CHECK_FALSE(grey.suggested_window.has_value());

    make_png(folder / "rgb", 13, 9, {8, PNG_COLOR_TYPE_RGB, interlaced}, ramp(13 * 9 * 3));
    const RawImage rgb = read_image_file(folder / "rgb");
    CHECK(rgb.extents() == promiseg::Extents<3>{9, 13, 3});
    CHECK(samples_of(rgb) == ramp(13 * 9 * 3));
  }
}

TEST_CASE("PNG: alpha is dropped without blending") {
  const TemporaryFolder folder;
  make_png(folder / "a", 2, 1, {8, PNG_COLOR_TYPE_RGBA}, {10, 20, 30, 0, 40, 50, 60, 128});
  CHECK(samples_of(read_image_file(folder / "a")) == Bytes{10, 20, 30, 40, 50, 60});
  make_png(folder / "b", 2, 1, {8, PNG_COLOR_TYPE_GRAY_ALPHA}, {10, 0, 40, 255});
  CHECK(samples_of(read_image_file(folder / "b")) == Bytes{10, 40});
}

TEST_CASE("PNG: palettes become RGB, few bits are stretched to 8") {
  const TemporaryFolder folder;
  make_png(folder / "p", 4, 1,
           {2, PNG_COLOR_TYPE_PALETTE, false, {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}}, {0b00011001});
  CHECK(samples_of(read_image_file(folder / "p")) == Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 5, 6});
  make_png(folder / "1", 10, 1, {1, PNG_COLOR_TYPE_GRAY}, {0b10110000, 0b01000000});
  CHECK(samples_of(read_image_file(folder / "1")) == Bytes{255, 0, 255, 255, 0, 0, 0, 0, 0, 255});
  make_png(folder / "4", 2, 1, {4, PNG_COLOR_TYPE_GRAY}, {0x3f});
  CHECK(samples_of(read_image_file(folder / "4")) == Bytes{51, 255});
}

TEST_CASE("PNG: 16 bits keep all of them and suggest the automatic window") {
  const TemporaryFolder folder;
  make_png(folder / "16", 2, 1, {16, PNG_COLOR_TYPE_GRAY}, {0x12, 0x34, 0xff, 0xff});
  const RawImage raw = read_image_file(folder / "16");
  CHECK(samples_of<float>(raw) == std::vector<float>{0x1234, 0xffff});
  CHECK(raw.bits == 16);
  CHECK(raw.suggested_window == promiseg::Window::automatic());
  const Image image = to_8bit(raw, promiseg::Window::fixed(0, 65535));
  CHECK(image.view()(0, 0, 0) == 18);  // 4660 / 257 = 18.13
  CHECK(image.view()(0, 1, 0) == 255);

  make_png(folder / "rgba16", 1, 1, {16, PNG_COLOR_TYPE_RGBA}, {0, 1, 0, 2, 0, 3, 9, 9});
  CHECK(samples_of<float>(read_image_file(folder / "rgba16")) == std::vector<float>{1, 2, 3});
}

TEST_CASE("JPEG: grey and colour, baseline and progressive") {
  const TemporaryFolder folder;
  for (const bool progressive : {false, true}) {
    make_jpeg(folder / "g", 16, 8, JCS_GRAYSCALE, Bytes(16 * 8, 77), progressive);
    const RawImage grey = read_image_file(folder / "g");
    CHECK(grey.format == "JPEG");
    CHECK(grey.extents() == promiseg::Extents<3>{8, 16, 1});
    CHECK(samples_of(grey) == Bytes(16 * 8, 77));

    Bytes reds;
    for (int i = 0; i < 16 * 8; ++i) reds.insert(reds.end(), {200, 30, 60});
    make_jpeg(folder / "c", 16, 8, JCS_RGB, reds, progressive);
    const RawImage colour = read_image_file(folder / "c");
    CHECK(colour.extents() == promiseg::Extents<3>{8, 16, 3});
    const Bytes pixels = samples_of(colour);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      CHECK(std::abs(int{pixels[i]} - int{reds[i]}) <= 3);
    }
  }
}

TEST_CASE("JPEG: CMYK is refused by name") {
  const TemporaryFolder folder;
  make_jpeg(folder / "k", 8, 8, JCS_CMYK, Bytes(8 * 8 * 4, 9));
  contains(refusal(folder / "k", 0, ErrorCode::unsupported), "CMYK");
}

TEST_CASE("TIFF: strips and tiles, planes together and apart, byte orders, BigTIFF") {
  const TemporaryFolder folder;
  const Bytes together = ramp(37 * 21 * 3);
  Bytes apart(together.size());
  for (std::size_t i = 0; i < apart.size(); ++i) apart[i % 3 * 37 * 21 + i / 3] = together[i];
  for (const int planar : {PLANARCONFIG_CONTIG, PLANARCONFIG_SEPARATE}) {
    for (const std::uint32_t tile : {0u, 16u}) {
      for (const int compression :
           {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS}) {
        for (const char* mode : {"wl", "wb", "w8"}) {
          TiffKind kind{.samples = 3, .photometric = PHOTOMETRIC_RGB, .compression = compression};
          kind.planar = planar;
          kind.tile = tile;
          kind.mode = mode;
          make_tiff(folder / "t", 37, 21, kind, planar == PLANARCONFIG_CONTIG ? together : apart);
          const RawImage raw = read_image_file(folder / "t");
          CHECK(raw.format == "TIFF");
          CHECK(raw.extents() == promiseg::Extents<3>{21, 37, 3});
          CHECK(samples_of(raw) == together);
          CHECK_FALSE(raw.suggested_window.has_value());
        }
      }
    }
  }
}

TEST_CASE("TIFF: 16 bits, signed, floats and 12 bits packed") {
  const TemporaryFolder folder;
  for (const char* mode : {"wl", "wb"}) {
    TiffKind kind{.bits = 16};
    kind.mode = mode;
    make_tiff(folder / "u", 3, 1, kind, bytes_of<std::uint16_t>({0, 1000, 65535}));
    const RawImage raw = read_image_file(folder / "u");
    CHECK(samples_of<float>(raw) == std::vector<float>{0, 1000, 65535});
    CHECK(raw.bits == 16);
    CHECK(raw.suggested_window == promiseg::Window::automatic());
    kind.format = SAMPLEFORMAT_INT;
    make_tiff(folder / "i", 3, 1, kind, bytes_of<std::int16_t>({-1000, 0, 400}));
    CHECK(samples_of<float>(read_image_file(folder / "i")) == std::vector<float>{-1000, 0, 400});
    kind.format = SAMPLEFORMAT_IEEEFP;
    kind.bits = 32;
    make_tiff(folder / "f", 3, 1, kind, bytes_of<float>({-0.5f, 0, 1e6f}));
    CHECK(samples_of<float>(read_image_file(folder / "f")) == std::vector<float>{-0.5f, 0, 1e6f});
  }
  make_tiff(folder / "12", 2, 1, {.bits = 12}, {0x12, 0x3f, 0xff});
  CHECK(samples_of<float>(read_image_file(folder / "12")) == std::vector<float>{0x123, 0xfff});
}

TEST_CASE("TIFF: one bit, white as zero, alpha, palettes") {
  const TemporaryFolder folder;
  make_tiff(folder / "1", 10, 1, {.bits = 1}, {0b10110000, 0b01000000});
  CHECK(samples_of(read_image_file(folder / "1")) == Bytes{255, 0, 255, 255, 0, 0, 0, 0, 0, 255});

  TiffKind fax{.bits = 1, .photometric = PHOTOMETRIC_MINISWHITE};
  fax.compression = COMPRESSION_CCITTFAX4;
  make_tiff(folder / "w", 10, 1, fax, {0b10110000, 0b01000000});
  const RawImage white = read_image_file(folder / "w");
  CHECK(white.inverted);
  const Image image = to_8bit(white);
  CHECK(Bytes(image.elements().begin(), image.elements().end()) ==
        Bytes{0, 255, 0, 0, 255, 255, 255, 255, 255, 0});

  TiffKind alpha{.samples = 4, .photometric = PHOTOMETRIC_RGB};
  alpha.more = [](TIFF* tiff) {
    const std::uint16_t kind = EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &kind);
  };
  make_tiff(folder / "a", 2, 1, alpha, {1, 2, 3, 0, 4, 5, 6, 99});
  CHECK(samples_of(read_image_file(folder / "a")) == Bytes{1, 2, 3, 4, 5, 6});

  for (const int scale : {1, 257}) {  // palettes are of 16 bits, in practice some are of 8
    TiffKind palette{.bits = 4, .photometric = PHOTOMETRIC_PALETTE};
    palette.more = [scale](TIFF* tiff) {
      std::array<std::uint16_t, 16> red{}, green{}, blue{};
      for (std::size_t i = 0; i < 16; ++i) {
        red[i] = static_cast<std::uint16_t>((10 + i) * static_cast<std::size_t>(scale));
        green[i] = static_cast<std::uint16_t>((100 + i) * static_cast<std::size_t>(scale));
        blue[i] = static_cast<std::uint16_t>((200 + i) * static_cast<std::size_t>(scale));
      }
      TIFFSetField(tiff, TIFFTAG_COLORMAP, red.data(), green.data(), blue.data());
    };
    make_tiff(folder / "p", 2, 1, palette, {0x0f});
    CHECK(samples_of(read_image_file(folder / "p")) == Bytes{10, 100, 200, 25, 115, 215});
  }
}

TEST_CASE("TIFF: JPEG-compressed YCbCr comes as RGB") {
  const TemporaryFolder folder;
  TiffKind kind{.samples = 3, .photometric = PHOTOMETRIC_YCBCR, .compression = COMPRESSION_JPEG};
  kind.tile = 16;
  kind.more = [](TIFF* tiff) { TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); };
  Bytes pixels;
  for (int i = 0; i < 20 * 18; ++i) pixels.insert(pixels.end(), {200, 30, 60});
  make_tiff(folder / "j", 20, 18, kind, pixels);
  const RawImage raw = read_image_file(folder / "j");
  CHECK(raw.extents() == promiseg::Extents<3>{18, 20, 3});
  const Image image = to_8bit(raw);
  CHECK(std::abs(image.view()(0, 0, 0) - 200) <= 8);
  CHECK(std::abs(image.view()(0, 0, 1) - 30) <= 8);
  CHECK(std::abs(image.view()(0, 0, 2) - 60) <= 8);
}

TEST_CASE("TIFF: frame selects the page, and pages are counted") {
  const TemporaryFolder folder;
  TIFF* tiff = TIFFOpen((folder / "m").c_str(), "w");
  for (std::uint8_t page = 0; page < 3; ++page) {
    make_tiff_page(tiff, 2, 1, {}, {page, static_cast<std::uint8_t>(page + 10)});
  }
  TIFFClose(tiff);
  const RawImage raw = read_image_file(folder / "m", 2);
  CHECK(raw.frames == 3);
  CHECK(samples_of(raw) == Bytes{2, 12});
  contains(refusal(folder / "m", 3, ErrorCode::invalid_argument), "has 3 frames");
  contains(refusal(folder / "m", -1, ErrorCode::invalid_argument), "frame -1");
  make_png(folder / "p", 1, 1, {}, {0});
  contains(refusal(folder / "p", 1, ErrorCode::invalid_argument), "has 1 frame");
}

TEST_CASE("TIFF: what is not supported is named") {
  const TemporaryFolder folder;
  make_tiff(folder / "64", 1, 1, {.bits = 64, .format = SAMPLEFORMAT_IEEEFP}, Bytes(8));
  contains(refusal(folder / "64", 0, ErrorCode::unsupported), "64-bit floating-point");
  make_tiff(folder / "5", 1, 1, {.samples = 5}, Bytes(5));
  contains(refusal(folder / "5", 0, ErrorCode::unsupported), "5 samples");
  make_tiff(folder / "k", 1, 1, {.samples = 4, .photometric = PHOTOMETRIC_SEPARATED}, Bytes(4));
  contains(refusal(folder / "k", 0, ErrorCode::unsupported), "kind 5");
}

TEST_CASE("formats are told by content, and what is none says what it is") {
  const TemporaryFolder folder;
  make_png(folder / "really_png.jpg", 1, 1, {}, {7});
  CHECK(read_image_file(folder / "really_png.jpg").format == "PNG");

  const std::string text = "patient,age\n\x01";
  write_bytes(folder / "text.png", text);
  const std::string message = refusal(folder / "text.png");
  contains(message, "not an image promiseg can read: expected PNG, JPEG or TIFF");
  contains(message, "the file begins with \"patient,age\\x0a\\x01\"");

  write_bytes(folder / "empty.png", {});
  contains(refusal(folder / "empty.png"), "empty");
  contains(refusal(folder / "none.png", 0, ErrorCode::not_found), "no such file");
  contains(refusal(folder.path(), 0, ErrorCode::invalid_argument), "folder");

  std::string dicom(132, '\0');
  dicom.replace(128, 4, "DICM");
  write_bytes(folder / "d.png", dicom);
  contains(refusal(folder / "d.png", 0, ErrorCode::unsupported), "DICOM");
}

TEST_CASE("headers that claim gigabytes are refused before any allocation") {
  const TemporaryFolder folder;
  make_png(folder / "p", 16, 16, {1, PNG_COLOR_TYPE_GRAY}, Bytes(32));
  std::vector<char> png = read_bytes(folder / "p");
  const auto claim = [&](std::uint32_t width, std::uint32_t height) {
    for (std::size_t i = 0; i < 4; ++i) {
      png[16 + i] = static_cast<char>(width >> (24 - 8 * i));
      png[20 + i] = static_cast<char>(height >> (24 - 8 * i));
    }
    // The checksum of the header follows its 13 bytes.
    std::uint32_t sum = ~0u;
    for (std::size_t i = 12; i < 29; ++i) {
      sum ^= static_cast<std::uint8_t>(png[i]);
      for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
    }
    for (std::size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(~sum >> (24 - 8 * i));
    write_bytes(folder / "p", png);
  };
  claim(1u << 30, 1u << 30);
  contains(refusal(folder / "p", 0, ErrorCode::unsupported), "limit");
  claim(1u << 14, 1u << 14);
  contains(refusal(folder / "p"), "truncated");

  make_tiff(folder / "t", 1u << 13, 1, {.compression = COMPRESSION_LZW}, Bytes(1u << 13));
  std::vector<char> tiff = read_bytes(folder / "t");
  // ImageLength: tag 257, one SHORT or LONG.
  for (std::size_t i = 8; i + 12 <= tiff.size(); ++i) {
    if (tiff[i] == 1 && tiff[i + 1] == 1 && (tiff[i + 2] == 3 || tiff[i + 2] == 4)) {
      tiff[i + 9] = 0x40;
    }
  }
  write_bytes(folder / "t", tiff);
  contains(refusal(folder / "t"), "truncated");
}

TEST_CASE("truncated files are refused, damaged ones never crash") {
  const TemporaryFolder folder;
  const auto read = [](const fs::path& path) { (void)to_8bit(read_image_file(path)); };
  std::vector<fs::path> files;
  const auto add = [&](const char* name) { return files.emplace_back(folder / name); };
  make_png(add("rgb.png"), 16, 12, {8, PNG_COLOR_TYPE_RGB}, ramp(16 * 12 * 3));
  make_png(add("16.png"), 16, 12, {16, PNG_COLOR_TYPE_GRAY, true}, ramp(16 * 12 * 2));
  make_png(add("palette.png"), 16, 12, {8, PNG_COLOR_TYPE_PALETTE, false, {256, {1, 2, 3}}},
           ramp(16 * 12));
  make_jpeg(add("base.jpg"), 24, 20, JCS_RGB, ramp(24 * 20 * 3));
  make_jpeg(add("progressive.jpg"), 24, 20, JCS_RGB, ramp(24 * 20 * 3), true);
  TiffKind kind{.samples = 3, .photometric = PHOTOMETRIC_RGB, .compression = COMPRESSION_LZW};
  make_tiff(add("strips.tif"), 20, 10, kind, ramp(20 * 10 * 3));
  kind.tile = 16;
  kind.compression = COMPRESSION_ADOBE_DEFLATE;
  kind.planar = PLANARCONFIG_SEPARATE;
  make_tiff(add("tiles.tif"), 20, 10, kind, ramp(20 * 10 * 3));
  make_tiff(add("bits.tif"), 21, 10, {.bits = 1, .compression = COMPRESSION_CCITTFAX4}, ramp(30));
  TiffKind jpeg{.samples = 3, .photometric = PHOTOMETRIC_YCBCR, .compression = COMPRESSION_JPEG};
  jpeg.tile = 16;
  jpeg.more = [](TIFF* tiff) { TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); };
  make_tiff(add("jpeg.tif"), 20, 10, jpeg, ramp(20 * 10 * 3));
  for (const fs::path& file : files) {
    CAPTURE(file);
    promiseg_test::check_truncations(file, 3, read);
    promiseg_test::check_flips(file, 64, 150, read);
    if (file.extension() == ".tif") {  // whose tags are at the end
      const std::size_t size = read_bytes(file).size();
      promiseg_test::check_flips(file, size, 250, read);
    }
  }
}

TEST_CASE("write_png writes what read_image_file reads, also from strided views") {
  const TemporaryFolder folder;
  Image rgb({5, 7, 3});
  for (Index i = 0; i < rgb.size(); ++i) rgb.data()[i] = static_cast<std::uint8_t>(i * 5);
  promiseg::write_png(folder / "rgb.png", rgb);
  CHECK(samples_of(read_image_file(folder / "rgb.png")) ==
        Bytes(rgb.elements().begin(), rgb.elements().end()));

  const promiseg::ImageView view = rgb;
  promiseg::write_png(folder / "part.png", view.slice(1, 2, 3).slice(2, 1, 1));
  const RawImage part = read_image_file(folder / "part.png");
  CHECK(part.extents() == promiseg::Extents<3>{5, 3, 1});
  CHECK(std::get<Image>(part.samples).view()(4, 2, 0) == rgb.view()(4, 4, 1));

  promiseg::Mask mask({2, 3});
  mask.view()(1, 2) = 255;
  promiseg::write_png(folder / "mask.png", mask);
  CHECK(samples_of(read_image_file(folder / "mask.png")) == Bytes{0, 0, 0, 0, 0, 255});
}

TEST_CASE("write_png fails cleanly") {
  const TemporaryFolder folder;
  const Image image({4, 4, 1});
  CHECK_THROWS_AS(promiseg::write_png(folder / "none/a.png", image), Error);
  CHECK_THROWS_AS(promiseg::write_png(folder / "a.png", Image({4, 4, 2})), Error);
  CHECK_THROWS_AS(promiseg::write_png(folder / "a.png", Image()), Error);
  CHECK(fs::is_empty(folder.path()));
}

#if defined(__unix__)
TEST_CASE("a full disk leaves the old file and nothing half-written") {
  const TemporaryFolder folder;
  Image small({1, 1, 1});
  promiseg::write_png(folder / "a.png", small);
  const std::vector<char> before = read_bytes(folder / "a.png");

  Image noise({200, 200, 1});
  std::mt19937 random(1);
  for (std::uint8_t& value : noise.elements()) value = static_cast<std::uint8_t>(random());
  // A limit on the size of files stands for the full disk.
  rlimit old_limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  rlimit limit = old_limit;
  limit.rlim_cur = 4096;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  ErrorCode code = ErrorCode::not_found;
  try {
    promiseg::write_png(folder / "a.png", noise);
  } catch (const Error& error) {
    code = error.code();
  }
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  CHECK(code == ErrorCode::io);
  CHECK(read_bytes(folder / "a.png") == before);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}
#endif

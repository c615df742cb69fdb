// TIFF and BigTIFF files, by libtiff.
#pragma once

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"

#if TIFFLIB_VERSION < 20221213
#error "promiseg needs libtiff 4.5 or newer (error handlers of each open file)"
#endif

namespace promiseg {
namespace detail {

/// An open TIFF file that keeps the first complaint of libtiff instead of printing it.
class TiffFile {
 public:
  /// Throws `bad_format`.
  explicit TiffFile(const std::filesystem::path& path) : path_(path.string()) {
    const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(
        TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    require(options != nullptr, ErrorCode::io, path_, ": libtiff is out of memory");
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_message, message_.data());
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore_message, nullptr);
    // "m": not mapped into memory, where a file that shrinks meanwhile would end the program.
    tiff_.reset(TIFFOpenExt(path_.c_str(), "rm", options.get()));
    check(tiff_ != nullptr);
  }
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_.get(); }

  /// Throws `bad_format` with libtiff's reason unless `done`.
  void check(bool done) const {
    if (done) return;
    const std::string_view reason = message_.data();
    fail(ErrorCode::bad_format, path_, ": damaged or truncated TIFF: ",
         reason.empty() ? std::string_view("libtiff gives no reason") : reason);
  }

  /// The value of a tag of one number, or its default by the TIFF standard.
  template <class T>
  T tag(std::uint32_t name, T otherwise) const {
    T value = otherwise;
    return TIFFGetFieldDefaulted(get(), name, &value) == 1 ? value : otherwise;
  }

 private:
  static constexpr std::size_t kMessageSize = 256;

  static int keep_message(TIFF* /*tiff*/, void* to, const char* /*module*/, const char* format,
                          va_list arguments) {
    auto* message = static_cast<char*>(to);
    if (*message == '\0') std::vsnprintf(message, kMessageSize, format, arguments);
    return 1;
  }
  static int ignore_message(TIFF* /*tiff*/, void* /*to*/, const char* /*module*/,
                            const char* /*format*/, va_list /*arguments*/) {
    return 1;
  }

  struct Close {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  };

  std::string path_;
  std::array<char, kMessageSize> message_{};
  std::unique_ptr<TIFF, Close> tiff_;
};

/// What one page's tags say about its samples.
struct TiffPage {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint16_t bits = 1;
  std::uint16_t samples = 1;  // stored for each pixel, with alpha
  std::uint16_t format = SAMPLEFORMAT_UINT;
  std::uint16_t photometric = PHOTOMETRIC_MINISBLACK;
  bool separate = false;                          // planes one after the other
  std::array<const std::uint16_t*, 3> palette{};  // red, green, blue
  int palette_shift = 8;

  bool is_palette() const { return photometric == PHOTOMETRIC_PALETTE; }
  /// Of the samples, those that are colours.
  Index colours() const { return photometric == PHOTOMETRIC_RGB ? 3 : 1; }
  /// Of the picture as it is handed out.
  Index channels() const { return is_palette() ? 3 : colours(); }
  /// Of a run of pixels in a block, in which `stored` samples of each pixel lie together.
  std::size_t row_bytes(std::uint32_t columns, Index stored) const {
    return (std::size_t{columns} * static_cast<std::size_t>(stored) * bits + 7) / 8;
  }
  Index stored_together() const { return separate ? 1 : Index{samples}; }

  /// Sample `index` of a row, in the file's units.
  float sample(const std::uint8_t* row, std::size_t index) const {
    const auto load = [&](auto value) {
      std::memcpy(&value, row + index * sizeof value, sizeof value);
      return static_cast<float>(value);
    };
    if (bits == 32) return load(float{});
    if (bits == 16)
      return format == SAMPLEFORMAT_INT ? load(std::int16_t{}) : load(std::uint16_t{});
    if (bits == 8) return static_cast<float>(row[index]);
    unsigned value = 0;  // packed, the highest bit first
    for (std::size_t bit = index * bits; bit < (index + 1) * bits; ++bit) {
      value = value << 1 | (row[bit / 8] >> (7 - bit % 8) & 1u);
    }
    return static_cast<float>(value);
  }
};

/// Reads the tags of the current page. Throws `bad_format` or `unsupported`.
inline TiffPage tiff_page(const TiffFile& file, const std::filesystem::path& path) {
  TiffPage page;
  page.width = file.tag(TIFFTAG_IMAGEWIDTH, std::uint32_t{0});
  page.height = file.tag(TIFFTAG_IMAGELENGTH, std::uint32_t{0});
  page.bits = file.tag(TIFFTAG_BITSPERSAMPLE, page.bits);
  page.samples = file.tag(TIFFTAG_SAMPLESPERPIXEL, page.samples);
  page.format = file.tag(TIFFTAG_SAMPLEFORMAT, page.format);
  page.photometric = file.tag(TIFFTAG_PHOTOMETRIC, page.photometric);
  page.separate =
      file.tag(TIFFTAG_PLANARCONFIG, std::uint16_t{PLANARCONFIG_CONTIG}) == PLANARCONFIG_SEPARATE &&
      page.samples > 1;
  require_picture_size(path, page.width, page.height);

  if (page.format == SAMPLEFORMAT_VOID) page.format = SAMPLEFORMAT_UINT;
  const bool readable = (page.format == SAMPLEFORMAT_UINT && page.bits >= 1 && page.bits <= 16) ||
                        (page.format == SAMPLEFORMAT_INT && page.bits == 16) ||
                        (page.format == SAMPLEFORMAT_IEEEFP && page.bits == 32);
  const std::string_view kind = page.format == SAMPLEFORMAT_IEEEFP ? "floating-point"
                                : page.format == SAMPLEFORMAT_INT  ? "signed"
                                : page.format == SAMPLEFORMAT_UINT ? "unsigned"
                                                                   : "complex or unknown";
  require(readable, ErrorCode::unsupported, path.string(), ": a TIFF of ", page.bits, "-bit ", kind,
          " samples is not supported: expected 1 to 16 bits unsigned, 16 signed, or 32-bit floats");
  return page;
}

/// Throws `unsupported` unless the colours and the samples of a pixel are ones we can read; finds
/// the palette.
inline void tiff_check_colours(const TiffFile& file, TiffPage& page,
                               const std::filesystem::path& path) {
  const bool known = page.photometric == PHOTOMETRIC_MINISBLACK ||
                     page.photometric == PHOTOMETRIC_MINISWHITE ||
                     page.photometric == PHOTOMETRIC_RGB || page.is_palette();
  require(known, ErrorCode::unsupported, path.string(), ": TIFF colours of kind ", page.photometric,
          " (photometric interpretation) are not supported: convert to grey or RGB");
  require(page.samples == page.colours() || page.samples == page.colours() + 1,
          ErrorCode::unsupported, path.string(), ": a TIFF of ", page.samples,
          " samples a pixel is not supported: expected ", page.colours(),
          ", or one more for alpha");
  if (!page.is_palette()) return;
  require(page.bits <= 8 && page.format == SAMPLEFORMAT_UINT, ErrorCode::unsupported, path.string(),
          ": a TIFF palette of ", page.bits, " bits is not supported: expected at most 8");
  std::array<std::uint16_t*, 3> palette{};
  file.check(TIFFGetField(file.get(), TIFFTAG_COLORMAP, &palette[0], &palette[1], &palette[2]) ==
             1);
  std::copy(palette.begin(), palette.end(), page.palette.begin());
  // Palettes are of 16 bits, but some writers fill in 8.
  const auto small = [&](const std::uint16_t* colours) {
    return std::all_of(colours, colours + (1 << page.bits), [](auto value) { return value < 256; });
  };
  if (std::all_of(palette.begin(), palette.end(), small)) page.palette_shift = 0;
}

/// A strip or a tile: where it lies in the picture, and its decoded bytes.
struct TiffBlock {
  std::uint32_t top = 0;
  std::uint32_t left = 0;
  std::uint32_t rows = 0;     // inside the picture
  std::uint32_t columns = 0;  // inside the picture
  std::size_t row_bytes = 0;
  const std::uint8_t* bytes = nullptr;
};

/// Copies a block into the picture; `plane` is the channel it holds if planes are separate.
template <class T>
void tiff_copy_block(const TiffPage& page, const TiffBlock& block, Index plane,
                     Tensor<T, 3>& picture) {
  const auto view = picture.view();
  // Samples of less than 8 bits are stretched to 0..255.
  const float white = static_cast<float>((1 << std::min<int>(page.bits, 8)) - 1);
  const auto sample = [&](const std::uint8_t* row, std::size_t index) {
    const float value = page.sample(row, index);
    return page.bits < 8 ? std::round(value * 255.0f / white) : value;
  };
  const Index stored = page.stored_together();
  for (std::uint32_t y = 0; y < block.rows; ++y) {
    const std::uint8_t* row = block.bytes + y * block.row_bytes;
    for (std::uint32_t x = 0; x < block.columns; ++x) {
      const auto at = static_cast<std::size_t>(stored) * x;
      const auto put = [&](Index channel, auto value) {
        view(Index{block.top} + y, Index{block.left} + x, channel) = static_cast<T>(value);
      };
      if (page.is_palette()) {
        const auto entry = static_cast<std::size_t>(page.sample(row, at));
        for (std::size_t c = 0; c < 3; ++c) {
          put(static_cast<Index>(c), page.palette[c][entry] >> page.palette_shift);
        }
      } else if (page.separate) {
        put(plane, sample(row, at));
      } else {
        for (Index c = 0; c < page.colours(); ++c) {
          put(c, sample(row, at + static_cast<std::size_t>(c)));
        }
      }
    }
  }
}

/// Decodes all strips or tiles of the current page. The first one must decode before the picture
/// is allocated.
template <class T>
Tensor<T, 3> tiff_read_blocks(const TiffFile& file, const TiffPage& page,
                              const std::filesystem::path& path) {
  TIFF* tiff = file.get();
  const bool tiled = TIFFIsTiled(tiff) != 0;
  std::uint32_t rows = 0;
  std::uint32_t columns = page.width;
  if (tiled) {
    rows = file.tag(TIFFTAG_TILELENGTH, std::uint32_t{0});
    columns = file.tag(TIFFTAG_TILEWIDTH, std::uint32_t{0});
  } else {
    rows = std::min(file.tag(TIFFTAG_ROWSPERSTRIP, page.height), page.height);
  }
  require_picture_size(path, columns, rows);

  const Index stored = page.stored_together();
  const std::size_t row_bytes = page.row_bytes(columns, stored);
  const std::size_t block_bytes = row_bytes * rows;
  // No coder makes more than this of a byte but for blank pages hundreds of megabytes large.
  constexpr std::uint64_t kMaxRatio = 1u << 16;
  std::error_code ignored;
  const std::uint64_t file_size = std::filesystem::file_size(path, ignored);
  require_plausible_size(path, page.row_bytes(page.width, stored) * std::uint64_t{page.height},
                         file_size, kMaxRatio);
  require_plausible_size(path, block_bytes, file_size, kMaxRatio);
  const auto size = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  require(size > 0 && static_cast<std::size_t>(size) == block_bytes, ErrorCode::unsupported,
          path.string(), ": a TIFF whose blocks of ", columns, " x ", rows, " pixels have ", size,
          " bytes is not supported: expected ", block_bytes);

  std::vector<std::uint8_t> bytes(block_bytes);
  Tensor<T, 3> picture;
  const Index planes = page.separate ? page.colours() : 1;
  std::uint32_t number = 0;  // blocks are counted by plane, row and column
  for (Index plane = 0; plane < planes; ++plane) {
    for (std::uint32_t top = 0; top < page.height; top += std::min(rows, page.height - top)) {
      TiffBlock block{.top = top, .row_bytes = row_bytes, .bytes = bytes.data()};
      block.rows = std::min(rows, page.height - top);
      for (std::uint32_t left = 0; left < page.width;
           left += std::min(columns, page.width - left)) {
        block.left = left;
        block.columns = std::min(columns, page.width - left);
        const std::size_t wanted = tiled ? block_bytes : row_bytes * block.rows;
        const auto limit = static_cast<tmsize_t>(wanted);
        const auto got = tiled ? TIFFReadEncodedTile(tiff, number, bytes.data(), limit)
                               : TIFFReadEncodedStrip(tiff, number, bytes.data(), limit);
        file.check(got == limit);
        ++number;
        if (picture.empty()) {
          picture = Tensor<T, 3>({Index{page.height}, Index{page.width}, page.channels()});
        }
        tiff_copy_block(page, block, plane, picture);
      }
    }
  }
  return picture;
}

/// Reads a page of subsampled YCbCr through libtiff's own conversion to RGB.
inline Image tiff_read_converted(const TiffFile& file, const TiffPage& page,
                                 const std::filesystem::path& path) {
  std::error_code ignored;
  require_plausible_size(path, std::uint64_t{page.width} * page.height,
                         std::filesystem::file_size(path, ignored), 1u << 12);
  std::array<char, 1024> reason{};
  require(TIFFRGBAImageOK(file.get(), reason.data()) == 1, ErrorCode::unsupported, path.string(),
          ": these TIFF colours are not supported: ", std::string_view(reason.data()));
  std::vector<std::uint32_t> pixels(std::size_t{page.width} * page.height);
  // Asking for the stored orientation leaves the rows as they are.
  const auto orientation = file.tag(TIFFTAG_ORIENTATION, std::uint16_t{ORIENTATION_TOPLEFT});
  file.check(TIFFReadRGBAImageOriented(file.get(), page.width, page.height, pixels.data(),
                                       orientation, 1) == 1);
  Image picture({Index{page.height}, Index{page.width}, 3});
  std::uint8_t* to = picture.data();
  for (std::uint32_t pixel : pixels) {
    *to++ = static_cast<std::uint8_t>(TIFFGetR(pixel));
    *to++ = static_cast<std::uint8_t>(TIFFGetG(pixel));
    *to++ = static_cast<std::uint8_t>(TIFFGetB(pixel));
  }
  return picture;
}

}  // namespace detail

/// Reads page `frame` (from 0) of a TIFF file: strips or tiles, planes together or apart; grey,
/// palette (as RGB), RGB and YCbCr; 1 to 16 bits unsigned, 16 signed, 32-bit floats. Alpha is
/// dropped, the colours below it stay as stored. The orientation tag is not applied.
/// Throws `bad_format`, `unsupported`, or `invalid_argument` for a frame the file does not have.
inline RawImage read_tiff(const std::filesystem::path& path, Index frame = 0) {
  const detail::TiffFile file(path);
  RawImage raw;
  raw.format = format_name(ImageFormat::tiff);
  raw.frames = static_cast<Index>(TIFFNumberOfDirectories(file.get()));
  require_frame(path, frame, raw.frames);
  file.check(TIFFSetDirectory(file.get(), static_cast<tdir_t>(frame)) == 1);

  detail::TiffPage page = detail::tiff_page(file, path);
  raw.bits = page.bits;
  raw.inverted = page.photometric == PHOTOMETRIC_MINISWHITE;
  if (page.photometric == PHOTOMETRIC_YCBCR && page.bits == 8) {
    raw.samples = detail::tiff_read_converted(file, page, path);
    return raw;
  }
  detail::tiff_check_colours(file, page, path);
  if (page.bits <= 8) {
    raw.samples = detail::tiff_read_blocks<std::uint8_t>(file, page, path);
  } else {
    raw.samples = detail::tiff_read_blocks<float>(file, page, path);
    raw.suggested_window = Window::automatic();
  }
  return raw;
}

}  // namespace promiseg

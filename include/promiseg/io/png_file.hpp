// PNG files, by libpng.
#pragma once

#include <png.h>

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {
namespace detail {

/// Where libpng reads from or writes to, and its last words. libpng reports errors by longjmp, so
/// the functions below that call setjmp own nothing with a destructor: it all lives here.
struct PngStream {
  std::span<const std::byte> input;
  std::vector<std::byte> output;
  char message[160] = "unknown error";
};

[[noreturn]] inline void png_on_error(png_structp png, png_const_charp message) {
  auto* stream = static_cast<PngStream*>(png_get_error_ptr(png));
  std::strncpy(stream->message, message, sizeof stream->message - 1);
  png_longjmp(png, 1);
}

inline void png_on_warning(png_structp /*png*/, png_const_charp /*message*/) {}

inline void png_take(png_structp png, png_bytep data, std::size_t count) {
  auto* stream = static_cast<PngStream*>(png_get_io_ptr(png));
  if (count > stream->input.size()) png_error(png, "truncated: the file ends inside the picture");
  std::memcpy(data, stream->input.data(), count);
  stream->input = stream->input.subspan(count);
}

inline void png_put(png_structp png, png_bytep data, std::size_t count) {
  auto* stream = static_cast<PngStream*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    stream->output.insert(stream->output.end(), bytes, bytes + count);
  } catch (const std::exception&) {
    stored = false;  // png_error below jumps, which must not leave a catch block
  }
  if (!stored) png_error(png, "out of memory");
}

inline void png_flush_nothing(png_structp /*png*/) {}

/// Owns libpng's two structs, for reading or for writing.
class PngHandle {
 public:
  enum class Direction { read, write };

  PngHandle(Direction direction, PngStream& stream) : direction_(direction) {
    const auto create =
        direction == Direction::read ? png_create_read_struct : png_create_write_struct;
    png = create(PNG_LIBPNG_VER_STRING, &stream, png_on_error, png_on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      destroy();
      fail(ErrorCode::unsupported, "libpng could not be started: expected version ",
           PNG_LIBPNG_VER_STRING, " or compatible, and memory");
    }
  }
  PngHandle(const PngHandle&) = delete;
  PngHandle& operator=(const PngHandle&) = delete;
  ~PngHandle() { destroy(); }

  png_structp png = nullptr;
  png_infop info = nullptr;

 private:
  void destroy() {
    if (direction_ == Direction::read) {
      png_destroy_read_struct(&png, &info, nullptr);
    } else {
      png_destroy_write_struct(&png, &info);
    }
  }

  Direction direction_;
};

/// Reads the header and asks for grey or RGB of 8 or 16 bits in this machine's byte order.
inline bool png_read_header(PngHandle& handle, PngStream& stream) {
  if (setjmp(png_jmpbuf(handle.png)) != 0) return false;
  png_set_read_fn(handle.png, &stream, png_take);
  png_set_user_limits(handle.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_read_info(handle.png, handle.info);
  png_set_palette_to_rgb(handle.png);
  png_set_expand_gray_1_2_4_to_8(handle.png);
  png_set_strip_alpha(handle.png);
  if constexpr (std::endian::native == std::endian::little) png_set_swap(handle.png);
  png_set_interlace_handling(handle.png);
  png_read_update_info(handle.png, handle.info);
  return true;
}

inline bool png_read_rows(PngHandle& handle, png_bytepp rows) {
  if (setjmp(png_jmpbuf(handle.png)) != 0) return false;
  png_read_image(handle.png, rows);
  png_read_end(handle.png, nullptr);
  return true;
}

inline bool png_write_rows(PngHandle& handle, PngStream& stream, ImageView image,
                           std::uint8_t* row) {
  if (setjmp(png_jmpbuf(handle.png)) != 0) return false;
  png_set_write_fn(handle.png, &stream, png_put, png_flush_nothing);
  png_set_user_limits(handle.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(handle.png, handle.info, static_cast<png_uint_32>(image.extent(1)),
               static_cast<png_uint_32>(image.extent(0)), 8,
               image.extent(2) == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(handle.png, handle.info);
  for (Index y = 0; y < image.extent(0); ++y) {
    std::uint8_t* to = row;
    for (Index x = 0; x < image.extent(1); ++x) {
      for (Index c = 0; c < image.extent(2); ++c) *to++ = image(y, x, c);
    }
    png_write_row(handle.png, row);
  }
  png_write_end(handle.png, nullptr);
  return true;
}

}  // namespace detail

/// Decodes a PNG file's bytes: grey, palette (as RGB) or RGB of 1 to 16 bits. Alpha is dropped, the
/// colours below it stay as stored; gamma and colour profiles are not applied. `path` is for
/// messages. Throws `bad_format`.
inline RawImage decode_png(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  detail::PngStream stream;
  stream.input = bytes;
  detail::PngHandle handle(detail::PngHandle::Direction::read, stream);
  const auto check = [&](bool done) {
    require(done, ErrorCode::bad_format, path.string(), ": damaged PNG: ", stream.message);
  };
  check(detail::png_read_header(handle, stream));
  const std::uint64_t width = png_get_image_width(handle.png, handle.info);
  const std::uint64_t height = png_get_image_height(handle.png, handle.info);
  require_picture_size(path, width, height);
  // Deflate makes at most 1032 bytes out of one; a palette or a bit makes three more or eight.
  require_plausible_size(path, width * height / 8, bytes.size(), 1032);

  const std::size_t row_bytes = png_get_rowbytes(handle.png, handle.info);
  const int channels = png_get_channels(handle.png, handle.info);
  const int bits = png_get_bit_depth(handle.png, handle.info);
  require((channels == 1 || channels == 3) && (bits == 8 || bits == 16) &&
              row_bytes == width * static_cast<std::size_t>(channels * bits / 8),
          ErrorCode::unsupported, path.string(), ": a PNG of ", channels, " channels of ", bits,
          " bits is not supported");
  const Extents<3> extents{static_cast<Index>(height), static_cast<Index>(width), channels};
  const auto read_into = [&](auto* samples) {
    std::vector<png_bytep> rows(height);
    for (std::size_t y = 0; y < height; ++y) {
      rows[y] = reinterpret_cast<png_bytep>(samples) + y * row_bytes;
    }
    check(detail::png_read_rows(handle, rows.data()));
  };

  RawImage raw;
  raw.format = format_name(ImageFormat::png);
  raw.bits = bits;
  if (bits == 8) {
    read_into(raw.samples.emplace<Image>(extents).data());
    return raw;
  }
  std::vector<std::uint16_t> wide(static_cast<std::size_t>(element_count(extents)));
  read_into(wide.data());
  auto& samples = raw.samples.emplace<Tensor<float, 3>>(extents);
  std::copy(wide.begin(), wide.end(), samples.data());
  raw.suggested_window = Window::automatic();
  return raw;
}

/// The bytes of a grey or RGB PNG of an 8-bit image `[height, width, 1 or 3]`. `path` is for
/// messages. Throws `shape_mismatch`, and `io` for a picture that libpng refuses.
inline std::vector<std::byte> encode_png(ImageView image, const std::filesystem::path& path) {
  require_image(image);
  detail::PngStream stream;
  detail::PngHandle handle(detail::PngHandle::Direction::write, stream);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.extent(1) * image.extent(2)));
  require(detail::png_write_rows(handle, stream, image, row.data()), ErrorCode::io, path.string(),
          ": cannot encode the PNG: ", stream.message);
  return std::move(stream.output);
}

/// Writes an image as `encode_png` makes it; the file appears whole or not at all. Throws
/// `shape_mismatch`, `not_found` (no such folder) or `io`.
inline void write_png(const std::filesystem::path& path, ImageView image) {
  const std::vector<std::byte> bytes = encode_png(image, path);
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

/// Writes a mask `[height, width]` as a grey PNG, like an image of one channel.
inline void write_png(const std::filesystem::path& path, TensorView<const std::uint8_t, 2> mask) {
  write_png(path, ImageView(mask.data(), {mask.extent(0), mask.extent(1), 1},
                            {mask.stride(0), mask.stride(1), 1}));
}

}  // namespace promiseg

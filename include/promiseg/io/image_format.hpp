// Telling image formats apart by their first bytes, and the checks that all readers share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/core/error.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {

enum class ImageFormat { png, jpeg, tiff, dicom };

/// "PNG", "JPEG", "TIFF" or "DICOM".
constexpr std::string_view format_name(ImageFormat format) {
  constexpr std::array<std::string_view, 4> kNames{"PNG", "JPEG", "TIFF", "DICOM"};
  return kNames[static_cast<std::size_t>(format)];
}

/// True if `magic` stands at byte `at` of a file that begins with `head`.
inline bool has_magic(std::span<const std::byte> head, std::size_t at, std::string_view magic) {
  return head.size() >= at + magic.size() &&
         std::equal(magic.begin(), magic.end(), head.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
}

/// The format that a file's first bytes (132 are enough) declare; a name's extension never counts.
/// DICOM is known by "DICM" at byte 128, even if the preamble before it looks like TIFF.
inline std::optional<ImageFormat> detect_image_format(std::span<const std::byte> head) {
  using namespace std::string_view_literals;
  if (has_magic(head, 128, "DICM"sv)) return ImageFormat::dicom;
  if (has_magic(head, 0, "\x89PNG\r\n\x1a\n"sv)) return ImageFormat::png;
  if (has_magic(head, 0, "\xff\xd8\xff"sv)) return ImageFormat::jpeg;
  // "+" instead of "*" is BigTIFF.
  for (std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (has_magic(head, 0, magic)) return ImageFormat::tiff;
  }
  return std::nullopt;
}

/// 1 or 2 if the first bytes (348 are enough) are a header of that version of NIfTI, else 0. "n+"
/// says that the voxels follow in the same file, "ni" that they are in one of their own.
inline int nifti_version(std::span<const std::byte> head) {
  using namespace std::string_view_literals;
  if (has_magic(head, 344, "n+1\0"sv) || has_magic(head, 344, "ni1\0"sv)) return 1;
  if (has_magic(head, 4, "n+2\0\r\n\x1a\n"sv) || has_magic(head, 4, "ni2\0\r\n\x1a\n"sv)) return 2;
  return 0;
}

/// True if a file that begins so may be a NIfTI volume: it has the header, or it is gzip, which no
/// other format here comes in.
inline bool looks_like_nifti(std::span<const std::byte> head) {
  return nifti_version(head) != 0 || has_magic(head, 0, "\x1f\x8b");
}

/// The first bytes of a file for a message: printable characters as they are, others as \xNN.
inline std::string first_bytes_text(std::span<const std::byte> bytes, std::size_t count = 16) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "\"";
  for (std::byte byte : bytes.first(std::min(count, bytes.size()))) {
    const auto value = std::to_integer<unsigned>(byte);
    if (value >= 0x20 && value < 0x7f && value != '"' && value != '\\') {
      text += static_cast<char>(value);
    } else {
      text.append("\\x").append({kDigits[value >> 4], kDigits[value & 15]});
    }
  }
  return text + '"';
}

/// Throws `bad_format`: `path` is none of the `expected` formats.
[[noreturn]] inline void fail_not_an_image(const std::filesystem::path& path,
                                           std::string_view expected,
                                           std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    fail(ErrorCode::bad_format, path.string(), ": the file is empty, expected ", expected);
  }
  fail(ErrorCode::bad_format, path.string(), ": not an image promiseg can read: expected ",
       expected, ", the file begins with ", first_bytes_text(bytes));
}

/// Throws `invalid_argument` unless the file has a frame of that index, counted from 0.
inline void require_frame(const std::filesystem::path& path, Index frame, Index frames) {
  require(frame >= 0 && frame < frames, ErrorCode::invalid_argument, path.string(), ": frame ",
          frame, " was asked for, the file has ", frames, frames == 1 ? " frame" : " frames",
          " (numbers start at 0)");
}

/// Throws `bad_format` for a picture without pixels, `unsupported` for one above `kMaxImagePixels`.
inline void require_picture_size(const std::filesystem::path& path, std::uint64_t width,
                                 std::uint64_t height) {
  require(width > 0 && height > 0, ErrorCode::bad_format, path.string(), ": the picture is ", width,
          " x ", height, " pixels, expected at least 1 x 1");
  constexpr auto kLimit = static_cast<std::uint64_t>(kMaxImagePixels);
  require(width <= kLimit && height <= kLimit / width, ErrorCode::unsupported, path.string(),
          ": the header tells of ", width, " x ", height, " pixels, the limit is ", kLimit,
          " in all");
}

/// A header may claim any size, but a coder can only shrink a picture so far: throws `bad_format`
/// if `decoded` bytes cannot come out of `stored` ones when one makes at most `ratio`. So a few
/// bytes never make the readers allocate gigabytes.
inline void require_plausible_size(const std::filesystem::path& path, std::uint64_t decoded,
                                   std::uint64_t stored, std::uint64_t ratio) {
  require(decoded / ratio <= stored, ErrorCode::bad_format, path.string(),
          ": truncated: the header tells of a picture of ", decoded, " bytes, the file has only ",
          stored);
}

}  // namespace promiseg

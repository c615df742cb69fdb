// Names of pictures: a file, or one slice of a volume as in "ch2.nii.gz#coronal=120".
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "promiseg/core/error.hpp"
#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// What a slice lies across: the axis to the patient's right, to the front, or up.
enum class SliceAxis { sagittal, coronal, axial };

inline constexpr std::array<SliceAxis, 3> kSliceAxes{SliceAxis::sagittal, SliceAxis::coronal,
                                                     SliceAxis::axial};

/// "sagittal", "coronal" or "axial".
constexpr std::string_view to_string(SliceAxis axis) {
  constexpr std::array<std::string_view, 3> kNames{"sagittal", "coronal", "axial"};
  return kNames[static_cast<std::size_t>(axis)];
}

/// One slice of a volume. Index 0 is the most left, posterior or inferior one.
struct Slice {
  SliceAxis axis = SliceAxis::axial;
  Index index = 0;
  Index volume = 0;  ///< of a file that holds several, such as a time series

  friend bool operator==(const Slice&, const Slice&) = default;
};

/// A picture on disk. A path converts to the reference to the whole file.
struct ImageReference {
  ImageReference() = default;
  ImageReference(std::filesystem::path file,  // NOLINT(google-explicit-constructor)
                 std::optional<Slice> part = std::nullopt)
      : path(std::move(file)), slice(part) {}

  std::filesystem::path path;
  std::optional<Slice> slice;

  friend bool operator==(const ImageReference&, const ImageReference&) = default;
};

namespace detail {

/// The number in "index=12" for the key "index="; empty if the text is anything else.
inline std::optional<Index> number_after(std::string_view text, std::string_view key) {
  if (!text.starts_with(key)) return std::nullopt;
  text.remove_prefix(key.size());
  if (text.starts_with('-')) return std::nullopt;
  Index value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

/// The slice that "coronal=120" or "axial=60,volume=3" names.
inline std::optional<Slice> parse_slice(std::string_view text) {
  const std::size_t comma = text.find(',');
  const std::optional<Index> volume =
      comma == std::string_view::npos ? Index{0} : number_after(text.substr(comma + 1), "volume=");
  for (SliceAxis axis : kSliceAxes) {
    const std::optional<Index> index =
        number_after(text.substr(0, comma), std::string(to_string(axis)) + "=");
    if (index && volume) return Slice{axis, *index, *volume};
  }
  return std::nullopt;
}

}  // namespace detail

/// Reads "FILE" or "FILE#AXIS=INDEX[,volume=V]". A file that exists under the whole text is taken
/// as it is. Throws `invalid_argument` if something else than a slice follows the "#" after the
/// name of a file that exists.
inline ImageReference parse_image_reference(std::string_view text) {
  const std::filesystem::path whole(text);
  const std::size_t mark = text.rfind('#');
  std::error_code ignored;
  if (mark == std::string_view::npos || std::filesystem::exists(whole, ignored)) return whole;
  const std::filesystem::path file(text.substr(0, mark));
  const std::string_view part = text.substr(mark + 1);
  if (const std::optional<Slice> slice = detail::parse_slice(part)) return {file, slice};
  require(!std::filesystem::is_regular_file(file, ignored), ErrorCode::invalid_argument, text,
          ": expected a slice after the #, axial=INDEX, coronal=INDEX or sagittal=INDEX (and "
          ",volume=V for one of several volumes), got \"",
          part, '"');
  return whole;
}

/// The text that `parse_image_reference` reads.
inline std::string to_string(const ImageReference& image) {
  std::string text = image.path.string();
  if (!image.slice) return text;
  text.append("#").append(to_string(image.slice->axis)).append("=");
  text += std::to_string(image.slice->index);
  if (image.slice->volume != 0) text += ",volume=" + std::to_string(image.slice->volume);
  return text;
}

/// The name of what is made of a picture: the file's without its ending and, of a slice, where it
/// lies, as in "ch2_coronal120". A number is no ending: a DICOM file may be called 1.2.840.1.
inline std::string image_stem(const ImageReference& image) {
  std::filesystem::path name = image.path.filename();
  const std::filesystem::path unpacked = name.stem();
  const std::filesystem::path inner = unpacked.extension();
  if (name.extension() == ".gz" && (inner == ".nii" || inner == ".hdr")) name = unpacked;
  const std::string ending = name.extension().string();
  const bool is_number = ending.find_first_not_of(".0123456789") == std::string::npos;
  std::string stem = (is_number ? name : name.stem()).string();
  if (!image.slice) return stem;
  stem.append("_").append(to_string(image.slice->axis));
  stem += std::to_string(image.slice->index);
  if (image.slice->volume != 0) stem += "_volume" + std::to_string(image.slice->volume);
  return stem;
}

}  // namespace promiseg

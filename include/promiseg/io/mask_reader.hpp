// Reading masks that people or programs have drawn. Needs what image_reader.hpp needs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <variant>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/image_reader.hpp"
#include "promiseg/io/image_reference.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {

/// Reads a mask: a pixel above 0 in any channel (alpha does not count) is the object, 255; all
/// others are 0. Where the file says that low is bright, its darkest value is 0. Of a JPEG file,
/// whose edges ring, 128 and above is the object. Throws what `read_image` throws, and
/// `unsupported` for a file of more than 8 bits in which low is bright.
inline Mask read_mask(const ImageReference& image, Index frame = 0) {
  RawImage raw = read_image(image, frame);
  if (raw.inverted && std::holds_alternative<Image>(raw.samples)) {
    raw.samples = to_8bit(raw);
  } else {
    require(!raw.inverted, ErrorCode::unsupported, to_string(image),
            ": a mask of more than 8 bits in which low is bright is not supported");
  }
  const bool is_jpeg = raw.format == format_name(ImageFormat::jpeg);
  const auto is_inside = [=](auto value) { return is_jpeg ? value >= 128 : value > 0; };
  const Extents<3> extents = raw.extents();
  Mask mask({extents[0], extents[1]});
  std::visit(
      [&](const auto& samples) {
        const auto* pixel = samples.data();
        for (std::uint8_t& inside : mask.elements()) {
          const auto* end = pixel + extents[2];
          const bool is_object = std::any_of(pixel, end, is_inside);
          inside = static_cast<std::uint8_t>(is_object ? 255 : 0);
          pixel = end;
        }
      },
      raw.samples);
  return mask;
}

}  // namespace promiseg

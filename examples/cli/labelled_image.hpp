// A picture with its true mask, as training and evaluation read it.
#pragma once

#include <optional>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/dataset.hpp"
#include "promiseg/io/image_reader.hpp"
#include "promiseg/io/intensity.hpp"
#include "promiseg/io/mask_reader.hpp"

namespace promiseg::cli {

/// An image with its mask, at the image's own size.
struct LabelledImage {
  Image image;
  Mask mask;
};

/// Reads a sample, the image in 8 bits as `to_8bit` makes them. Throws what `read_image` and
/// `read_mask` throw, and `shape_mismatch` if the two differ in size.
inline LabelledImage read_sample(const Sample& sample, const std::optional<Window>& window) {
  LabelledImage read{to_8bit(read_image(sample.image), window), read_mask(sample.mask)};
  const auto& image = read.image.extents();
  const auto& mask = read.mask.extents();
  require(image[0] == mask[0] && image[1] == mask[1], ErrorCode::shape_mismatch,
          to_string(sample.mask), ": the mask has ", mask[1], " x ", mask[0], " pixels, its image ",
          to_string(sample.image), " has ", image[1], " x ", image[0]);
  return read;
}

}  // namespace promiseg::cli

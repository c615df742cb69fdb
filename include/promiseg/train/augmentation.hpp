// Variations of a training image and its mask: docs/augmentation.md.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/train/augmentation/affine.hpp"
#include "promiseg/train/augmentation/blur.hpp"
#include "promiseg/train/augmentation/clahe.hpp"
#include "promiseg/train/augmentation/config.hpp"
#include "promiseg/train/augmentation/dropout.hpp"
#include "promiseg/train/augmentation/plan.hpp"
#include "promiseg/train/augmentation/tone.hpp"

namespace promiseg {

struct AugmentedImage {
  Image image;
  Mask mask;
};

/// Compresses an image with a quality of 1 to 100 and decompresses it. A parameter, because a codec
/// is a library that training does not need otherwise: `compress_jpeg` of
/// `augmentation/jpeg_compression.hpp` is one. Empty: no compression.
using JpegCompression = std::function<Image(ImageView, int)>;

namespace detail {

/// Where a pixel comes from after cropping, mirroring and movement, in this order.
inline AffineMap geometry_of(const AugmentationPlan& plan, ImageSize size) {
  AffineMap map = plan.cropped ? crop_map(plan.crop, size) : AffineMap{};
  map = composed(map, flip_map(size, plan.horizontal_flip, plan.vertical_flip));
  return plan.moved ? composed(map, similarity_map(plan.movement, size)) : map;
}

inline Image compressed(ImageView image, int quality, const JpegCompression& compress) {
  require(compress != nullptr, ErrorCode::invalid_argument,
          "augmentation: JPEG compression is planned, but no codec given");
  Image result = compress(image, quality);
  require_shape(result.view(), image.extents(), "augmentation: the JPEG codec's image");
  return result;
}

inline Image apply_texture(ImageView image, const Texture& texture,
                           const JpegCompression& compress) {
  switch (texture.kind) {
    case TextureKind::none:
      return Image(image);
    case TextureKind::clahe:
      return clahe(image, texture.strength, texture.tiles);
    case TextureKind::sharpen:
      return sharpen(image, texture.strength);
    case TextureKind::noise:
      return add_noise(image, texture.strength, texture.seed);
    case TextureKind::jpeg:
      return compressed(image, static_cast<int>(texture.strength), compress);
  }
  fail(ErrorCode::invalid_argument, "no texture has the number ", static_cast<int>(texture.kind));
}

}  // namespace detail

/// Makes the changes of a plan that was drawn for an image of this size. Throws `shape_mismatch`
/// unless the mask has the image's height and width.
inline AugmentedImage apply_augmentation(const AugmentationPlan& plan, ImageView image,
                                         TensorView<const std::uint8_t, 2> mask,
                                         const JpegCompression& compress = {}) {
  require_image(image);
  require_shape(mask, Extents<2>{image.extent(0), image.extent(1)}, "augmentation: mask");
  require(image.space() == MemorySpace::host && mask.space() == MemorySpace::host,
          ErrorCode::invalid_argument,
          "augmentation: expected image and mask in host memory, got a view of device memory");
  AugmentedImage result;
  if (plan.cropped || plan.horizontal_flip || plan.vertical_flip || plan.moved) {
    const AffineMap map = detail::geometry_of(plan, {image.extent(0), image.extent(1)});
    result = {warp_bilinear(image, map), warp_nearest(mask, map)};
  } else {
    result = {Image(image), Mask(mask)};
  }
  Image& pixels = result.image;
  if (plan.blur.kind != BlurKind::none) pixels = apply_blur(pixels, plan.blur);
  if (plan.adjusted) pixels = adjust(pixels, plan.adjustment);
  if (plan.texture.kind != TextureKind::none) {
    pixels = detail::apply_texture(pixels, plan.texture, compress);
  }
  pixels = drop_holes(std::move(pixels), plan.holes);
  return result;
}

/// A variation of `image` `[H, W, 1 or 3]` and `mask` `[H, W]` (0 and 255), of the same size: one
/// warp of both, then changes of the image alone. It depends on the arguments and on where `random`
/// stands, and on nothing else; with and without a codec it is another. Throws `shape_mismatch`
/// unless the mask has the image's height and width, and `invalid_argument` like `validate`.
inline AugmentedImage augment(ImageView image, TensorView<const std::uint8_t, 2> mask,
                              const AugmentationConfig& config, Random& random,
                              const JpegCompression& compress = {}) {
  require_image(image);
  const AugmentationPlan plan =
      draw_augmentation(config, {image.extent(0), image.extent(1)}, compress != nullptr, random);
  return apply_augmentation(plan, image, mask, compress);
}

}  // namespace promiseg

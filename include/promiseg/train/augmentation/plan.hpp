// What is done to one image: chance decides here, once, and everything after is settled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/train/augmentation/affine.hpp"
#include "promiseg/train/augmentation/blur.hpp"
#include "promiseg/train/augmentation/config.hpp"
#include "promiseg/train/augmentation/dropout.hpp"
#include "promiseg/train/augmentation/tone.hpp"

namespace promiseg {

enum class TextureKind { none, clahe, sharpen, noise, jpeg };

struct Texture {
  TextureKind kind = TextureKind::none;
  double strength = 0.0;   ///< clip limit, amount, deviation or quality, by kind
  Index tiles = 1;         ///< of CLAHE
  std::uint64_t seed = 0;  ///< of noise
};

/// The changes of one image, in the order in which they are made; the default makes none.
struct AugmentationPlan {
  bool cropped = false;
  CropBox crop;
  bool horizontal_flip = false;
  bool vertical_flip = false;
  bool moved = false;
  Similarity movement;
  Blur blur;
  bool adjusted = false;
  BrightnessContrast adjustment;
  Texture texture;
  std::vector<Hole> holes;
};

namespace detail {

/// The first box drawn that fits into the image, or, if ten do not, all of it.
inline CropBox draw_crop(const AugmentationConfig& config, ImageSize size, Random& random) {
  constexpr int kTries = 10;
  const auto height = static_cast<double>(size.height);
  const auto width = static_cast<double>(size.width);
  const double log_ratio_min = std::log(config.crop_ratio_min);
  const double log_ratio_max = std::log(config.crop_ratio_max);
  for (int i = 0; i < kTries; ++i) {
    const double scale = random.uniform(config.crop_scale_min, config.crop_scale_max);
    const double ratio = std::exp(random.uniform(log_ratio_min, log_ratio_max));
    CropBox box;
    box.width = width * std::sqrt(scale * ratio);
    box.height = height * std::sqrt(scale / ratio);
    if (box.width > width || box.height > height) continue;
    box.left = random.uniform(0.0, width - box.width);
    box.top = random.uniform(0.0, height - box.height);
    return box;
  }
  return {0.0, 0.0, width, height};
}

inline Similarity draw_movement(const AugmentationConfig& config, ImageSize size, Random& random) {
  const auto within = [&](double limit) { return random.uniform(-limit, limit); };
  Similarity movement;
  movement.degrees = within(config.rotate_limit);
  movement.scale = 1.0 + within(config.scale_limit);
  movement.shift_x = within(config.shift_limit) * static_cast<double>(size.width);
  movement.shift_y = within(config.shift_limit) * static_cast<double>(size.height);
  return movement;
}

inline Blur draw_blur(const AugmentationConfig& config, Random& random) {
  constexpr BlurKind kKinds[] = {BlurKind::box, BlurKind::gaussian, BlurKind::median,
                                 BlurKind::motion};
  Blur blur;
  blur.kind = kKinds[random.below(4)];
  blur.kernel = 3 + 2 * random.below((config.blur_kernel_max - 1) / 2);
  if (blur.kind == BlurKind::motion) blur.degrees = random.uniform(0.0, 180.0);
  return blur;
}

inline BrightnessContrast draw_adjustment(const AugmentationConfig& config, Random& random) {
  BrightnessContrast adjustment;
  adjustment.gain = 1.0 + random.uniform(-config.contrast_limit, config.contrast_limit);
  adjustment.offset = random.uniform(-config.brightness_limit, config.brightness_limit);
  return adjustment;
}

inline Texture draw_texture(const AugmentationConfig& config, bool with_jpeg, Random& random) {
  constexpr TextureKind kKinds[] = {TextureKind::clahe, TextureKind::sharpen, TextureKind::noise,
                                    TextureKind::jpeg};
  Texture texture;
  texture.kind = kKinds[random.below(with_jpeg ? 4 : 3)];
  if (texture.kind == TextureKind::clahe) {
    texture.strength = random.uniform(config.clahe_clip_min, config.clahe_clip_max);
    texture.tiles = config.clahe_tiles;
  } else if (texture.kind == TextureKind::sharpen) {
    texture.strength = random.uniform(config.sharpen_min, config.sharpen_max);
  } else if (texture.kind == TextureKind::noise) {
    texture.strength =
        std::sqrt(random.uniform(config.noise_variance_min, config.noise_variance_max));
    texture.seed = random.bits();
  } else {
    const Index choices = config.jpeg_quality_max - config.jpeg_quality_min + 1;
    texture.strength = static_cast<double>(config.jpeg_quality_min + random.below(choices));
  }
  return texture;
}

inline std::vector<Hole> draw_holes(const AugmentationConfig& config, ImageSize size,
                                    Random& random) {
  std::vector<Hole> holes(static_cast<std::size_t>(config.dropout_holes));
  for (Hole& hole : holes) {
    hole.height = std::min(config.dropout_size, size.height);
    hole.width = std::min(config.dropout_size, size.width);
    hole.top = random.below(size.height - hole.height + 1);
    hole.left = random.below(size.width - hole.width + 1);
  }
  return holes;
}

}  // namespace detail

/// Draws the changes of one image of that size. `with_jpeg`: compression is among the choices.
/// Throws `invalid_argument` like `validate`.
inline AugmentationPlan draw_augmentation(const AugmentationConfig& config, ImageSize size,
                                          bool with_jpeg, Random& random) {
  validate(config);
  AugmentationPlan plan;
  plan.cropped = random.chance(config.crop_probability);
  if (plan.cropped) plan.crop = detail::draw_crop(config, size, random);
  plan.horizontal_flip = random.chance(config.horizontal_flip_probability);
  plan.vertical_flip = random.chance(config.vertical_flip_probability);
  plan.moved = random.chance(config.shift_scale_rotate_probability);
  if (plan.moved) plan.movement = detail::draw_movement(config, size, random);
  if (random.chance(config.blur_probability)) plan.blur = detail::draw_blur(config, random);
  plan.adjusted = random.chance(config.brightness_contrast_probability);
  if (plan.adjusted) plan.adjustment = detail::draw_adjustment(config, random);
  if (random.chance(config.texture_probability)) {
    plan.texture = detail::draw_texture(config, with_jpeg, random);
  }
  if (random.chance(config.dropout_probability)) {
    plan.holes = detail::draw_holes(config, size, random);
  }
  return plan;
}

}  // namespace promiseg

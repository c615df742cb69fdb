#include "case_thumbnail.hpp"

#include <algorithm>
#include <cmath>

#include "enlarge.hpp"
#include "mask_outline.hpp"
#include "promiseg/io/png_file.hpp"
#include "promiseg/sam/resize_area.hpp"

namespace promiseg::cli {
namespace {

constexpr Index kLargestSide = 2048;
constexpr Index kParts = 4;  // lines are drawn on a grid finer than the pixels, then averaged
constexpr Index kLineRadius = 4;
constexpr Index kRimRadius = 8;
constexpr int kRimPercent = 55;  // how much darker the rim is than what it covers

/// How much of each pixel something covers: `[height, width, 1]`, 0 to 255.
using Coverage = Image;

ImageSize thumbnail_size(ImageView image, Index max_side) {
  const ImageSize size{image.extent(0), image.extent(1)};
  const Index longest = std::max(size.height, size.width);
  if (longest <= max_side) {
    const Index factor = max_side / longest;
    return {size.height * factor, size.width * factor};
  }
  const auto scaled = [&](Index side) {
    return std::max<Index>(1, (side * max_side + longest / 2) / longest);
  };
  return {scaled(size.height), scaled(size.width)};
}

Image scaled_image(ImageView image, ImageSize size) {
  if (size.height < image.extent(0) || size.width < image.extent(1)) {
    return resize_area(image, size);
  }
  return enlarge(image, size.width / image.extent(1));
}

/// The mask on the fine grid of a picture of `size`. A part that the object touches belongs to it,
/// so that no small object is lost.
Coverage fine_mask(MaskView mask, ImageSize size) {
  Coverage inside({mask.extent(0), mask.extent(1), 1});
  std::uint8_t* to = inside.data();
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) *to++ = mask(y, x) != 0 ? 255 : 0;
  }
  return resize_area(inside, {size.height * kParts, size.width * kParts});
}

/// True for the pixels of an object next to one outside; what lies beyond the image is outside.
bool is_border(ImageView mask, Index y, Index x) {
  if (mask(y, x, 0) == 0) return false;
  const Index bottom = mask.extent(0) - 1;
  const Index right = mask.extent(1) - 1;
  if (y == 0 || x == 0 || y == bottom || x == right) return true;
  return mask(y - 1, x, 0) == 0 || mask(y + 1, x, 0) == 0 || mask(y, x - 1, 0) == 0 ||
         mask(y, x + 1, 0) == 0;
}

void draw_disc(Coverage& canvas, Index center_y, Index center_x, Index radius) {
  const Index first = std::max<Index>(0, center_y - radius);
  const Index last = std::min(canvas.extent(0) - 1, center_y + radius);
  for (Index y = first; y <= last; ++y) {
    const Index dy = y - center_y;
    const auto reach =
        static_cast<Index>(std::sqrt(static_cast<double>(radius * radius - dy * dy)));
    const Index left = std::max<Index>(0, center_x - reach);
    const Index right = std::min(canvas.extent(1) - 1, center_x + reach);
    std::uint8_t* row = canvas.data() + y * canvas.extent(1);
    std::fill(row + left, row + right + 1, std::uint8_t{255});
  }
}

/// A line along the border of a mask on the fine grid, by pixels of a picture of `size`.
Coverage border_line(ImageView mask, ImageSize size, Index radius) {
  Coverage line(mask.extents());
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      if (is_border(mask, y, x)) draw_disc(line, y, x, radius);
    }
  }
  return resize_area(line, size);
}

struct Outline {
  Coverage line;
  Coverage rim;
};

Outline outline_of(MaskView mask, ImageSize size) {
  const Coverage fine = fine_mask(mask, size);
  return {border_line(fine, size, kLineRadius), border_line(fine, size, kRimRadius)};
}

/// One pixel and channel under both lines: each in its colour, what they share in that of
/// agreement.
std::uint8_t mixed(int below, int truth, int prediction, std::size_t channel) {
  const int both = std::min(truth, prediction);
  const int sum = below * (255 - std::max(truth, prediction)) +
                  kTruthColor[channel] * (truth - both) +
                  kPredictionColor[channel] * (prediction - both) + kAgreementColor[channel] * both;
  return static_cast<std::uint8_t>((sum + 127) / 255);
}

/// `[height, width, 1 or 3]` -> `[height, width, 3]`
Image draw_outlines(const Image& image, const Outline& truth, const Outline& prediction) {
  Image picture({image.extent(0), image.extent(1), 3});
  const Index channels = image.extent(2);
  std::uint8_t* to = picture.data();
  for (Index i = 0; i < image.extent(0) * image.extent(1); ++i) {
    const int rim = std::max(truth.rim.data()[i], prediction.rim.data()[i]);
    for (std::size_t c = 0; c < 3; ++c) {
      const int value = image.data()[i * channels + (channels == 3 ? static_cast<Index>(c) : 0)];
      const int below = value - value * rim * kRimPercent / (255 * 100);
      *to++ = mixed(below, truth.line.data()[i], prediction.line.data()[i], c);
    }
  }
  return picture;
}

void require_mask(MaskView mask, ImageView image, const char* name) {
  require(mask.extent(0) == image.extent(0) && mask.extent(1) == image.extent(1),
          ErrorCode::shape_mismatch, "case_thumbnail: ", name, ": expected a mask of the image's ",
          image.extent(0), " x ", image.extent(1), " pixels (height x width), got ",
          shape_text(mask.extents()));
}

}  // namespace

std::vector<std::byte> case_thumbnail(ImageView image, MaskView truth, MaskView prediction,
                                      Index max_side) {
  require_image(image);
  require_mask(truth, image, "truth");
  require_mask(prediction, image, "prediction");
  require(max_side >= 1 && max_side <= kLargestSide, ErrorCode::invalid_argument,
          "case_thumbnail: max_side: expected 1 to ", kLargestSide, " pixels, got ", max_side);
  const ImageSize size = thumbnail_size(image, max_side);
  const Image picture = draw_outlines(scaled_image(image, size), outline_of(truth, size),
                                      outline_of(prediction, size));
  return encode_png(picture, "thumbnail");
}

}  // namespace promiseg::cli

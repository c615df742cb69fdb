// A small picture that shows how far a mask is from the truth.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg::cli {

// Red, green and blue of the outlines. Sky blue and amber differ for every kind of colour vision,
// and from grey, skin and red tissue.
inline constexpr std::array<std::uint8_t, 3> kTruthColor{86, 180, 233};
inline constexpr std::array<std::uint8_t, 3> kPredictionColor{255, 176, 0};
inline constexpr std::array<std::uint8_t, 3> kAgreementColor{255, 255, 255};

/// The image with both masks outlined, as an RGB PNG. Where the outlines coincide they are one, of
/// the colour of agreement.
///
/// An image whose longest side exceeds `max_side` is scaled down to it (means over areas); a
/// smaller one is enlarged by the largest whole number that fits. Lines are about two pixels wide,
/// with a dark rim of one more on either side.
///
/// `image` is `[height, width, 1 or 3]`, the masks `[height, width]`, 0 outside. Throws
/// `shape_mismatch` for other shapes, `invalid_argument` unless `max_side` is 1 to 2048.
std::vector<std::byte> case_thumbnail(ImageView image, TensorView<const std::uint8_t, 2> truth,
                                      TensorView<const std::uint8_t, 2> prediction,
                                      Index max_side = 360);

}  // namespace promiseg::cli
